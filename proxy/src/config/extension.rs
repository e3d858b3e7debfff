//! Extensions: whatever stands in an `Any`. Dispatch is on its type, never on the name beside it; `TypedStruct` is unwrapped.
//!
//! Each category keeps its table of [`Kind`]s next to its parser; adding an extension is adding a line there.

use std::borrow::Cow;

use xds_api::{DecodeError, ExtensionConfig, pb};

use super::{at::At, rejection::Rejection};

/// What an extension is for, which decides what happens to one that is not known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Category {
    ListenerFilter,
    NetworkFilter,
    HttpFilter,
    PerRouteConfig,
    TransportSocket,
    CertificateValidator,
    RetryHostPredicate,
    RetryPriority,
    RequestId,
    OriginalIpDetection,
    EarlyHeaderMutation,
    ClusterType,
    UpstreamOptions,
    PathMatcher,
    MatcherInput,
    MatcherAction,
    Matcher,
    PathRewriter,
    AccessLogger,
    HeaderFormatter,
    Formatter,
    Tracer,
    ResourceDetector,
    Sampler,
    StatsSink,
    BootstrapExtension,
    ResourceMonitor,
    DnsResolver,
    RegexEngine,
}

impl Category {
    fn noun(self) -> &'static str {
        match self {
            Self::ListenerFilter => "listener filter",
            Self::NetworkFilter => "network filter",
            Self::HttpFilter => "HTTP filter",
            Self::PerRouteConfig => "per-route filter config",
            Self::TransportSocket => "transport socket",
            Self::CertificateValidator => "certificate validator",
            Self::RetryHostPredicate => "retry host predicate",
            Self::RetryPriority => "retry priority",
            Self::RequestId => "request id extension",
            Self::OriginalIpDetection => "original IP detection",
            Self::EarlyHeaderMutation => "early header mutation",
            Self::ClusterType => "cluster type",
            Self::UpstreamOptions => "upstream protocol options",
            Self::PathMatcher => "path matcher",
            Self::MatcherInput => "matcher input",
            Self::MatcherAction => "matcher action",
            Self::Matcher => "matcher",
            Self::PathRewriter => "path rewriter",
            Self::AccessLogger => "access logger",
            Self::HeaderFormatter => "header formatter",
            Self::Formatter => "formatter",
            Self::Tracer => "tracer",
            Self::ResourceDetector => "resource detector",
            Self::Sampler => "sampler",
            Self::StatsSink => "stats sink",
            Self::BootstrapExtension => "bootstrap extension",
            Self::ResourceMonitor => "resource monitor",
            Self::DnsResolver => "DNS resolver",
            Self::RegexEngine => "regex engine",
        }
    }

    /// Leaving one of these out changes what is reported, never what is let through.
    fn guards_nothing(self) -> bool {
        matches!(
            self,
            Self::AccessLogger
                | Self::HeaderFormatter
                | Self::Formatter
                | Self::Tracer
                | Self::StatsSink
                | Self::BootstrapExtension
                | Self::ResourceMonitor
                | Self::DnsResolver
        )
    }
}

/// One known extension of a category.
pub(crate) struct Kind<T> {
    /// The protobuf message of its config.
    pub(crate) type_name: &'static str,
    pub(crate) parse: fn(&Extension, &At) -> Result<T, Rejection>,
}

/// Finds the extension's kind and parses it. `None`: skipped, because it is optional or guards nothing.
pub(crate) fn dispatch<T>(
    category: Category,
    any: Option<&pb::Any>,
    optional: bool,
    kinds: &[Kind<T>],
    at: &At,
) -> Result<Option<T>, Rejection> {
    let known = find(category, any, optional, kinds, |kind| kind.type_name, at)?;
    known.map(|(extension, kind)| (kind.parse)(&extension, at)).transpose()
}

/// Finds the extension's kind in a table whose parsers want more than the extension; otherwise as [`dispatch`].
pub(crate) fn find<'a, 'k, K>(
    category: Category,
    any: Option<&'a pb::Any>,
    optional: bool,
    kinds: &'k [K],
    type_name: impl Fn(&K) -> &'static str,
    at: &At,
) -> Result<Option<(Extension<'a>, &'k K)>, Rejection> {
    let noun = category.noun();
    let Some(any) = any else {
        return Err(at.reject(format_args!(
            "is required: the {noun} is chosen by the @type of its config"
        )));
    };
    let extension = Extension::open(any, at)?;
    if let Some(kind) = kinds.iter().find(|kind| type_name(kind) == extension.type_name) {
        return Ok(Some((extension, kind)));
    }
    let name = &extension.type_name;
    if optional || category.guards_nothing() {
        at.field("@type")
            .note(format_args!("the {noun} {name} is not known to Pillion and is skipped"));
        return Ok(None);
    }
    let why = match category {
        Category::ResourceDetector | Category::Sampler => "so that nobody can say what it tells; leave it out",
        _ => "and what it guards would be open without it",
    };
    Err(at
        .field("@type")
        .reject(format_args!("the {noun} {name} is not known to Pillion, {why}")))
}

/// An `Any`, unwrapped.
pub(crate) struct Extension<'a> {
    pub(crate) type_name: Cow<'a, str>,
    /// Its wire form, which also stands for the content in hashes.
    pub(crate) bytes: Cow<'a, [u8]>,
}

impl<'a> Extension<'a> {
    pub(crate) fn open(any: &'a pb::Any, at: &At) -> Result<Self, Rejection> {
        let unpacked = xds_api::any::unpack(any).map_err(|e| at.reject(e))?;
        if unpacked.type_name.is_empty() {
            return Err(at.reject("has no @type"));
        }
        // What stands in an Any was looked at with its resource; what stands in a TypedStruct could not be.
        if let Cow::Owned(bytes) = &unpacked.value {
            at.conform(&unpacked.type_name, bytes)?;
        }
        for warning in &unpacked.warnings {
            at.note(warning);
        }
        Ok(Self {
            type_name: unpacked.type_name,
            bytes: unpacked.value,
        })
    }

    /// The config's message, decoded by one of `xds_api`'s functions.
    pub(crate) fn decode<M>(&self, decode: fn(&[u8]) -> Result<M, DecodeError>, at: &At) -> Result<M, Rejection> {
        decode(&self.bytes).map_err(|e| at.reject(format_args!("is no {}: {e}", self.type_name)))
    }

    /// The config's message.
    pub(crate) fn message<M: ExtensionConfig>(&self, at: &At) -> Result<M, Rejection> {
        self.decode(M::from_wire, at)
    }
}
