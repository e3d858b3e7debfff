//! `local_reply_config`: how answers of the proxy itself look.

use http::StatusCode;
use xds_api::envoy::extensions::filters::network::http_connection_manager::v3 as pb;

use super::super::{access_log, at::At, data_source, header_edit, rejection::Rejection};
use crate::http::{LocalReply, LocalReplyMapper};

pub(super) fn parse(pb: Option<&pb::LocalReplyConfig>, at: &At) -> Result<LocalReply, Rejection> {
    let Some(pb) = pb else { return Ok(LocalReply::default()) };
    let mut mappers = Vec::with_capacity(pb.mappers.len());
    for (i, mapper) in pb.mappers.iter().enumerate() {
        let at = at.item("mappers", i);
        mappers.extend(self::mapper(mapper, &at)?);
    }
    Ok(LocalReply {
        mappers,
        body: match pb.body_format.as_deref() {
            Some(format) => Some(access_log::reply_body(format, &at.field("body_format"))?),
            None => None,
        },
    })
}

/// `None`: its filter is not known to Pillion, so it never applies.
fn mapper(pb: &pb::ResponseMapper, at: &At) -> Result<Option<LocalReplyMapper>, Rejection> {
    let filter = at.required("filter", pb.filter.as_deref())?;
    let Some(filter) = access_log::filter(filter, &at.field("filter"))? else {
        at.field("filter").note("cannot be evaluated; the mapper never applies");
        return Ok(None);
    };
    Ok(Some(LocalReplyMapper {
        filter,
        status: pb
            .status_code
            .and_then(|status| u16::try_from(status).ok())
            .and_then(|status| StatusCode::from_u16(status).ok()),
        body: match pb.body.as_deref() {
            Some(body) => Some(data_source::read_text(body, &at.field("body"))?),
            None => None,
        },
        format: match pb.body_format_override.as_deref() {
            Some(format) => Some(access_log::reply_body(format, &at.field("body_format_override"))?),
            None => None,
        },
        headers: header_edit::additions(&pb.headers_to_add, "headers_to_add", at)?,
    }))
}
