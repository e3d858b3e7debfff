//! SPIFFE identity and TLS for Pillion: who a workload is, whom it believes, and byte streams between the two.
//!
//! Material ([`Identity`], [`TrustBundle`]) is parsed once and put into immutable contexts ([`ServerContext`],
//! [`ClientContext`]), which make [`TlsStream`]s. Rotation is a new context: the next handshake uses it, streams of the
//! old one live on, and sessions of the old one cannot be resumed. Semantics follow Envoy's
//! `extensions.transport_sockets.tls.v3`; rustls shows nowhere in the interface.

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
