//! VHDS: virtual hosts of a route configuration that come one by one.

use std::sync::Arc;

use xds_api::envoy::config::route::v3 as pb;

use super::{
    super::{
        Context,
        at::{At, Scope},
        rejection::Rejection,
        source::{self, ConfigSource, SourceSpecifier},
    },
    Defaults, KIND, index, virtual_host,
};
use crate::route::{RouteConfiguration, VirtualHost};

/// `envoy.config.route.v3.Vhds`, parsed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Vhds {
    pub source: Arc<ConfigSource>,
    /// What the configuration says of all of its virtual hosts.
    defaults: Defaults,
}

const VIRTUAL_HOST: &str = "virtual host";
/// The message of such a resource.
const TYPE: &str = "envoy.config.route.v3.VirtualHost";

pub(super) fn parse(pb: &pb::RouteConfiguration, at: &At) -> Result<Option<Vhds>, Rejection> {
    let Some(vhds) = pb.vhds.as_deref() else {
        return Ok(None);
    };
    let at = at.field("vhds.config_source");
    let source = source::parse(at.required("", vhds.config_source.as_deref())?, &at)?;
    match &source.specifier {
        SourceSpecifier::Ads => {}
        SourceSpecifier::Grpc(api) if api.delta => {}
        _ => return Err(at.reject("must be ads or of api_type DELTA_GRPC: virtual hosts come by delta xDS only")),
    }
    Ok(Some(Vhds {
        source: Arc::new(source),
        defaults: Defaults::of(pb, false),
    }))
}

impl Vhds {
    /// # Errors
    /// The first thing in it that cannot be honoured.
    pub fn virtual_host(&self, bytes: &[u8], context: &mut Context) -> Result<VirtualHost, Rejection> {
        let pb =
            xds_api::decode_virtual_host(bytes).map_err(|e| Scope::new(VIRTUAL_HOST, "", context).root().reject(e))?;
        let scope = Scope::new(VIRTUAL_HOST, &pb.name, context);
        scope.root().conform(TYPE, bytes)?;
        let host = virtual_host::parse(&pb, &self.defaults, &scope.root())?;
        scope.finish(context);
        Ok(host)
    }
}

/// The configuration with more virtual hosts.
///
/// # Errors
/// A domain that stands in two of them.
pub fn with_virtual_hosts(
    base: &RouteConfiguration,
    more: impl IntoIterator<Item = Arc<VirtualHost>>,
    context: &Context,
) -> Result<RouteConfiguration, Rejection> {
    let scope = Scope::new(KIND, &base.name, context);
    let mut whole = base.clone();
    whole.virtual_hosts.extend(more);
    whole.hosts = index(&whole.virtual_hosts, &scope.root())?;
    Ok(whole)
}
