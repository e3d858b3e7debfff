//! `RouteConfiguration`: virtual hosts and their routes.

use std::sync::Arc;

use hashbrown::HashMap;
use xds_api::envoy::config::route::v3 as pb;

use super::{
    Context,
    at::{At, Scope},
    dependencies::Dependencies,
    header_edit::{self, header_fields},
    rejection::Rejection,
    wire,
};
use crate::route::{HostIndex, RouteConfiguration, VirtualHost};

mod action;
pub(crate) mod matcher;
pub(crate) mod per_filter;
mod redirect;
mod retry;
pub(crate) mod scope;
mod target;
pub(crate) mod vhds;
mod virtual_host;

pub use scope::parse as parse_scope;
pub use vhds::{Vhds, with_virtual_hosts};

pub(crate) const KIND: &str = "route configuration";
/// The message of such a resource.
const TYPE: &str = "envoy.config.route.v3.RouteConfiguration";

/// Envoy's default limit of a direct response's body, in bytes.
const MAX_DIRECT_RESPONSE_BODY: u32 = 4096;

/// A route configuration that was accepted.
#[derive(Debug)]
pub struct ParsedRouteConfiguration {
    pub routes: RouteConfiguration,
    /// Where more virtual hosts come from.
    pub vhds: Option<Vhds>,
    /// The clusters that must exist, where `validate_clusters` asks for that.
    pub dependencies: Dependencies,
}

/// A route configuration of its own (RDS).
///
/// # Errors
/// The first thing in it that cannot be honoured.
pub fn parse(bytes: &[u8], context: &mut Context) -> Result<ParsedRouteConfiguration, Rejection> {
    let pb = xds_api::decode_route_configuration(bytes).map_err(|e| Scope::new(KIND, "", context).root().reject(e))?;
    let scope = Scope::new(KIND, &pb.name, context);
    scope.root().conform(TYPE, bytes)?;
    // A cluster may arrive after the routes that name it, so RDS does not ask for it unless told to.
    let vhds = vhds::parse(&pb, &scope.root())?;
    let mut routes = configuration(&pb, wire::hash(bytes), false, &scope.root())?;
    routes.vhds = vhds.is_some();
    Ok(ParsedRouteConfiguration {
        routes,
        vhds,
        dependencies: scope.finish(context),
    })
}

/// What the whole configuration says and its parts need.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Defaults {
    /// `validate_clusters`.
    require_clusters: bool,
    max_direct_response_body: usize,
}

impl Defaults {
    fn of(pb: &pb::RouteConfiguration, validate: bool) -> Self {
        Self {
            require_clusters: pb.validate_clusters.unwrap_or(validate),
            max_direct_response_body: pb
                .max_direct_response_body_size_bytes
                .unwrap_or(MAX_DIRECT_RESPONSE_BODY) as usize,
        }
    }
}

/// `validate` is Envoy's default for where the configuration stands: clusters are checked in inline ones.
pub(crate) fn configuration(
    pb: &pb::RouteConfiguration,
    hash: u64,
    validate: bool,
    at: &At,
) -> Result<RouteConfiguration, Rejection> {
    let defaults = Defaults::of(pb, validate);
    at.unsupported(
        "cluster_specifier_plugins",
        pb.cluster_specifier_plugins.iter().any(|p| !p.is_optional),
    )?;
    let mut internal_only_headers = Vec::with_capacity(pb.internal_only_headers.len());
    for (i, name) in pb.internal_only_headers.iter().enumerate() {
        let at = at.item("internal_only_headers", i);
        internal_only_headers.push(at.header_name("", name)?);
    }
    let mut virtual_hosts = Vec::with_capacity(pb.virtual_hosts.len());
    for (i, host) in pb.virtual_hosts.iter().enumerate() {
        virtual_hosts.push(Arc::new(virtual_host::parse(
            host,
            &defaults,
            &at.item("virtual_hosts", i),
        )?));
    }
    Ok(RouteConfiguration {
        name: pb.name.as_str().into(),
        hosts: index(&virtual_hosts, at)?,
        virtual_hosts,
        mirrors: action::mirrors(&pb.request_mirror_policies, &defaults, at)?.into(),
        internal_only_headers,
        header_edits: Arc::new(header_edit::parse(&header_fields!(pb), at)?),
        per_filter: Arc::new(per_filter::parse(&pb.typed_per_filter_config, at)?),
        most_specific_header_mutations_wins: pb.most_specific_header_mutations_wins,
        ignore_port_in_host_matching: pb.ignore_port_in_host_matching,
        vhost_header: match pb.vhost_header.as_str() {
            "" => None,
            name => Some(at.header_name("vhost_header", name)?),
        },
        ignore_path_parameters_in_path_matching: pb.ignore_path_parameters_in_path_matching,
        vhds: false,
        hash,
    })
}

/// Domains by how they match. A domain stands in one virtual host only.
fn index(virtual_hosts: &[Arc<VirtualHost>], at: &At) -> Result<HostIndex, Rejection> {
    let mut index = HostIndex::default();
    let mut suffixes = HashMap::<&str, u32>::new();
    let mut prefixes = HashMap::<&str, u32>::new();
    for (i, host) in virtual_hosts.iter().enumerate() {
        let number = u32::try_from(i).map_err(|_| at.field("virtual_hosts").reject("has too many entries"))?;
        for (j, domain) in host.domains.iter().enumerate() {
            let taken = if &**domain == "*" {
                index.any.replace(number)
            } else if let Some(suffix) = domain.strip_prefix('*') {
                suffixes.insert(suffix, number)
            } else if let Some(prefix) = domain.strip_suffix('*') {
                prefixes.insert(prefix, number)
            } else {
                index.exact.insert(domain.clone(), number)
            };
            if let Some(first) = taken {
                let at = at.item("virtual_hosts", i);
                return Err(at.item("domains", j).reject(format_args!(
                    "{domain:?} already stands in virtual host {:?}; a domain may stand in one place only",
                    virtual_hosts[first as usize].name
                )));
            }
        }
    }
    let sorted = |map: HashMap<&str, u32>| {
        let mut list: Vec<(Box<str>, u32)> = map.into_iter().map(|(text, host)| (text.into(), host)).collect();
        list.sort_by(|(a, _), (b, _)| b.len().cmp(&a.len()).then_with(|| a.cmp(b)));
        list
    };
    (index.suffixes, index.prefixes) = (sorted(suffixes), sorted(prefixes));
    Ok(index)
}

#[cfg(test)]
mod tests;
