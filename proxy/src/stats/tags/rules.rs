//! Envoy 1.40's default tags, as far as there are stats here that carry them.

use std::ops::Range;

use regex_automata::meta;
use smallvec::SmallVec;

use super::Cut;

/// A default tag.
pub(super) struct Default {
    pub(super) tag: &'static str,
    /// The token that names must start with; kept apart because it decides the tag's place among the others.
    first: Option<&'static str>,
    pub(super) find: Find,
}

#[derive(Clone)]
pub(super) enum Find {
    /// Tokens in a row, then at least one more: `*` is any token, `$` the one that is cut out with its dot.
    Path(&'static str),
    By(fn(&str) -> Option<Cut>),
    /// As `By`, for names in which `.ssl.` stands under a listener or a cluster.
    Tls(fn(&str) -> Option<Cut>),
    Regex(meta::Regex),
}

impl Default {
    const fn path(tag: &'static str, path: &'static str) -> Self {
        Self {
            tag,
            first: None,
            find: Find::Path(path),
        }
    }

    const fn by(tag: &'static str, first: Option<&'static str>, find: fn(&str) -> Option<Cut>) -> Self {
        Self {
            tag,
            first,
            find: Find::By(find),
        }
    }

    const fn tls(tag: &'static str, first: Option<&'static str>, find: fn(&str) -> Option<Cut>) -> Self {
        Self {
            tag,
            first,
            find: Find::Tls(find),
        }
    }

    pub(super) fn first_token(&self) -> Option<&'static str> {
        match self.find {
            Find::Path(path) => path.split('.').next().filter(|first| !matches!(*first, "$" | "*")),
            Find::By(_) | Find::Tls(_) | Find::Regex(_) => self.first,
        }
    }
}

/// In Envoy's order: what is not a plain path first.
pub(super) const DEFAULTS: &[Default] = &[
    Default::by("envoy.response_code", None, response_code),
    Default::by("envoy.response_code_class", None, response_code_class),
    Default::tls("envoy.ssl_cipher", Some("listener"), |name| {
        tls_leaf(name, ".ssl.ciphers.")
    }),
    Default::tls("envoy.ssl_curve", None, |name| tls_leaf(name, ".ssl.curves.")),
    Default::tls("envoy.ssl_sigalg", None, |name| tls_leaf(name, ".ssl.sigalgs.")),
    Default::tls("envoy.ssl_version", None, tls_version),
    Default::tls("cipher_suite", Some("cluster"), cluster_cipher),
    Default::by("envoy.http_conn_manager_prefix", Some("listener"), listener_http),
    Default::by("envoy.worker_id", None, worker_id),
    Default::by("envoy.listener_address", Some("listener"), listener_address),
    Default::by("envoy.rds_route_config", Some("http"), |name| route_config(name, "rds")),
    Default::by("envoy.scoped_rds_config", Some("http"), |name| {
        route_config(name, "scoped_rds")
    }),
    Default::by("envoy.rbac_policy_name", Some("http"), rbac_policy),
    Default::by("envoy.rbac_http_prefix", Some("http"), rbac_prefix),
    Default::tls("envoy.tls_certificate", None, certificate),
    Default::path("envoy.xds_resource_name", "sds.$"),
    Default::path("envoy.grpc_bridge_method", "cluster.*.grpc.*.$"),
    Default::path("envoy.http_user_agent", "http.*.user_agent.$"),
    Default::path("envoy.virtual_cluster", "vhost.*.vcluster.$"),
    Default::path("envoy.fault_downstream_cluster", "http.*.fault.$"),
    Default::path("envoy.grpc_bridge_service", "cluster.*.grpc.$"),
    Default::path("envoy.tcp_prefix", "tcp.$"),
    Default::path("envoy.udp_prefix", "udp.$"),
    Default::path("envoy.ratelimit_prefix", "ratelimit.$"),
    Default::path("envoy.cluster_name", "cluster.$"),
    Default::path("envoy.ext_authz_prefix", "cluster.*.ext_authz.$"),
    Default::path("envoy.ext_authz_prefix", "http.*.ext_authz.$"),
    Default::path("envoy.http_conn_manager_prefix", "http.$"),
    Default::path("envoy.virtual_host", "vhost.$"),
    Default::path("envoy.route", "vhost.*.route.$"),
    Default::path("envoy.local_http_ratelimit_prefix", "$.http_local_rate_limit"),
    Default::path("envoy.local_network_ratelimit_prefix", "local_rate_limit.$"),
    Default::path("envoy.local_listener_ratelimit_prefix", "listener_local_ratelimit.$"),
    Default::path("envoy.rbac_prefix", "$.rbac"),
    Default::path("envoy.connection_limit_prefix", "connection_limit.$"),
];

