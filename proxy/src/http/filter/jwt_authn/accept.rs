//! What a good token asks for: claims become headers and metadata, the token leaves the request.

use http::HeaderValue;
use serde_json::{Map, Value, json};

use super::{ClaimToHeader, JwtAuthn, Provider, check::Outcome};
use crate::{
    http::{cached_route, message::RequestHead, stream::Stream},
    jwt::Jwt,
};

/// Where payloads stand in dynamic metadata.
const NAMESPACE: &str = "envoy.filters.http.jwt_authn";
/// Envoy counts its statuses; clients of its metadata know the message better.
const MESSAGE: &str = "message";

pub(super) fn apply(own: &JwtAuthn, outcome: Outcome, stream: &mut Stream<'_>) {
    for provider in &outcome.sanitized {
        own.providers[*provider].sanitize(&mut stream.request);
    }
    let mut route_changes = false;
    for accepted in &outcome.accepted {
        let (provider, jwt) = (&own.providers[accepted.provider], &accepted.jwt);
        let told = provider.tell(jwt, &mut stream.request);
        if !provider.forward {
            accepted.place.remove(&mut stream.request);
        }
        route_changes |= provider.clear_route_cache && (told || !provider.payload_in_metadata.is_empty());
    }
    // Those of a request that is denied are told only of its failure.
    if outcome.verdict.is_ok() {
        for accepted in outcome.accepted {
            let provider = &own.providers[accepted.provider];
            if !provider.header_in_metadata.is_empty() {
                let header = accepted.jwt.header.into();
                stream
                    .info
                    .set_metadata(NAMESPACE, &provider.header_in_metadata, header);
            }
            if !provider.payload_in_metadata.is_empty() {
                let payload = provider.normalized(accepted.jwt.payload).into();
                stream
                    .info
                    .set_metadata(NAMESPACE, &provider.payload_in_metadata, payload);
            }
        }
    }
    for (provider, denial) in outcome.failed {
        let key = &own.providers[provider].failed_status_in_metadata;
        if !key.is_empty() {
            stream
                .info
                .set_metadata(NAMESPACE, key, json!({MESSAGE: denial.text()}));
        }
    }
    if route_changes {
        cached_route::refresh(stream);
    }
}

impl Provider {
    fn sanitize(&self, request: &mut RequestHead) {
        let headers = self.claim_to_headers.iter().map(|told| &told.header);
        for name in headers.chain(&self.forward_payload_header) {
            request.headers.remove(name);
        }
    }

    /// Whether a header was added.
    fn tell(&self, jwt: &Jwt, request: &mut RequestHead) -> bool {
        let mut told = false;
        if let Some(name) = &self.forward_payload_header {
            let mut payload = String::from(&*jwt.payload_base64);
            while self.pad_forward_payload_header && payload.len() % 4 != 0 {
                payload.push('=');
            }
            if let Ok(value) = HeaderValue::try_from(payload) {
                request.headers.append(name, value);
                told = true;
            }
        }
        for ClaimToHeader { header, claim } in &self.claim_to_headers {
            let claim = jwt.claim_text(claim.iter()).filter(|text| !text.is_empty());
            if let Some(Ok(value)) = claim.map(|text| HeaderValue::try_from(&*text)) {
                request.headers.append(header, value);
                told = true;
            }
        }
        told
    }

    /// Claims that are lists in one text become lists.
    fn normalized(&self, mut payload: Map<String, Value>) -> Map<String, Value> {
        for claim in &self.space_delimited_claims {
            if let Some(value) = payload.get_mut(&**claim)
                && let Some(text) = value.as_str()
            {
                *value = text.split(' ').filter(|word| !word.is_empty()).collect();
            }
        }
        payload
    }
}
