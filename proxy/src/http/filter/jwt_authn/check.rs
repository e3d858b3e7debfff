//! Whether a request's tokens meet a requirement. Pure: what is to be done for good tokens is told, not done.

use std::sync::Arc;

use super::{
    Audiences, Keys, Provider, Requirement,
    extract::{self, Place, Token},
};
use crate::{
    http::message::RequestHead,
    jwt::{Denial, Jwks, Jwt},
    matcher::StringMatcher,
};

/// Keys that came while the request waited; `None`: they did not come.
#[derive(Debug)]
pub(super) struct Fetched {
    pub(super) provider: usize,
    pub(super) keys: Option<Arc<Jwks>>,
}

/// A provider's keys must be fetched before there is a decision.
#[derive(Debug)]
pub(super) struct NeedsKeys {
    pub(super) provider: usize,
}

#[derive(Debug)]
pub(super) struct Outcome {
    pub(super) verdict: Result<(), Denial>,
    /// Good tokens, in the order in which they were found good.
    pub(super) accepted: Vec<Accepted>,
    /// Providers that were looked at: what only they may tell the upstream must not come from the client.
    pub(super) sanitized: Vec<usize>,
    /// (provider, why its token is no good).
    pub(super) failed: Vec<(usize, Denial)>,
    /// Tokens of providers that were named, which Envoy would look for in a cache.
    pub(super) verifications: u64,
}

#[derive(Debug)]
pub(super) struct Accepted {
    pub(super) provider: usize,
    pub(super) jwt: Jwt,
    pub(super) place: Place,
}

pub(super) struct Check<'a> {
    providers: &'a [Arc<Provider>],
    request: &'a RequestHead,
    /// Seconds since 1970.
    now: u64,
    fetched: &'a [Fetched],
    outcome: Outcome,
}

/// A token's status, or keys are needed.
type Checked = Result<Result<(), Denial>, NeedsKeys>;

impl<'a> Check<'a> {
    pub(super) fn new(
        providers: &'a [Arc<Provider>],
        request: &'a RequestHead,
        now: u64,
        fetched: &'a [Fetched],
    ) -> Self {
        Self {
            providers,
            request,
            now,
            fetched,
            outcome: Outcome {
                verdict: Ok(()),
                accepted: Vec::new(),
                sanitized: Vec::new(),
                failed: Vec::new(),
                verifications: 0,
            },
        }
    }

    pub(super) fn run(mut self, requirement: &Requirement) -> Result<Outcome, NeedsKeys> {
        self.outcome.verdict = self.meets(requirement)?;
        Ok(self.outcome)
    }

    fn meets(&mut self, requirement: &Requirement) -> Checked {
        match requirement {
            Requirement::None => Ok(Ok(())),
            Requirement::Provider { provider, audiences } => {
                let tokens = self.tokens(&[*provider]);
                let mut status = Err(Denial::Missing);
                for (token, _) in tokens {
                    status = self.token(&token, *provider, audiences.as_ref())?;
                    // All must be good: an upstream might look at the other one.
                    if status.is_err() {
                        break;
                    }
                }
                if let Err(denial) = status {
                    self.outcome.failed.push((*provider, denial));
                }
                Ok(status)
            }
            Requirement::Any(several) => {
                let mut told = None;
                for one in several {
                    match self.meets(one)? {
                        Ok(()) => return Ok(Ok(())),
                        // Of a token that is there and known to somebody there is more to tell.
                        Err(vague @ (Denial::Missing | Denial::UnknownIssuer)) => {
                            told = match told {
                                None | Some(Denial::Missing | Denial::UnknownIssuer) => Some(vague),
                                telling => telling,
                            }
                        }
                        Err(telling) => told = Some(telling),
                    }
                }
                Ok(told.map_or(Ok(()), Err))
            }
            Requirement::All(several) => {
                for one in several {
                    let status = self.meets(one)?;
                    if status.is_err() {
                        return Ok(status);
                    }
                }
                Ok(Ok(()))
            }
            Requirement::AllowMissing(providers) => {
                let mut status = Ok(());
                for (token, named) in self.tokens(providers) {
                    status = self.issued_token(&token, &named)?;
                }
                Ok(status)
            }
            Requirement::AllowMissingOrFailed(providers) => {
                for (token, named) in self.tokens(providers) {
                    // Only a good one has consequences.
                    let _ = self.issued_token(&token, &named)?;
                }
                Ok(Ok(()))
            }
        }
    }

