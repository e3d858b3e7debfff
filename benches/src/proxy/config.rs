//! One set-up in every proxy's own words: the templates in `benches/configs`, filled in.

use std::{
    fmt::Write as _,
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use super::Kind;
use crate::pki;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    Http1,
    Http2,
    Grpc,
    Tcp,
}

/// What a proxy shall do.
#[derive(Debug, Clone, Copy)]
pub struct Setup {
    /// On both sides.
    pub protocol: Protocol,
    pub target: SocketAddr,
    /// The listener asks for a client certificate.
    pub accept_tls: bool,
    /// The upstream is the other proxy's listener.
    pub connect_tls: bool,
    pub workers: usize,
    /// Clusters beside the one in use.
    pub clusters: usize,
    /// Routes to a cluster whose endpoints come over ADS from there. Pillion and Envoy only.
    pub control_plane: Option<SocketAddr>,
    /// Clusters come from there too.
    pub discovers_clusters: bool,
    /// Each request says which cluster it goes to, in [`CLUSTER_HEADER`]. Pillion and Envoy only.
    pub routes_by_header: bool,
}

impl Setup {
    pub fn new(protocol: Protocol, target: SocketAddr) -> Self {
        Self {
            protocol,
            target,
            accept_tls: false,
            connect_tls: false,
            workers: 1,
            clusters: 0,
            control_plane: None,
            discovers_clusters: false,
            routes_by_header: false,
        }
    }

    fn is_http2(&self) -> bool {
        matches!(self.protocol, Protocol::Http2 | Protocol::Grpc)
    }
}

/// Whether a proxy can do it; otherwise why not.
pub fn supported(kind: Kind, protocol: Protocol) -> Result<(), &'static str> {
    match (kind, protocol) {
        (Kind::Nginx, Protocol::Http2) => Err("nginx speaks HTTP/2 to upstreams only for gRPC"),
        _ => Ok(()),
    }
}

/// Writes the configuration file into `dir` and returns its path.
pub fn write(kind: Kind, setup: &Setup, listen: SocketAddr, admin: SocketAddr, dir: &Path) -> anyhow::Result<PathBuf> {
    let text = match kind {
        Kind::Pillion | Kind::Envoy | Kind::Direct => envoy(setup),
        Kind::HaProxy => haproxy(setup),
        Kind::Nginx => nginx(setup),
    };
    let text = fill(
        &text,
        &[
            ("listen", &listen.port().to_string()),
            ("admin", &admin.port().to_string()),
            ("target", &setup.target.port().to_string()),
            ("workers", &setup.workers.to_string()),
            ("dir", &dir.display().to_string()),
            ("client_id", pki::CLIENT),
            ("server_id", pki::SERVER),
            ("server_name", pki::SERVER_NAME),
        ],
    );
    let extension = match kind {
        Kind::HaProxy => "cfg",
        Kind::Nginx => "conf",
        _ => "yaml",
    };
    let path = dir.join(format!("{}-{}.{extension}", kind.name(), listen.port()));
    fs::write(&path, text)?;
    Ok(path)
}

/// Replaces every `{{name}}`.
fn fill(template: &str, values: &[(&str, &str)]) -> String {
    values.iter().fold(template.to_owned(), |text, (name, value)| {
        text.replace(&format!("{{{{{name}}}}}"), value)
    })
}

fn when(condition: bool, text: &str) -> &str {
    if condition { text } else { "" }
}

/// Who a proxy is to its control plane.
pub const NODE: &str = "sidecar";
/// The cluster whose endpoints the control plane gives.
pub const PUSHED: &str = "pushed";

/// Names the cluster of a request.
pub const CLUSTER_HEADER: &str = "x-cluster";

/// The name that a control plane gives the `index`-th of many clusters.
pub fn cluster_name(index: usize) -> String {
    format!("outbound|80||svc{index}.default.svc.cluster.local")
}

