//! One bootstrap text for two proxies: what must differ between two processes on one machine stands in it by name.
//!
//! `{{port:NAME}}` is a port that the proxy listens on, `{{h1:NAME}}` and `{{h2:NAME}}` are ports of upstreams that the
//! test serves, `{{dead:NAME}}` is one that refuses connections, `{{dir}}` a folder, `{{admin}}` the admin block (port
//! 0: `--admin-address-path` tells which), `{{access_log}}` a file access log in the folder and `{{log_path}}` its path;
//! `{{chain:NAME}}` and `{{key:NAME}}` are a certificate and its key, `{{ca}}` the authority that issued it. All on 127.0.0.1.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::path::Path;
use std::sync::{LazyLock, Mutex};
use std::time::Duration;

use certs::SpiffeId;
use certs::ca::{CertificateAuthority, Issued, Template};
use socket2::{Domain, Socket, Type};

/// The text with its names filled in, and who has which port.
pub struct Bootstrap {
    pub text: String,
    /// Keyed by what stands in the braces (`port:main`, `h1:up`).
    pub ports: BTreeMap<String, u16>,
    /// Bound and never listening: the kernel gives these ports to nobody else, and lets a proxy that binds with
    /// SO_REUSEPORT, as both do, listen on them.
    reserved: Vec<Socket>,
}

impl Bootstrap {
    /// Fills in `template`; `log_format` is for `{{access_log}}`.
    pub fn new(template: &str, dir: &Path, log_format: &str) -> Self {
        let mut made = Self {
            text: String::new(),
            ports: BTreeMap::new(),
            reserved: Vec::new(),
        };
        let mut rest = template;
        while let Some((before, after)) = rest.split_once("{{") {
            let (name, after) = after.split_once("}}").expect("a name in a bootstrap ends with }}");
            made.text.push_str(before);
            let value = made.value(name, dir, log_format);
            made.text.push_str(&value);
            rest = after;
        }
        made.text.push_str(rest);
        made
    }

    pub fn port(&self, name: &str) -> u16 {
        *self
            .ports
            .get(name)
            .unwrap_or_else(|| panic!("the bootstrap has no {{{{{name}}}}}: it has {:?}", self.ports))
    }

    /// A port that stands in no text: for what comes over xDS.
    pub fn reserve(&mut self, name: &str) -> u16 {
        let (socket, port) = reserve();
        self.reserved.push(socket);
        self.ports.insert(name.to_owned(), port);
        port
    }

    pub fn listener(&self, name: &str) -> SocketAddr {
        SocketAddr::V4(SocketAddrV4::new(
            Ipv4Addr::LOCALHOST,
            self.port(&format!("port:{name}")),
        ))
    }

    fn value(&mut self, name: &str, dir: &Path, log_format: &str) -> String {
        match name {
            "dir" => dir.display().to_string(),
            "ca" => quoted(authority().bundle_pem()),
            _ if name.starts_with("chain:") => quoted(&issued(&name["chain:".len()..]).chain_pem),
            _ if name.starts_with("key:") => quoted(&issued(&name["key:".len()..]).key_pem),
            "log_path" => access_log(dir).display().to_string(),
            "admin" => "{address: {socket_address: {address: 127.0.0.1, port_value: 0}}}".to_owned(),
            "access_log" => format!(
                "[{{name: file, typed_config: {{'@type': type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog, \
                 path: {}, log_format: {{text_format_source: {{inline_string: \"{log_format}\\n\"}}}}}}}}]",
                access_log(dir).display()
            ),
            _ => {
                let (reserved, ports) = (&mut self.reserved, &mut self.ports);
                let port = ports.entry(name.to_owned()).or_insert_with(|| {
                    let (socket, port) = reserve();
                    reserved.push(socket);
                    port
                });
                port.to_string()
            }
        }
    }
}

/// The same for all bootstraps of a test program, so that two proxies see the same certificates.
fn authority() -> &'static CertificateAuthority {
    static AUTHORITY: LazyLock<CertificateAuthority> =
        LazyLock::new(|| CertificateAuthority::root("test root").expect("a root certificate"));
    &AUTHORITY
}

fn issued(name: &str) -> Issued {
    static ISSUED: LazyLock<Mutex<BTreeMap<String, Issued>>> = LazyLock::new(Mutex::default);
    let mut all = ISSUED.lock().expect("no test panics while it issues certificates");
    let issue = || {
        let template = Template {
            spiffe_id: Some(SpiffeId::parse(&format!("spiffe://td.test/{name}")).expect("a SPIFFE id")),
            dns_names: vec![format!("{name}.test"), format!("{name}.other.test")],
            ip_addresses: vec![Ipv4Addr::new(192, 0, 2, 7).into()],
            common_name: format!("the {name}, of test"),
            ..Template::lasting(Duration::from_secs(86_400))
        };
        authority().issue(&template).expect("a certificate")
    };
    all.entry(name.to_owned()).or_insert_with(issue).clone()
}

/// A JSON string is one of YAML too.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

pub fn access_log(dir: &Path) -> std::path::PathBuf {
    dir.join("access.log")
}

fn reserve() -> (Socket, u16) {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    socket.set_reuse_port(true).expect("SO_REUSEPORT");
    let any: SocketAddr = SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0).into();
    socket.bind(&any.into()).expect("a free port");
    let bound = socket
        .local_addr()
        .ok()
        .and_then(|bound| bound.as_socket())
        .expect("an IPv4 address");
    (socket, bound.port())
}