/// The cut of a token and the dot after it.
fn with_dot(value: Range<usize>) -> Cut {
    Cut {
        range: value.start..value.end + 1,
        value,
    }
}

/// The token at `at`, which a dot must follow.
fn token(name: &str, at: usize) -> Option<Range<usize>> {
    let end = at + name.get(at..)?.find('.')?;
    (end > at).then_some(at..end)
}

/// Where the dots of a name are.
pub(super) type Dots = SmallVec<[usize; 12]>;

pub(super) fn dots(name: &str) -> Dots {
    memchr::memchr_iter(b'.', name.as_bytes()).collect()
}

pub(super) fn on_path(path: &str, name: &str, dots: &[usize]) -> Option<Cut> {
    let mut start = 0;
    let mut cut = None;
    let mut steps = path;
    for &end in dots {
        let (step, left) = steps.split_once('.').unwrap_or((steps, ""));
        match step {
            _ if end == start => return None,
            "*" => {}
            "$" => cut = Some(with_dot(start..end)),
            literal => (name[start..end] == *literal).then_some(())?,
        }
        if left.is_empty() {
            return cut;
        }
        (start, steps) = (end + 1, left);
    }
    None
}

/// Where `stem`, which begins with a dot, is in `name` for the first time.
fn find(name: &str, stem: &str) -> Option<usize> {
    memchr::memchr_iter(b'.', name.as_bytes()).find(|&dot| name[dot..].starts_with(stem))
}

/// `..._rq_503`
fn response_code(name: &str) -> Option<Cut> {
    let code = name.len().checked_sub(3)?;
    let digits = name.get(code..)?;
    let fits = digits.bytes().all(|byte| byte.is_ascii_digit()) && name[..code].ends_with("_rq_");
    fits.then(|| Cut {
        range: code - 1..name.len(),
        value: code..name.len(),
    })
}

/// `..._rq_5xx`: only the digit goes.
fn response_code_class(name: &str) -> Option<Cut> {
    let digit = name.strip_suffix("xx")?.len().checked_sub(1)?;
    let fits = name.as_bytes()[digit].is_ascii_digit() && name[..digit].ends_with("_rq_");
    fits.then(|| Cut {
        range: digit..digit + 1,
        value: digit..digit + 1,
    })
}

pub(super) fn is_tls(name: &str) -> bool {
    (name.starts_with("listener.") || name.starts_with("cluster.")) && find(name, ".ssl.").is_some()
}

