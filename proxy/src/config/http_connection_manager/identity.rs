//! Who a request comes from: client certificate headers and request ids.

use xds_api::envoy::extensions::{
    filters::network::http_connection_manager::v3 as pb, request_id::uuid::v3::UuidRequestIdConfig,
};

use super::super::{
    at::At,
    extension::{self, Category, Kind},
    rejection::Rejection,
};
use crate::http::{ForwardClientCert, RequestId, SetClientCert};

pub(super) struct Identity {
    pub(super) forward: ForwardClientCert,
    pub(super) set: SetClientCert,
    pub(super) request_id: RequestId,
}

pub(super) fn parse(pb: &pb::HttpConnectionManager, at: &At) -> Result<Identity, Rejection> {
    use pb::http_connection_manager::ForwardClientCertDetails as F;
    let request_id = pb.request_id_extension.as_deref().and_then(|e| e.typed_config.as_ref());
    Ok(Identity {
        forward: match at.enumeration("forward_client_cert_details", pb.forward_client_cert_details)? {
            F::Sanitize => ForwardClientCert::Sanitize,
            F::ForwardOnly => ForwardClientCert::ForwardOnly,
            F::AppendForward => ForwardClientCert::AppendForward,
            F::SanitizeSet => ForwardClientCert::SanitizeSet,
            F::AlwaysForwardOnly => ForwardClientCert::AlwaysForwardOnly,
        },
        set: set_client_cert(
            pb.set_current_client_cert_details.as_ref(),
            &at.field("set_current_client_cert_details"),
        )?,
        request_id: match request_id {
            Some(any) => {
                let at = at.field("request_id_extension.typed_config");
                extension::dispatch(Category::RequestId, Some(any), false, REQUEST_IDS, &at)?.unwrap_or_default()
            }
            None => RequestId::default(),
        },
    })
}

fn set_client_cert(
    pb: Option<&pb::http_connection_manager::SetCurrentClientCertDetails>,
    at: &At,
) -> Result<SetClientCert, Rejection> {
    use pb::http_connection_manager::ForwardClientCertFormat as F;
    let Some(pb) = pb else {
        return Ok(SetClientCert::default());
    };
    if at.enumeration::<F>("format", pb.format)? != F::Text {
        return Err(at.field("format").reject("only TEXT is supported by Pillion"));
    }
    at.not_honoured("issuer", pb.issuer);
    Ok(SetClientCert {
        subject: pb.subject.unwrap_or(false),
        cert: pb.cert,
        chain: pb.chain,
        dns: pb.dns,
        uri: pb.uri,
    })
}

const REQUEST_IDS: &[Kind<RequestId>] = &[Kind {
    type_name: "envoy.extensions.request_id.uuid.v3.UuidRequestIdConfig",
    parse: |extension, at| {
        let pb: UuidRequestIdConfig = extension.message(at)?;
        Ok(RequestId {
            pack_trace_reason: pb.pack_trace_reason.unwrap_or(true),
            use_for_trace_sampling: pb.use_request_id_for_trace_sampling.unwrap_or(true),
        })
    },
}];
