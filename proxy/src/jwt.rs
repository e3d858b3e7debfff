//! JSON web tokens: what one says, and whether a key set believes it. Pure.
//!
//! [`Jwt`] is a parsed token, `keys` a set of public keys. Sources: RFC 7515, 7517, 7518, 7519, 8037; what is wrong with a
//! token is said in Envoy's words, which clients and dashboards know.

use std::borrow::Cow;

use base64::{
    Engine,
    alphabet::URL_SAFE,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use serde_json::{Map, Value};

pub mod keys;
#[cfg(test)]
mod tests;

pub use keys::Jwks;

/// Why a token is not believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Denial {
    Missing,
    NotYetValid,
    Expired,
    BadFormat,
    HeaderBase64,
    HeaderJson,
    HeaderAlg,
    UnknownAlg,
    HeaderKid,
    PayloadBase64,
    PayloadJson,
    /// A claim of the wrong type, by Envoy's sentence.
    Claim(&'static str),
    SignatureBase64,
    UnknownIssuer,
    Audience,
    Verification,
    NoMatchingKey,
    FetchFailed,
}

impl Denial {
    pub fn text(self) -> &'static str {
        match self {
            Self::Missing => "Jwt is missing",
            Self::NotYetValid => "Jwt not yet valid",
            Self::Expired => "Jwt is expired",
            Self::BadFormat => "Jwt is not in the form of Header.Payload.Signature with two dots and 3 sections",
            Self::HeaderBase64 => "Jwt header is an invalid Base64url encoded",
            Self::HeaderJson => "Jwt header is an invalid JSON",
            Self::HeaderAlg => "Jwt header [alg] field is required and must be a string",
            Self::UnknownAlg => "Jwt header [alg] is not supported",
            Self::HeaderKid => "Jwt header [kid] field is not a string",
            Self::PayloadBase64 => "Jwt payload is an invalid Base64url encoded",
            Self::PayloadJson => "Jwt payload is an invalid JSON",
            Self::Claim(sentence) => sentence,
            Self::SignatureBase64 => "Jwt signature is an invalid Base64url encoded",
            Self::UnknownIssuer => "Jwt issuer is not configured",
            Self::Audience => "Audiences in Jwt are not allowed",
            Self::Verification => "Jwt verification fails",
            Self::NoMatchingKey => "Jwks doesn't have key to match kid or alg from Jwt",
            Self::FetchFailed => "Jwks remote fetch is failed",
        }
    }
}

/// How a token is signed: what its header may name, and nothing else (RFC 8725, 3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Algorithm {
    Rs256,
    Rs384,
    Rs512,
    Ps256,
    Ps384,
    Ps512,
    Es256,
    Es384,
    Es512,
    Hs256,
    Hs384,
    Hs512,
    EdDsa,
}

impl Algorithm {
    const NAMES: [(&'static str, Self); 13] = [
        ("RS256", Self::Rs256),
        ("RS384", Self::Rs384),
        ("RS512", Self::Rs512),
        ("PS256", Self::Ps256),
        ("PS384", Self::Ps384),
        ("PS512", Self::Ps512),
        ("ES256", Self::Es256),
        ("ES384", Self::Es384),
        ("ES512", Self::Es512),
        ("HS256", Self::Hs256),
        ("HS384", Self::Hs384),
        ("HS512", Self::Hs512),
        ("EdDSA", Self::EdDsa),
    ];

    pub fn from_name(name: &str) -> Option<Self> {
        Self::NAMES
            .iter()
            .find(|(known, _)| *known == name)
            .map(|(_, alg)| *alg)
    }
}

/// A token, parsed and not yet believed.
#[derive(Debug)]
pub struct Jwt {
    pub header: Map<String, Value>,
    pub payload: Map<String, Value>,
    /// As it stands in the token.
    pub payload_base64: Box<str>,
    pub algorithm: Algorithm,
    pub kid: Option<Box<str>>,
    pub issuer: Box<str>,
    pub subject: Box<str>,
    pub audiences: Vec<Box<str>>,
    /// Seconds since 1970; `None` where the token does not say.
    pub issued_at: Option<u64>,
    pub not_before: Option<u64>,
    pub expires: Option<u64>,
    /// Header and payload with the dot between them: what is signed.
    signed: Box<str>,
    signature: Vec<u8>,
}

/// URL-safe, with padding or without, and whatever the bits are that no byte takes: as Envoy's decoder.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &URL_SAFE,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

impl Jwt {
    /// # Errors
    /// What is malformed.
    pub fn parse(token: &str) -> Result<Self, Denial> {
        let (signed, signature) = token.rsplit_once('.').ok_or(Denial::BadFormat)?;
        let (header64, payload64) = signed.split_once('.').ok_or(Denial::BadFormat)?;
        if payload64.contains('.') {
            return Err(Denial::BadFormat);
        }
        let header = BASE64.decode(header64).map_err(|_| Denial::HeaderBase64)?;
        let header: Map<String, Value> = serde_json::from_slice(&header).map_err(|_| Denial::HeaderJson)?;
        let algorithm = header.get("alg").and_then(Value::as_str).ok_or(Denial::HeaderAlg)?;
        let algorithm = Algorithm::from_name(algorithm).ok_or(Denial::UnknownAlg)?;
        let kid = match header.get("kid") {
            None => None,
            Some(Value::String(kid)) => Some(kid.as_str().into()),
            Some(_) => return Err(Denial::HeaderKid),
        };
        let payload = BASE64.decode(payload64).map_err(|_| Denial::PayloadBase64)?;
        let payload: Map<String, Value> = serde_json::from_slice(&payload).map_err(|_| Denial::PayloadJson)?;
        let claims = Claims(&payload);
        let issuer = claims.text("iss", "Jwt payload [iss] field is not a string")?;
        let subject = claims.text("sub", "Jwt payload [sub] field is not a string")?;
        let issued_at = claims.moment(
            "iat",
            [
                "Jwt payload [iat] field is not an integer",
                "Jwt payload [iat] field is not a positive 64 bit integer",
            ],
        )?;
        let not_before = claims.moment(
            "nbf",
            [
                "Jwt payload [nbf] field is not an integer",
                "Jwt payload [nbf] field is not a positive 64 bit integer",
            ],
        )?;
        let expires = claims.moment(
            "exp",
            [
                "Jwt payload [exp] field is not an integer",
                "Jwt payload [exp] field is not a positive 64 bit integer",
            ],
        )?;
        claims.text("jti", "Jwt payload [jti] field is not a string")?;
        let audiences = claims.audiences()?;
        let signature = BASE64.decode(signature).map_err(|_| Denial::SignatureBase64)?;
        Ok(Self {
            payload_base64: payload64.into(),
            algorithm,
            kid,
            issuer,
            subject,
            audiences,
            issued_at,
            not_before,
            expires,
            signed: signed.into(),
            signature,
            header,
            payload,
        })
    }