/// What follows `stem` at the name's end, cut with the dot before it.
fn after_stem(name: &str, stem: &str, fits: fn(u8) -> bool) -> Option<Cut> {
    let at = find(name, stem)? + stem.len();
    let leaf = &name[at..];
    (!leaf.is_empty() && leaf.bytes().all(fits)).then(|| Cut {
        range: at - 1..name.len(),
        value: at..name.len(),
    })
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

fn is_word_or_dash(byte: u8) -> bool {
    is_word(byte) || byte == b'-'
}

fn tls_leaf(name: &str, stem: &str) -> Option<Cut> {
    after_stem(name, stem, is_word_or_dash)
}

/// `TLSv1.3` has a dot of its own.
fn tls_version(name: &str) -> Option<Cut> {
    let cut = after_stem(name, ".ssl.versions.", |byte| is_word(byte) || byte == b'.')?;
    name[cut.value.clone()].starts_with("TLSv").then_some(cut)
}

/// Unlike a listener's, only below a cluster whose name has no dot.
fn cluster_cipher(name: &str) -> Option<Cut> {
    let cluster = token(name, "cluster.".len())?;
    let cut = tls_leaf(name, ".ssl.ciphers.")?;
    (cluster.end + ".ssl.ciphers".len() == cut.range.start).then_some(cut)
}

/// `listener.<anything>.http.<stat_prefix>.`
fn listener_http(name: &str) -> Option<Cut> {
    let stem = ".http.";
    let at = "listener".len() + find(name.get("listener".len()..)?, stem)?;
    (at > "listener".len())
        .then(|| token(name, at + stem.len()))?
        .map(with_dot)
}

/// The address at `at` (`127.0.0.1_80`, `[__1]_80`), or the token there where it is none.
fn address(name: &str, at: usize) -> Option<Range<usize>> {
    let rest = name.get(at..)?;
    let host = if rest.starts_with('[') {
        rest.find(']')
            .filter(|&end| end > 1 && rest[1..end].bytes().all(|b| b.is_ascii_hexdigit() || b == b'_'))
            .map(|end| end + 1)
    } else {
        rest.find('_')
            .filter(|&end| rest[..end].parse::<std::net::Ipv4Addr>().is_ok())
    };
    let port = host.and_then(|end| rest[end..].strip_prefix('_').map(|port| (end + 1, port)));
    let end = port.and_then(|(start, port)| {
        let digits = port.bytes().take_while(u8::is_ascii_digit).count();
        (digits > 0 && port[digits..].starts_with('.')).then_some(start + digits)
    });
    end.map_or_else(|| token(name, at), |end| Some(at..at + end))
}

/// The admin listener keeps its name.
fn listener_address(name: &str) -> Option<Cut> {
    let address = address(name, "listener.".len())?;
    (&name[address.clone()] != "admin").then(|| with_dot(address))
}

/// `worker_3.` under a listener or one of the groups that are per worker: the number goes, `worker_` stays.
fn worker_id(name: &str) -> Option<Cut> {
    let first = token(name, 0)?;
    let at = match &name[first.clone()] {
        "listener" => address(name, first.end + 1)?.end + 1,
        "server" | "listener_manager" | "thread_local_cluster_manager" => first.end + 1,
        _ => return None,
    };
    let worker = token(name, at)?;
    let id = name[worker.clone()].strip_prefix("worker_")?;
    let digits = !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| with_dot(worker.end - id.len()..worker.end))
}

/// `http.<stat_prefix>.rds.<route, dots and all>.<stat>`
fn route_config(name: &str, kind: &str) -> Option<Cut> {
    let manager = token(name, "http.".len())?;
    let kind = token(name, manager.end + 1).filter(|token| name[token.clone()] == *kind)?;
    let start = kind.end + 1;
    let end = start + name[start..].rfind('.')?;
    let fits = end > start
        && name[start..end]
            .bytes()
            .all(|byte| is_word_or_dash(byte) || byte == b'.')
        && name[end + 1..].bytes().all(is_word);
    fits.then(|| with_dot(start..end))
}

/// `http.<stat_prefix>.rbac.[<rules prefix>.]policy.<policy>.<outcome>`
fn rbac_policy(name: &str) -> Option<Cut> {
    let (head, outcome) = name.rsplit_once('.')?;
    let outcomes = ["allowed", "denied", "shadow_allowed", "shadow_denied"];
    outcomes.contains(&outcome).then_some(())?;
    let dots = dots(name);
    on_path("http.*.rbac.policy.$", name, &dots)
        .or_else(|| on_path("http.*.rbac.*.policy.$", name, &dots))
        .filter(|cut| cut.value.end == head.len())
}

/// `http.<stat_prefix>.rbac.<rules prefix>.`
fn rbac_prefix(name: &str) -> Option<Cut> {
    on_path("http.*.rbac.$", name, &dots(name)).filter(|cut| name[cut.value.clone()] != *"policy")
}

/// `….ssl.certificate.<name>.`
fn certificate(name: &str) -> Option<Cut> {
    let stem = ".ssl.certificate.";
    let at = find(name, stem)? + stem.len();
    token(name, at).map(with_dot)
}
