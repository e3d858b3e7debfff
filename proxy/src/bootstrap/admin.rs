//! `admin`: where the operator talks to the proxy.

use std::sync::Arc;

use xds_api::envoy::config::bootstrap::v3 as pb;

use crate::{
    access_log::{AccessLog, Sink},
    config::{Rejection, access_log, address, at::At, matcher},
    listener::{ListenAddress, SocketOption},
    matcher::StringMatcher,
};

/// `envoy.config.bootstrap.v3.Admin`, parsed.
#[derive(Debug)]
pub struct Admin {
    pub address: ListenAddress,
    pub access_log: Vec<AccessLog>,
    /// Where `/cpuprofiler` would write.
    pub profile_path: Option<Arc<str>>,
    pub socket_options: Vec<SocketOption>,
    pub ignore_global_conn_limit: bool,
    /// Paths that are served; empty: all.
    pub allow_paths: Vec<StringMatcher>,
}

/// `None`: without an address nothing is served, as in Envoy.
pub(super) fn parse(pb: &pb::Admin, at: &At) -> Result<Option<Admin>, Rejection> {
    let mut access_log = access_log::parse(&pb.access_log, "access_log", at)?;
    if !pb.access_log_path.is_empty() {
        access_log.push(AccessLog {
            filter: None,
            sink: Sink::File {
                path: access_log::writable("access_log_path", &pb.access_log_path, at)?,
                format: access_log::default_format(&at.field("access_log_path"))?,
            },
        });
    }
    let mut allow_paths = Vec::with_capacity(pb.allow_paths.len());
    for (i, path) in pb.allow_paths.iter().enumerate() {
        allow_paths.push(matcher::string(path, &at.item("allow_paths", i))?);
    }
    let Some(address) = pb.address.as_deref() else {
        at.note("has no address, so the admin interface is not served");
        return Ok(None);
    };
    Ok(Some(Admin {
        address: address::listen(address, &at.field("address"))?,
        access_log,
        profile_path: match pb.profile_path.as_str() {
            "" => None,
            path => Some(path.into()),
        },
        socket_options: address::socket_options(&pb.socket_options, "socket_options", at)?,
        ignore_global_conn_limit: pb.ignore_global_conn_limit,
        allow_paths,
    }))
}