    /// Envoy looks at the last one first.
    fn tokens(&mut self, providers: &[usize]) -> Vec<(Token<'a>, Vec<usize>)> {
        self.outcome.sanitized.extend_from_slice(providers);
        let named: Vec<_> = providers.iter().map(|i| (*i, &*self.providers[*i])).collect();
        let mut tokens = extract::tokens(&named, self.request);
        tokens.reverse();
        tokens
    }

    /// A token whose provider is told by its issuer.
    fn issued_token(&mut self, token: &Token<'_>, named: &[usize]) -> Checked {
        let jwt = match Jwt::parse(&token.text) {
            Ok(jwt) => jwt,
            Err(denial) => return Ok(Err(denial)),
        };
        let of_issuer = |issuer: &str| named.iter().copied().find(|i| *self.providers[*i].issuer == *issuer);
        match of_issuer(&jwt.issuer).or_else(|| of_issuer("")) {
            Some(provider) => self.parsed(jwt, token, provider, None),
            None => Ok(Err(Denial::UnknownIssuer)),
        }
    }

    fn token(&mut self, token: &Token<'_>, provider: usize, audiences: Option<&Audiences>) -> Checked {
        self.outcome.verifications += 1;
        match Jwt::parse(&token.text) {
            Ok(jwt) => self.parsed(jwt, token, provider, audiences),
            Err(denial) => Ok(Err(denial)),
        }
    }

    fn parsed(&mut self, jwt: Jwt, token: &Token<'_>, index: usize, audiences: Option<&Audiences>) -> Checked {
        let provider = &*self.providers[index];
        if let Err(denial) = provider.allows(&jwt, self.now, audiences) {
            return Ok(Err(denial));
        }
        let verified = match self.keys(index)? {
            Ok(keys) => keys.verify(&jwt),
            Err(denial) => Err(denial),
        };
        if verified.is_ok() {
            self.outcome.accepted.push(Accepted {
                provider: index,
                jwt,
                place: token.place.clone(),
            });
        }
        Ok(verified)
    }

    fn keys(&self, index: usize) -> Result<Result<Arc<Jwks>, Denial>, NeedsKeys> {
        if let Some(fetched) = self.fetched.iter().find(|fetched| fetched.provider == index) {
            return Ok(fetched.keys.clone().ok_or(Denial::FetchFailed));
        }
        match &self.providers[index].keys {
            Keys::Local(keys) => Ok(Ok(keys.clone())),
            Keys::Remote(remote) => remote.fresh().map(Ok).ok_or(NeedsKeys { provider: index }),
        }
    }
}

impl Provider {
    /// All but the signature, which costs most.
    fn allows(&self, jwt: &Jwt, now: u64, audiences: Option<&Audiences>) -> Result<(), Denial> {
        if !self.issuer.is_empty() && self.issuer != jwt.issuer {
            return Err(Denial::UnknownIssuer);
        }
        let subject = |wanted: &StringMatcher| wanted.matches(jwt.subject.as_bytes());
        if !self.subjects.as_ref().is_none_or(subject) {
            return Err(Denial::Verification);
        }
        let expires = jwt.expires.filter(|at| *at != 0);
        if self.require_expiration && expires.is_none() {
            return Err(Denial::Verification);
        }
        if let Some(longest) = self.max_lifetime {
            // Without an `iat` the lifetime begins when it is looked at.
            let from = jwt.issued_at.or(jwt.not_before).unwrap_or(now);
            if expires.is_none_or(|at| at > from.saturating_add(longest.as_secs())) {
                return Err(Denial::Verification);
            }
        }
        jwt.check_time(now, self.clock_skew)?;
        match audiences.unwrap_or(&self.audiences).allow(&jwt.audiences) {
            true => Ok(()),
            false => Err(Denial::Audience),
        }
    }
}
