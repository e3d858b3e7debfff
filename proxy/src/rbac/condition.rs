//! What a policy asks of a request or a connection: permissions (what is done) and principals (by whom).

use std::{borrow::Cow, ops::Range};

use ipnet::IpNet;
use serde_json::{Map, Value};

use crate::{
    address::Address,
    http::message::RequestHead,
    matcher::{Regex, StringMatcher},
    route::matcher::{HeaderField, HeaderMatcher, MetadataMatcher},
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
    /// A text of the request or connection; never holds where there is none.
    Text(Input, StringMatcher),
    /// A filter state that nothing here sets: never holds.
    UnknownFilterState,
}

/// What the generic matching API can look at.
#[derive(Debug)]
pub enum Input {
    Header(HeaderField),
    ServerName,
    /// All of the client's certificate, joined with `,`.
    UriSan,
    DnsSan,
    Subject,
    SourceIp,
    DirectSourceIp,
    DestinationIp,
    SourcePort,
    DestinationPort,
}

impl Input {
    fn is_of_tls(&self) -> bool {
        matches!(self, Self::UriSan | Self::DnsSan | Self::Subject)
    }

    fn of<'f>(&self, facts: &Facts<'f>) -> Option<Cow<'f, [u8]>> {
        use certs::SubjectAltName::{Dns, Uri};
        let connection = facts.connection;
        let peer = || Some(&*connection.tls.as_ref()?.peer.as_ref()?.certificate);
        let owned = |text: String| Cow::Owned(text.into_bytes());
        let ip = |address: &Address| address.ip().map(|a| owned(a.ip().to_string()));
        let port = |address: &Address| address.ip().map(|a| owned(a.port().to_string()));
        let names = |pick: fn(&certs::SubjectAltName) -> Option<&str>| {
            let names: Vec<_> = peer()?.subject_alt_names.iter().filter_map(pick).collect();
            (!names.is_empty()).then(|| owned(names.join(",")))
        };
        match self {
            Self::Header(field) => field.value(facts.request?),
            Self::ServerName => {
                let name = connection.requested_server_name.as_deref()?;
                (!name.is_empty()).then_some(Cow::Borrowed(name.as_bytes()))
            }
            Self::UriSan => names(|name| match name {
                Uri(name) => Some(name),
                _ => None,
            }),
            Self::DnsSan => names(|name| match name {
                Dns(name) => Some(name),
                _ => None,
            }),
            Self::Subject => peer().map(|certificate| Cow::Borrowed(certificate.subject.as_bytes())),
            Self::SourceIp => ip(facts.remote),
            Self::DirectSourceIp => ip(&connection.remote_address),
            Self::DestinationIp => ip(&connection.local_address),
            Self::SourcePort => port(facts.remote),
            Self::DestinationPort => port(&connection.local_address),
        }
    }
}

impl Condition {
    /// Whether it asks for a header, here or further in.
    pub fn reads_headers(&self) -> bool {
        match self {
            Self::Header(_) | Self::Text(Input::Header(_), _) => true,
            Self::And(several) | Self::Or(several) => several.iter().any(Self::reads_headers),
            Self::Not(condition) => condition.reads_headers(),
            _ => false,
        }
    }

    /// The same; `None` where it cannot be told, because an input asks for a TLS session that there is not.
    pub fn known(&self, facts: &Facts<'_>) -> Option<bool> {
        match self {
            Self::Text(input, _) if input.is_of_tls() && facts.connection.tls.is_none() => None,
            Self::And(all) => {
                for condition in all {
                    if !condition.known(facts)? {
                        return Some(false);
                    }
                }
                Some(true)
            }
            Self::Or(any) => {
                let mut known = Some(false);
                for condition in any {
                    match condition.known(facts) {
                        Some(true) => return Some(true),
                        Some(false) => {}
                        None => known = None,
                    }
                }
                known
            }
            Self::Not(condition) => condition.known(facts).map(|known| !known),
            other => Some(other.holds(facts)),
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
            Self::Text(input, matcher) => input.of(facts).is_some_and(|text| matcher.matches(&text)),
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
