//! Key sets from a server, kept by all workers together.

use std::{
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

use arc_swap::ArcSwapOption;
use http::{HeaderValue, Method, StatusCode};
use tokio::sync::Semaphore;

use crate::{
    jwt::Jwks,
    stats::{Group, JwtAuthnStat},
    upstream::call::{self, Request},
    worker::Worker,
};

/// A key set larger than this is none.
const MAX_BYTES: usize = 1 << 20;

/// `envoy.extensions.filters.http.jwt_authn.v3.RemoteJwks`, parsed, and what it brought.
#[derive(Debug)]
pub struct RemoteKeys {
    pub cluster: Box<str>,
    pub authority: HeaderValue,
    pub path: HeaderValue,
    pub timeout: Duration,
    /// How long keys are used before they are fetched again.
    pub cache_duration: Duration,
    kept: ArcSwapOption<Kept>,
    /// One fetch at a time: who comes meanwhile waits for its keys.
    turn: Semaphore,
}

#[derive(Debug)]
struct Kept {
    keys: Arc<Jwks>,
    until: Instant,
}

impl RemoteKeys {
    pub fn new(
        cluster: Box<str>,
        authority: HeaderValue,
        path: HeaderValue,
        timeout: Duration,
        cache_duration: Duration,
    ) -> Self {
        Self {
            cluster,
            authority,
            path,
            timeout,
            cache_duration,
            kept: ArcSwapOption::empty(),
            turn: Semaphore::new(1),
        }
    }

    /// The keys, where they need not be fetched.
    pub fn fresh(&self) -> Option<Arc<Jwks>> {
        let kept = self.kept.load();
        kept.as_ref()
            .filter(|kept| Instant::now() < kept.until)
            .map(|kept| kept.keys.clone())
    }

    /// Fetches the keys; `None` where they do not come or are none.
    pub async fn fetch(&self, worker: &Rc<Worker>, stats: &Group<JwtAuthnStat>) -> Option<Arc<Jwks>> {
        let _turn = self.turn.acquire().await.ok()?;
        if let Some(keys) = self.fresh() {
            return Some(keys);
        }
        let mut request = Request::new(Method::GET, self.authority.clone(), self.path.clone(), MAX_BYTES);
        request.timeout = Some(self.timeout);
        let problem = match call::call(worker, &self.cluster, request).await {
            Ok(response) if response.status == StatusCode::OK => match Jwks::parse(&response.body) {
                Ok(keys) => {
                    stats.inc(JwtAuthnStat::JwksFetchSuccess);
                    let keys = Arc::new(keys);
                    self.kept.store(Some(Arc::new(Kept {
                        keys: keys.clone(),
                        until: Instant::now() + self.cache_duration,
                    })));
                    return Some(keys);
                }
                Err(problem) => problem.to_owned(),
            },
            Ok(response) => format!("the answer is {}", response.status),
            Err(failure) => failure.sentence,
        };
        stats.inc(JwtAuthnStat::JwksFetchFailed);
        tracing::warn!(cluster = &*self.cluster, "a JWKS could not be fetched: {problem}");
        None
    }
}
