//! Key sets (JWKS, RFC 7517), and the verification of signatures by them.

use aws_lc_rs::{
    hmac,
    signature::{self, RsaParameters, RsaPublicKeyComponents, UnparsedPublicKey, VerificationAlgorithm},
};
use base64::Engine;
use serde_json::{Map, Value};

use super::{Algorithm, BASE64, Denial, Jwt};

/// The keys of one issuer. Never empty.
#[derive(Debug)]
pub struct Jwks(Vec<Key>);

#[derive(Debug)]
struct Key {
    kid: Option<Box<str>>,
    /// The one algorithm that it is for, where it says so.
    algorithm: Option<Box<str>>,
    material: Material,
}

#[derive(Debug)]
enum Material {
    Rsa {
        n: Vec<u8>,
        e: Vec<u8>,
    },
    /// An uncompressed point.
    Ec {
        curve: Curve,
        point: Vec<u8>,
    },
    Ed25519(Vec<u8>),
    Octets(Vec<u8>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Curve {
    P256,
    P384,
    P521,
}

/// First byte of an uncompressed point (SEC 1, 2.3.3).
const UNCOMPRESSED: u8 = 4;
const ED25519_LEN: usize = 32;

impl Jwks {
    /// Keys that cannot be used are left out.
    ///
    /// # Errors
    /// Envoy's sentence, where no key is left.
    pub fn parse(text: &[u8]) -> Result<Self, &'static str> {
        let set: Map<String, Value> = serde_json::from_slice(text).map_err(|_| "Jwks is an invalid JSON")?;
        let keys = set.get("keys").ok_or("Jwks does not have [keys] field")?;
        let keys = keys.as_array().ok_or("Jwks [keys] field is not a list")?;
        let keys: Vec<_> = keys.iter().filter_map(Key::parse).collect();
        if keys.is_empty() {
            return Err("Jwks doesn't have any valid public key");
        }
        Ok(Self(keys))
    }

    /// # Errors
    /// No key for it, or none by which its signature is right.
    pub fn verify(&self, jwt: &Jwt) -> Result<(), Denial> {
        let mut denial = Denial::NoMatchingKey;
        for key in self.0.iter().filter(|key| key.is_for(jwt)) {
            if key.verifies(jwt) {
                return Ok(());
            }
            denial = Denial::Verification;
        }
        Err(denial)
    }
}

impl Key {
    fn parse(key: &Value) -> Option<Self> {
        let text = |name: &str| key.get(name).and_then(Value::as_str);
        let bytes = |name: &str| BASE64.decode(text(name)?).ok();
        let material = match text("kty")? {
            "RSA" => Material::Rsa {
                n: without_zeros(bytes("n")?),
                e: without_zeros(bytes("e")?),
            },
            "EC" => {
                let curve = match text("crv") {
                    Some("P-256") | None => Curve::P256,
                    Some("P-384") => Curve::P384,
                    Some("P-521") => Curve::P521,
                    Some(_) => return None,
                };
                let mut point = vec![UNCOMPRESSED];
                for name in ["x", "y"] {
                    let coordinate = without_zeros(bytes(name)?);
                    let padding = curve.bytes().checked_sub(coordinate.len())?;
                    point.extend(std::iter::repeat_n(0, padding));
                    point.extend_from_slice(&coordinate);
                }
                Material::Ec { curve, point }
            }
            "OKP" if text("crv") == Some("Ed25519") => {
                Material::Ed25519(bytes("x").filter(|x| x.len() == ED25519_LEN)?)
            }
            "oct" => Material::Octets(bytes("k").filter(|k| !k.is_empty())?),
            _ => return None,
        };
        Some(Self {
            kid: text("kid").map(Box::from),
            algorithm: text("alg").map(Box::from),
            material,
        })
    }

    fn is_for(&self, jwt: &Jwt) -> bool {
        let kid = match (&self.kid, &jwt.kid) {
            (Some(own), Some(wanted)) => own.is_empty() || wanted.is_empty() || own == wanted,
            _ => true,
        };
        kid && self
            .algorithm
            .as_deref()
            .is_none_or(|own| Algorithm::from_name(own) == Some(jwt.algorithm))
    }

    /// The algorithm is the key's matter: a token that names another kind of it is not verified.
    fn verifies(&self, jwt: &Jwt) -> bool {
        use Algorithm::*;
        let message = jwt.signed.as_bytes();
        let by = |algorithm: &'static dyn VerificationAlgorithm, key: &[u8]| {
            UnparsedPublicKey::new(algorithm, key)
                .verify(message, &jwt.signature)
                .is_ok()
        };
        match &self.material {
            Material::Rsa { n, e } => rsa_parameters(jwt.algorithm).is_some_and(|parameters| {
                let key = RsaPublicKeyComponents { n, e };
                key.verify(parameters, message, &jwt.signature).is_ok()
            }),
            Material::Ec { curve, point } => match (curve, jwt.algorithm) {
                (Curve::P256, Es256) => by(&signature::ECDSA_P256_SHA256_FIXED, point),
                (Curve::P384, Es384) => by(&signature::ECDSA_P384_SHA384_FIXED, point),
                (Curve::P521, Es512) => by(&signature::ECDSA_P521_SHA512_FIXED, point),
                _ => false,
            },
            Material::Ed25519(point) => jwt.algorithm == EdDsa && by(&signature::ED25519, point),
            Material::Octets(octets) => {
                let algorithm = match jwt.algorithm {
                    Hs256 => hmac::HMAC_SHA256,
                    Hs384 => hmac::HMAC_SHA384,
                    Hs512 => hmac::HMAC_SHA512,
                    _ => return false,
                };
                hmac::verify(&hmac::Key::new(algorithm, octets), message, &jwt.signature).is_ok()
            }
        }
    }
}

impl Curve {
    /// Of one coordinate.
    fn bytes(self) -> usize {
        match self {
            Self::P256 => 32,
            Self::P384 => 48,
            Self::P521 => 66,
        }
    }
}

fn rsa_parameters(algorithm: Algorithm) -> Option<&'static RsaParameters> {
    use Algorithm::*;
    Some(match algorithm {
        Rs256 => &signature::RSA_PKCS1_2048_8192_SHA256,
        Rs384 => &signature::RSA_PKCS1_2048_8192_SHA384,
        Rs512 => &signature::RSA_PKCS1_2048_8192_SHA512,
        Ps256 => &signature::RSA_PSS_2048_8192_SHA256,
        Ps384 => &signature::RSA_PSS_2048_8192_SHA384,
        Ps512 => &signature::RSA_PSS_2048_8192_SHA512,
        _ => return None,
    })
}

/// Some encoders put zeros before a number, which aws-lc refuses.
fn without_zeros(mut number: Vec<u8>) -> Vec<u8> {
    let zeros = number.iter().take_while(|byte| **byte == 0).count();
    number.drain(..zeros);
    number
}
