//! `envoy.extensions.filters.http.jwt_authn.v3.JwtAuthentication`: requests must carry tokens of known issuers.
//!
//! `extract` finds tokens in a request, `check` decides whether they meet a requirement, `accept` does what a good token
//! asks for, `remote` fetches key sets.

use std::{
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use smallvec::SmallVec;

mod accept;
mod check;
mod extract;
pub mod remote;

use super::{super::local_reply::LocalReply, HttpFilter, Step, router};
use crate::{
    http::{message::RequestHead, stream::Stream},
    jwt::{Denial, Jwks},
    matcher::StringMatcher,
    route::{
        RouteFacts, RouteMatch,
        per_filter::{PerRoute, PerRouteConfig},
    },
    stats::{Group, JwtAuthnStat},
};
use check::{Check, Fetched};
use remote::RemoteKeys;

#[derive(Debug)]
pub struct JwtAuthn {
    /// Requirements name them by index.
    pub providers: Box<[Arc<Provider>]>,
    /// The first that matches a request tells what it needs.
    pub rules: Box<[Rule]>,
    /// Which routes name.
    pub requirements: Box<[(Box<str>, Arc<Requirement>)]>,
    pub bypass_cors_preflight: bool,
    /// Tell a client nothing but the status.
    pub strip_failure_response: bool,
    pub stats: Group<JwtAuthnStat>,
}

#[derive(Debug)]
pub struct Rule {
    pub matches: RouteMatch,
    /// `None`: nothing is needed.
    pub requirement: Option<Arc<Requirement>>,
}

#[derive(Debug)]
pub enum Requirement {
    /// A token of this provider.
    Provider {
        provider: usize,
        /// In place of the provider's own.
        audiences: Option<Audiences>,
    },
    Any(Box<[Self]>),
    All(Box<[Self]>),
    /// No token at the places of these providers, or good ones only.
    AllowMissing(Box<[usize]>),
    /// Good tokens are accepted, others passed over.
    AllowMissingOrFailed(Box<[usize]>),
    None,
}

/// What a route says to the filter.
#[derive(Debug, Clone)]
pub enum PerRouteJwt {
    Disabled,
    /// One of [`JwtAuthn::requirements`].
    Requirement(Arc<str>),
}

/// An issuer of tokens, and what becomes of them.
#[derive(Debug)]
pub struct Provider {
    /// Empty: any.
    pub issuer: Box<str>,
    pub audiences: Audiences,
    pub subjects: Option<StringMatcher>,
    pub require_expiration: bool,
    pub max_lifetime: Option<Duration>,
    /// Seconds.
    pub clock_skew: u64,
    pub keys: Keys,
    pub from_headers: Box<[FromHeader]>,
    pub from_params: Box<[Box<str>]>,
    pub from_cookies: Box<[Box<str>]>,
    /// Leave the token in the request.
    pub forward: bool,
    pub forward_payload_header: Option<HeaderName>,
    pub pad_forward_payload_header: bool,
    pub payload_in_metadata: Box<str>,
    pub header_in_metadata: Box<str>,
    pub failed_status_in_metadata: Box<str>,
    pub space_delimited_claims: Box<[Box<str>]>,
    pub claim_to_headers: Box<[ClaimToHeader]>,
    pub clear_route_cache: bool,
}

#[derive(Debug)]
pub struct ClaimToHeader {
    pub header: HeaderName,
    /// Names of nested claims.
    pub claim: Box<[Box<str>]>,
}

#[derive(Debug)]
pub struct FromHeader {
    pub name: HeaderName,
    /// Empty: the value is the token.
    pub value_prefix: Box<str>,
}

#[derive(Debug)]
pub enum Keys {
    Local(Arc<Jwks>),
    Remote(RemoteKeys),
}

/// Of which a token must name one; empty: none.
#[derive(Debug, Default)]
pub struct Audiences(pub Box<[Box<str>]>);

impl Audiences {
    /// As audiences are compared: without their scheme and a slash at their end.
    pub fn normal(audience: &str) -> &str {
        let bare = audience
            .strip_prefix("https://")
            .or_else(|| audience.strip_prefix("http://"))
            .unwrap_or(audience);
        bare.strip_suffix('/').unwrap_or(bare)
    }

    fn allow(&self, audiences: &[Box<str>]) -> bool {
        let allowed = |audience: &str| self.0.iter().any(|own| **own == *Self::normal(audience));
        self.0.is_empty() || audiences.iter().any(|audience| allowed(audience))
    }
}

/// Keys that one request had to wait for: almost never more than one set.
type AllFetched = SmallVec<[Fetched; 1]>;

pub async fn run(filter: &HttpFilter, own: &JwtAuthn, stream: &mut Stream<'_>) -> Step {
    if own.bypass_cors_preflight && is_preflight(&stream.request) {
        own.stats.inc(JwtAuthnStat::CorsPreflightBypassed);
        own.stats.inc(JwtAuthnStat::Allowed);
        return Step::Continue;
    }
    let requirement = match requirement(filter, own, stream) {
        Ok(Some(requirement)) => requirement,
        Ok(None) => {
            own.stats.inc(JwtAuthnStat::Allowed);
            return Step::Continue;
        }
        Err(reply) => {
            own.stats.inc(JwtAuthnStat::Denied);
            return Step::Reply(reply);
        }
    };
    let mut fetched = AllFetched::new();
    let outcome = loop {
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default()
            .as_secs();
        let check = Check::new(&own.providers, &stream.request, now, &fetched);
        let provider = match check.run(&requirement) {
            Ok(outcome) => break outcome,
            Err(check::NeedsKeys { provider }) => provider,
        };
        let keys = match fetch(own, stream, provider).await {
            Ok(keys) => keys,
            Err(end) => return Step::End(end),
        };
        fetched.push(Fetched { provider, keys });
    };
    let verdict = outcome.verdict;
    own.stats.add(JwtAuthnStat::JwtCacheMiss, outcome.verifications);
    // What clients are told of is the request as it came.
    let realm = verdict.err().map(|_| original_uri(&stream.request));
    accept::apply(own, outcome, stream);
    let Err(denial) = verdict else {
        own.stats.inc(JwtAuthnStat::Allowed);
        return Step::Continue;
    };
    own.stats.inc(JwtAuthnStat::Denied);
    Step::Reply(Box::new(own.denied(denial, &realm.unwrap_or_default())))
}

/// What the request needs; `None`: nothing.
fn requirement(
    filter: &HttpFilter,
    own: &JwtAuthn,
    stream: &Stream<'_>,
) -> Result<Option<Arc<Requirement>>, Box<LocalReply>> {
    if let Some(PerRoute::Config(PerRouteConfig::JwtAuthn(said))) = stream.per_route(&filter.name) {
        let name = match said {
            PerRouteJwt::Disabled => return Ok(None),
            PerRouteJwt::Requirement(name) => name,
        };
        let named = own.requirements.iter().find(|(known, _)| **known == **name);
        return match named {
            Some((_, requirement)) => Ok(Some(requirement.clone())),
            None => Err(Box::new(own.unknown_requirement(name))),
        };
    }
    let snapshot = stream.worker.snapshot();
    let facts = RouteFacts {
        request: &stream.request,
        tls: stream.info.connection.tls.as_deref(),
        random: stream.worker.random(),
        runtime: &snapshot.runtime,
        dynamic_metadata: stream.info.dynamic_metadata.as_deref(),
    };
    let path = stream.request.path_only();
    let matches = |rule: &&Rule| rule.matches.first_failure(path, &facts).is_none();
    Ok(own.rules.iter().find(matches).and_then(|rule| rule.requirement.clone()))
}

/// The keys of a provider that has none at hand; `None`: they did not come.
async fn fetch(
    own: &JwtAuthn,
    stream: &mut Stream<'_>,
    provider: usize,
) -> Result<Option<Arc<Jwks>>, super::StreamEnd> {
    let (provider, worker, stats) = (
        own.providers[provider].clone(),
        stream.worker.clone(),
        own.stats.clone(),
    );
    let fetching = async move {
        match &provider.keys {
            Keys::Remote(remote) => remote.fetch(&worker, &stats).await,
            Keys::Local(keys) => Some(keys.clone()),
        }
    };
    // Large, and soon over.
    Box::pin(router::wait_before(stream, fetching)).await
}

impl JwtAuthn {
    fn denied(&self, denial: Denial, realm: &str) -> LocalReply {
        let status = match denial {
            Denial::Audience => StatusCode::FORBIDDEN,
            _ => StatusCode::UNAUTHORIZED,
        };
        let mut reply = self.reply(status, denial.text());
        let invalid = match denial {
            Denial::Missing => "",
            _ => ", error=\"invalid_token\"",
        };
        let challenge = HeaderValue::try_from(format!("Bearer realm=\"{realm}\"{invalid}"));
        if let (false, Ok(challenge)) = (self.strip_failure_response, challenge) {
            reply.headers.insert(header::WWW_AUTHENTICATE, challenge);
        }
        reply
    }

    fn unknown_requirement(&self, name: &str) -> LocalReply {
        let known: Vec<_> = self.requirements.iter().map(|(known, _)| &**known).collect();
        let problem = format!(
            "Wrong requirement_name: {name}. It should be one of [{}]",
            known.join(",")
        );
        let mut reply = self.reply(StatusCode::FORBIDDEN, &problem);
        if !self.strip_failure_response {
            reply.body = format!("Failed JWT authentication: {problem}").into();
        }
        reply
    }

    fn reply(&self, status: StatusCode, problem: &str) -> LocalReply {
        let mut reply = LocalReply::new(status, "", "");
        if !self.strip_failure_response {
            reply.body = problem.to_owned().into();
        }
        // In one word, as access logs are split at spaces.
        reply.details = format!("jwt_authn_access_denied{{{}}}", problem.replace(' ', "_")).into();
        reply.sentence = Some(format!("JWT authentication: {problem}"));
        reply
    }
}

/// `Origin` and what it asks for stand only in a preflight request (Fetch standard, "CORS-preflight fetch").
fn is_preflight(request: &RequestHead) -> bool {
    let has = |headers: &HeaderMap, name| headers.get(name).is_some_and(|v: &HeaderValue| !v.is_empty());
    request.method == Method::OPTIONS
        && has(&request.headers, header::ORIGIN)
        && has(&request.headers, header::ACCESS_CONTROL_REQUEST_METHOD)
}

/// Bytes of a path that challenges repeat.
const MAX_REALM_PATH: usize = 256;

fn original_uri(request: &RequestHead) -> String {
    let text = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    let original = request.headers.get("x-envoy-original-path");
    let path = text(original.unwrap_or(&request.path));
    let path = path.get(..MAX_REALM_PATH).unwrap_or(&path);
    format!("{}://{}{path}", text(&request.scheme), request.authority_str())
}