fn envoy(setup: &Setup) -> String {
    if setup.protocol == Protocol::Tcp {
        return include_str!("../../configs/envoy-tcp.yaml").to_owned();
    }
    let mut clusters = String::new();
    for name in (0..setup.clusters).map(cluster_name) {
        // Writing to a string does not fail.
        let _ = writeln!(
            clusters,
            "    - {{name: \"{name}\", type: STATIC, load_assignment: {{cluster_name: \"{name}\", endpoints: [{{lb_endpoints: [{{endpoint: {{address: {{socket_address: {{address: 127.0.0.1, port_value: {}}}}}}}}}]}}]}}}}",
            setup.target.port()
        );
    }
    let mut ads = String::new();
    if let Some(address) = setup.control_plane {
        let values = [
            ("node", NODE),
            ("pushed", PUSHED),
            (
                "cds",
                when(
                    setup.discovers_clusters,
                    "cds_config: {ads: {}, resource_api_version: V3}",
                ),
            ),
            ("control_plane", &address.port().to_string()),
        ];
        ads = fill(include_str!("../../configs/envoy-ads.yaml"), &values);
        clusters += &fill(include_str!("../../configs/envoy-ads-clusters.yaml"), &values);
    }
    let cluster = setup.control_plane.map_or("origin", |_| PUSHED);
    let route = if setup.routes_by_header {
        format!("cluster_header: {CLUSTER_HEADER}")
    } else {
        format!("cluster: {cluster}")
    };
    fill(
        include_str!("../../configs/envoy-http.yaml"),
        &[
            ("ads", &ads),
            (
                "accept_tls",
                when(setup.accept_tls, include_str!("../../configs/envoy-accept-tls.yaml")),
            ),
            (
                "connect_tls",
                when(setup.connect_tls, include_str!("../../configs/envoy-connect-tls.yaml")),
            ),
            (
                "connect_http2",
                when(setup.is_http2(), include_str!("../../configs/envoy-connect-http2.yaml")),
            ),
            ("alpn", if setup.is_http2() { "h2" } else { "http/1.1" }),
            ("clusters", &clusters),
            ("route", &route),
        ],
    )
}

fn haproxy(setup: &Setup) -> String {
    let http = setup.protocol != Protocol::Tcp;
    let alpn = if setup.is_http2() { "h2" } else { "http/1.1" };
    let mut bind = String::new();
    let mut server = String::new();
    if setup.accept_tls {
        bind = format!("ssl crt {{{{dir}}}}/b.both ca-file ca.pem verify required alpn {alpn}");
    } else if setup.is_http2() {
        bind = "proto h2".to_owned();
    }
    if setup.connect_tls {
        server = format!(
            "ssl crt {{{{dir}}}}/a.both ca-file ca.pem verify required verifyhost {{{{server_name}}}} alpn {alpn}"
        );
    } else if setup.is_http2() {
        server = "proto h2".to_owned();
    }
    fill(
        include_str!("../../configs/haproxy.cfg"),
        &[
            ("mode", if http { "http" } else { "tcp" }),
            ("http_options", when(http, "http-reuse always")),
            ("bind_options", &bind),
            ("server_options", &server),
        ],
    )
}

/// Where Debian puts the module that `stream` blocks need.
const NGINX_STREAM: &str = "/usr/lib/nginx/modules/ngx_stream_module.so";

fn nginx(setup: &Setup) -> String {
    if setup.protocol == Protocol::Tcp {
        let load = format!("load_module {NGINX_STREAM};");
        let modules = when(Path::new(NGINX_STREAM).exists(), &load);
        return fill(include_str!("../../configs/nginx-tcp.conf"), &[("modules", modules)]);
    }
    let grpc = setup.protocol == Protocol::Grpc;
    let prefix = if grpc { "grpc" } else { "proxy" };
    let scheme = match (grpc, setup.connect_tls) {
        (false, false) => "http",
        (false, true) => "https",
        (true, false) => "grpc",
        (true, true) => "grpcs",
    };
    let pass = if grpc {
        format!("grpc_pass {scheme}://origin;")
    } else {
        format!("proxy_pass {scheme}://origin; proxy_http_version 1.1; proxy_set_header Connection \"\";")
    };
    let connect = format!(
        "{prefix}_ssl_certificate {{{{dir}}}}/a.pem; {prefix}_ssl_certificate_key {{{{dir}}}}/a.key; \
         {prefix}_ssl_trusted_certificate {{{{dir}}}}/ca.pem; {prefix}_ssl_verify on; {prefix}_ssl_name {{{{server_name}}}};"
    );
    let accept = "ssl_certificate {{dir}}/b.pem; ssl_certificate_key {{dir}}/b.key; \
        ssl_client_certificate {{dir}}/ca.pem; ssl_verify_client on;";
    let listen = match (setup.accept_tls, grpc) {
        (false, false) => "",
        (true, false) => "ssl",
        (false, true) => "http2",
        (true, true) => "ssl http2",
    };
    fill(
        include_str!("../../configs/nginx-http.conf"),
        &[
            ("modules", ""),
            ("listen_options", listen),
            ("accept_tls", when(setup.accept_tls, accept)),
            ("connect_tls", when(setup.connect_tls, &connect)),
            ("pass", &pass),
        ],
    )
}
