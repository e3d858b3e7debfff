//! `dynamic_resources`: which control plane serves what.

use std::sync::Arc;

use xds_api::envoy::config::{bootstrap::v3::bootstrap::DynamicResources as Pb, core::v3 as core};

use crate::config::{
    Rejection,
    at::At,
    source::{self, Api, ConfigSource, GrpcApi},
};

/// `envoy.config.bootstrap.v3.Bootstrap.DynamicResources`, parsed.
#[derive(Debug, Clone, Default)]
pub struct DynamicResources {
    /// The aggregated stream, which sources that say `ads` share.
    pub ads: Option<GrpcApi>,
    pub listeners: Option<Arc<ConfigSource>>,
    pub clusters: Option<Arc<ConfigSource>>,
}

pub(super) fn parse(pb: Option<&Pb>, at: &At) -> Result<DynamicResources, Rejection> {
    let Some(pb) = pb else {
        return Ok(DynamicResources::default());
    };
    at.unsupported("lds_resources_locator", !pb.lds_resources_locator.is_empty())?;
    at.unsupported("cds_resources_locator", !pb.cds_resources_locator.is_empty())?;
    let source = |field: &'static str, pb: &Option<Box<core::ConfigSource>>| {
        let source = pb.as_deref().map(|pb| source::parse(pb, &at.field(field)));
        source.transpose().map(|source| source.map(Arc::new))
    };
    let dynamic = DynamicResources {
        ads: match pb.ads_config.as_deref() {
            Some(config) => Some(ads(config, &at.field("ads_config"))?),
            None => None,
        },
        listeners: source("lds_config", &pb.lds_config)?,
        clusters: source("cds_config", &pb.cds_config)?,
    };
    if dynamic.ads.is_none() {
        for (field, source) in [("lds_config", &dynamic.listeners), ("cds_config", &dynamic.clusters)] {
            if source
                .as_ref()
                .is_some_and(|s| s.specifier == source::SourceSpecifier::Ads)
            {
                at.field(field)
                    .note("asks for ADS, and there is no ads_config; nothing will be fetched");
            }
        }
    }
    Ok(dynamic)
}

fn ads(pb: &core::ApiConfigSource, at: &At) -> Result<GrpcApi, Rejection> {
    match source::api_source(pb, at)? {
        Api::Grpc(grpc) => {
            source::require_backing(&grpc, at);
            Ok(grpc)
        }
        Api::Ads | Api::Rest(_) => Err(at
            .field("api_type")
            .reject("the aggregated stream itself is GRPC or DELTA_GRPC")),
    }
}