    /// `now` and `skew` in seconds.
    ///
    /// # Errors
    /// Not yet, or no longer.
    pub fn check_time(&self, now: u64, skew: u64) -> Result<(), Denial> {
        if self.not_before.is_some_and(|from| now.saturating_add(skew) < from) {
            return Err(Denial::NotYetValid);
        }
        // Envoy takes an `exp` of 0 for none.
        let expires = self.expires.filter(|at| *at != 0);
        match expires {
            Some(at) if now > at.saturating_add(skew) => Err(Denial::Expired),
            _ => Ok(()),
        }
    }

    /// The claim at a path of names divided by dots, as text for a header.
    pub fn claim_text(&self, path: impl Iterator<Item = impl AsRef<str>>) -> Option<Cow<'_, str>> {
        let mut at = None::<&Value>;
        for name in path {
            at = Some(match at {
                None => self.payload.get(name.as_ref())?,
                Some(inner) => inner.get(name.as_ref())?,
            });
        }
        match at? {
            Value::String(text) => Some(Cow::Borrowed(text)),
            Value::Bool(is) => Some(Cow::Borrowed(if *is { "true" } else { "false" })),
            Value::Number(number) => Some(Cow::Owned(number_text(number))),
            Value::Null => None,
            composed => Some(Cow::Owned(
                base64::prelude::BASE64_STANDARD.encode(composed.to_string()),
            )),
        }
    }
}

/// Whole numbers as such, others with six digits, as C++'s `to_string` writes them.
fn number_text(number: &serde_json::Number) -> String {
    match (number.as_u64(), number.as_f64()) {
        (Some(whole), _) => whole.to_string(),
        (None, Some(n)) if n >= 0.0 && n.fract() == 0.0 && n < u64::MAX as f64 => (n as u64).to_string(),
        (None, n) => format!("{:.6}", n.unwrap_or_default()),
    }
}

/// The registered claims (RFC 7519, 4.1) by their types.
struct Claims<'a>(&'a Map<String, Value>);

impl Claims<'_> {
    fn text(&self, name: &str, wrong: &'static str) -> Result<Box<str>, Denial> {
        match self.0.get(name) {
            None => Ok("".into()),
            Some(Value::String(text)) => Ok(text.as_str().into()),
            Some(_) => Err(Denial::Claim(wrong)),
        }
    }

    fn moment(&self, name: &str, [no_number, no_whole]: [&'static str; 2]) -> Result<Option<u64>, Denial> {
        match self.0.get(name) {
            None => Ok(None),
            Some(Value::Number(number)) => {
                let whole = number.as_f64().filter(|n| *n >= 0.0 && *n < u64::MAX as f64);
                let seconds = number.as_u64().or(whole.map(|n| n as u64));
                seconds.map(Some).ok_or(Denial::Claim(no_whole))
            }
            Some(_) => Err(Denial::Claim(no_number)),
        }
    }

    fn audiences(&self) -> Result<Vec<Box<str>>, Denial> {
        const WRONG: Denial = Denial::Claim("Jwt payload [aud] field is not a string or string list");
        match self.0.get("aud") {
            None => Ok(Vec::new()),
            Some(Value::String(one)) => Ok(vec![one.as_str().into()]),
            Some(Value::Array(several)) => {
                let texts = several.iter().map(|one| one.as_str().map(Box::from).ok_or(WRONG));
                texts.collect()
            }
            Some(_) => Err(WRONG),
        }
    }
}
