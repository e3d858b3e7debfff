//! `istio.stats` for HTTP: when a request counts. What counts and under which labels is `istio::stats`' business.

use http::HeaderMap;

use super::super::{message::ResponseHead, stream::Stream};
use super::grpc_stats;
use crate::istio::stats::IstioStats;

/// Of a head's line in HTTP/1, beside method and path: two spaces, the version, CRLF; and CRLF after the fields.
const REQUEST_LINE_REST: usize = 2 + "HTTP/1.1".len() + 2 + 2;
/// `HTTP/1.1 200 OK`, CRLF, and CRLF after the fields.
const STATUS_LINE: usize = "HTTP/1.1 200 OK".len() + 2 + 2;
/// `: ` and CRLF.
const FIELD_REST: usize = 4;

pub(super) fn run(stream: &mut Stream<'_>) {
    weigh(stream);
    if grpc_stats::is_call(stream) {
        stream.kept.grpc.get_or_insert_default();
    }
}

fn weigh(stream: &mut Stream<'_>) {
    let request = &stream.request;
    let host = "host".len() + FIELD_REST + request.authority.len();
    let line = request.method.as_str().len() + request.path.len() + REQUEST_LINE_REST;
    stream.info.bytes.request_headers = (line + host + fields(&request.headers)) as u64;
}

/// The response's head has passed the other filters.
pub(super) fn answered(filter: &IstioStats, stream: &mut Stream<'_>, head: &ResponseHead) {
    // A filter before this one may have answered.
    if stream.info.bytes.request_headers == 0 {
        weigh(stream);
    }
    stream.info.bytes.response_headers = (STATUS_LINE + fields(&head.headers)) as u64;
    if let Some(grpc) = &stream.kept.grpc
        && grpc.is_untold()
    {
        let series = filter.messages(stream);
        if let Some(grpc) = &mut stream.kept.grpc {
            grpc.count_in(series);
        }
    }
}

pub(super) fn ended(filter: &IstioStats, stream: &Stream<'_>) {
    filter.request(stream);
}

/// Bytes of the fields as HTTP/1 writes them.
fn fields(headers: &HeaderMap) -> usize {
    let one = |(name, value): (&http::HeaderName, &http::HeaderValue)| name.as_str().len() + value.len() + FIELD_REST;
    headers.iter().map(one).sum()
}
