//! What a policy asks of a request or a connection: permissions (what is done) and principals (by whom).

use std::ops::Range;

use ipnet::IpNet;
use serde_json::{Map, Value};

use crate::{
    address::Address,
    http::message::RequestHead,
    matcher::{Regex, StringMatcher},
    route::matcher::{HeaderMatcher, MetadataMatcher},
    stream_info::ConnectionInfo,
};

/// The facts of the decision.
#[derive(Clone, Copy)]
pub struct Facts<'a> {
    /// `None` for a network filter.
    pub request: Option<&'a RequestHead>,
    pub connection: &'a ConnectionInfo,
    /// The client as XFF tells it; the connection's peer otherwise.
    pub remote: &'a Address,
    pub dynamic_metadata: Option<&'a Map<String, Value>>,
    /// `None` where there is no route, or the route has none.
    pub route_metadata: Option<&'a Map<String, Value>>,
    pub has_route: bool,
}

/// `envoy.config.rbac.v3.Permission` and `Principal`, parsed.
#[derive(Debug)]
pub enum Condition {
    Any,
    And(Box<[Self]>),
    Or(Box<[Self]>),
    Not(Box<Self>),
    Header(HeaderMatcher),
    /// The path without its query.
    UrlPath(StringMatcher),
    UriTemplate(Regex),
    Metadata(MetadataMatcher),
    RouteMetadata(MetadataMatcher),
    DestinationIp(IpNet),
    DestinationPort(Range<u32>),
    RequestedServerName(StringMatcher),
    /// Over TLS, with a certificate of this name; `None`: any session will do.
    Authenticated(Option<StringMatcher>),
    /// The connection's peer.
    SourceIp(IpNet),
    RemoteIp(IpNet),
    /// A filter state that nothing here sets: never holds.
    UnknownFilterState,
}

impl Condition {
    /// Whether it asks for a header, here or further in.
    pub fn reads_headers(&self) -> bool {
        match self {
            Self::Header(_) => true,
            Self::And(several) | Self::Or(several) => several.iter().any(Self::reads_headers),
            Self::Not(condition) => condition.reads_headers(),
            _ => false,
        }
    }

    pub fn holds(&self, facts: &Facts<'_>) -> bool {
        let connection = facts.connection;
        let path = || facts.request.filter(|r| !r.path.is_empty()).map(RequestHead::path_only);
        match self {
            Self::Any => true,
            Self::And(all) => all.iter().all(|condition| condition.holds(facts)),
            Self::Or(any) => any.iter().any(|condition| condition.holds(facts)),
            Self::Not(condition) => !condition.holds(facts),
            Self::Header(header) => facts.request.is_some_and(|request| header.matches(request)),
            Self::UrlPath(matcher) => path().is_some_and(|path| matcher.matches(path.as_bytes())),
            Self::UriTemplate(template) => path().is_some_and(|path| template.is_full_match(path.as_bytes())),
            Self::Metadata(matcher) => matcher.matches(facts.dynamic_metadata),
            Self::RouteMetadata(matcher) => facts.has_route && matcher.matches(facts.route_metadata),
            Self::DestinationIp(range) => within(&connection.local_address, range),
            Self::DestinationPort(ports) => {
                let port = connection.local_address.ip().map(|a| u32::from(a.port()));
                port.is_some_and(|port| ports.contains(&port))
            }
            Self::RequestedServerName(matcher) => {
                let name = connection.requested_server_name.as_deref().unwrap_or_default();
                matcher.matches(name.as_bytes())
            }
            Self::Authenticated(wanted) => authenticated(connection, wanted.as_ref()),
            Self::SourceIp(range) => within(&connection.remote_address, range),
            Self::RemoteIp(range) => within(facts.remote, range),
            Self::UnknownFilterState => false,
        }
    }
}

fn within(address: &Address, range: &IpNet) -> bool {
    address.ip().is_some_and(|a| range.contains(&a.ip()))
}

/// URI names, then DNS names, then the subject: one that matches is enough.
fn authenticated(connection: &ConnectionInfo, wanted: Option<&StringMatcher>) -> bool {
    use certs::SubjectAltName::{Dns, Uri};
    let (Some(tls), Some(wanted)) = (&connection.tls, wanted) else {
        return connection.tls.is_some();
    };
    let Some(peer) = &tls.peer else {
        // Without a certificate its subject is empty, as is every name.
        return wanted.matches(b"");
    };
    let certificate = &peer.certificate;
    let named = certificate.subject_alt_names.iter().any(|name| match name {
        Uri(name) | Dns(name) => wanted.matches(name.as_bytes()),
        _ => false,
    });
    named || wanted.matches(certificate.subject.as_bytes())
}
