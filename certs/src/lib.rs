//! SPIFFE identity and TLS for Pillion: who a workload is, whom it believes, and byte streams between the two.
//!
//! Material ([`Identity`], [`TrustBundle`]) is parsed once and put into immutable contexts ([`ServerContext`],
//! [`ClientContext`]), which make [`TlsStream`]s. Rotation is a new context: the next handshake uses it, streams of the
//! old one live on, and sessions of the old one cannot be resumed. Semantics follow Envoy's
//! `extensions.transport_sockets.tls.v3`; rustls shows nowhere in the interface.
//!
//! ```
//! use std::{sync::Arc, time::Duration};
//! use certs::{ClientContext, ClientSettings, ConnectOptions, ServerContext, ServerSettings, SpiffeId, Trust, Validation};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let ca = certs::ca::CertificateAuthority::root("example")?;
//! let svid = |id| ca.issue_svid(&SpiffeId::parse(id).unwrap(), Duration::from_secs(3600)).unwrap().identity().unwrap();
//! let trust = Some(Trust::Bundle(Arc::new(ca.bundle()?)));
//! let validation = Some(Arc::new(Validation { trust, ..Validation::default() }));
//! let server = ServerContext::new(ServerSettings {
//!     validation: validation.clone(),
//!     require_client_certificate: true,
//!     ..ServerSettings::new(vec![svid("spiffe://example.org/api")])
//! })?;
//! let client = ClientContext::new(ClientSettings {
//!     identity: Some(svid("spiffe://example.org/web")),
//!     validation,
//!     ..ClientSettings::new()
//! })?;
//! let (near, far) = tokio::io::duplex(4096);
//! let (near, far) = tokio::join!(client.connect(near, ConnectOptions::default()), server.accept(far));
//! assert_eq!(near?.peer().unwrap().certificate.display_name(), "spiffe://example.org/api");
//! assert_eq!(far?.peer().unwrap().certificate.display_name(), "spiffe://example.org/web");
//! # Ok(())
//! # }
//! ```

pub mod ca;
pub mod certificate;
pub mod client_hello;
mod error;
mod identity;
pub mod pem;
pub mod source;
mod spiffe_id;
mod tls;
mod trust_bundle;
pub mod validation;

pub use certificate::{CertificateInfo, SubjectAltName};
pub use error::{Alert, FailureStat, HandshakeError};
pub use identity::Identity;
pub use pem::MaterialError;
pub use spiffe_id::{SpiffeId, SpiffeIdError, TrustDomain};
pub use tls::client::{ClientContext, ClientSettings, ConnectOptions};
pub use tls::params::{ParamsError, SkippedName, TlsParams, TlsVersion};
pub use tls::peer::PeerInfo;
pub use tls::server::{ContextError, ServerContext, ServerResumption, ServerSettings};
pub use tls::stream::TlsStream;
pub use tls::tickets::TICKET_KEY_LENGTH;
pub use trust_bundle::{Trust, TrustBundle};
pub use validation::revocation::RevocationLists;
pub use validation::san::{RegexError, SanKind, SanMatcher, StringMatcher};
pub use validation::{PeerRole, PinError, Pins, Validation, VerifyError};
