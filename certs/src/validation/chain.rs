//! Path building from a leaf to a trust anchor, by webpki, with OpenSSL's answers where webpki is stricter or laxer.

use std::time::{Duration, SystemTime};

use rustls_pki_types::UnixTime;
use webpki::{
    EndEntityCert, ExpirationPolicy, KeyUsage, RevocationCheckDepth, RevocationOptions, RevocationOptionsBuilder,
    UnknownStatusPolicy,
};

use super::{PeerRole, Presented, Validation, VerifyError};
use crate::certificate::CertificateInfo;
use crate::tls::params;
use crate::trust_bundle::TrustBundle;

/// One chain to be verified against one bundle.
pub(super) struct Chain<'a> {
    pub(super) validation: &'a Validation,
    pub(super) role: PeerRole,
    pub(super) presented: Presented<'a>,
    pub(super) bundle: &'a TrustBundle,
}

impl Chain<'_> {
    pub(super) fn verify(&self, now: SystemTime) -> Result<(), VerifyError> {
        // A self-signed leaf in the bundle: webpki would refuse it for being a CA or for not being one.
        if self.bundle.contains(&self.presented.info.sha256) {
            return self.check_times(self.presented.info, now);
        }
        match self.path(now) {
            Err(webpki::Error::CertNotValidYet { .. }) if !self.validation.not_before_tolerance.is_zero() => {
                self.path(now + self.validation.not_before_tolerance)
            }
            Err(webpki::Error::CertExpired { .. } | webpki::Error::CertNotValidYet { .. })
                if self.validation.allow_expired =>
            {
                self.path_at_any_time()
            }
            outcome => outcome,
        }
        .map_err(|error| self.explain(error, now))?
    }

    /// Verifies as of `now`: outside, what webpki says; inside, what it does not look at.
    fn path(&self, now: SystemTime) -> Result<Result<(), VerifyError>, webpki::Error> {
        let leaf = EndEntityCert::try_from(self.presented.leaf)?;
        let usage = match self.role {
            PeerRole::Client => KeyUsage::client_auth(),
            PeerRole::Server => KeyUsage::server_auth(),
        };
        let lists: Vec<_> = self
            .validation
            .revocation
            .iter()
            .flat_map(|revocation| &revocation.lists)
            .collect();
        let path = leaf.verify_for_usage(
            params::provider().signature_verification_algorithms.all,
            &self.bundle.anchors,
            self.presented.intermediates,
            unix_time(now),
            usage,
            self.revocation_options(&lists),
            None,
        )?;
        let depth = path.intermediate_certificates().count() as u64;
        if let Some(allowed) = self.validation.max_verify_depth
            && depth > u64::from(allowed)
        {
            return Ok(Err(self.unacceptable(format!(
                "its chain has {depth} intermediates, max_verify_depth allows {allowed}"
            ))));
        }
        // webpki takes anchors for timeless; OpenSSL, and so Envoy, refuses an expired root.
        let roots: Vec<_> = self.bundle.behind(path.anchor()).collect();
        let first = roots
            .iter()
            .map(|root| self.check_times(root, now))
            .reduce(|a, b| if a.is_ok() { a } else { b });
        Ok(first.unwrap_or(Ok(())))
    }

    /// webpki cannot leave times out, so tries the moments at which the chain would have been valid.
    fn path_at_any_time(&self) -> Result<Result<(), VerifyError>, webpki::Error> {
        let infos: Vec<_> = self
            .presented
            .intermediates
            .iter()
            .filter_map(|der| CertificateInfo::from_der(der).ok())
            .collect();
        let all = || std::iter::once(self.presented.info).chain(&infos);
        let moments = all()
            .map(|info| info.not_before)
            .chain(all().map(|info| info.not_after));
        let mut last = Err(webpki::Error::UnknownIssuer);
        for moment in moments {
            last = self.path(moment);
            if last.is_ok() {
                break;
            }
        }
        last
    }

    fn revocation_options<'b>(&self, lists: &'b [&'b webpki::CertRevocationList<'b>]) -> Option<RevocationOptions<'b>> {
        let leaf_only = self.validation.revocation.as_ref()?.leaf_only;
        let depth = if leaf_only {
            RevocationCheckDepth::EndEntity
        } else {
            RevocationCheckDepth::Chain
        };
        let builder = RevocationOptionsBuilder::new(lists).ok()?;
        Some(
            builder
                .with_depth(depth)
                .with_status_policy(UnknownStatusPolicy::Deny)
                .with_expiration_policy(ExpirationPolicy::Enforce)
                .build(),
        )
    }

    fn check_times(&self, info: &CertificateInfo, now: SystemTime) -> Result<(), VerifyError> {
        let subject = || info.display_name();
        if self.validation.allow_expired || info.is_valid_at(now) {
            Ok(())
        } else if now > info.not_after {
            Err(VerifyError::Expired {
                subject: subject(),
                not_after: info.not_after,
                now,
            })
        } else if now + self.validation.not_before_tolerance >= info.not_before {
            Ok(())
        } else {
            Err(VerifyError::NotYetValid {
                subject: subject(),
                not_before: info.not_before,
                now,
            })
        }
    }

    fn explain(&self, error: webpki::Error, now: SystemTime) -> VerifyError {
        let subject = self.presented.info.display_name();
        // The first certificate with a wrong time, leaf first: webpki does not say which one it was.
        let outside = || {
            let issuers = self
                .presented
                .intermediates
                .iter()
                .filter_map(|der| CertificateInfo::from_der(der).ok());
            let mut chain = std::iter::once(self.presented.info.clone()).chain(issuers);
            chain.find_map(|info| self.check_times(&info, now).err())
        };
        match error {
            webpki::Error::CertExpired { .. } | webpki::Error::CertNotValidYet { .. } => {
                outside().unwrap_or_else(|| self.unacceptable(error.to_string()))
            }
            webpki::Error::UnknownIssuer => VerifyError::UnknownIssuer {
                subject,
                issuer: self.presented.info.issuer.clone(),
                trusted: self
                    .bundle
                    .certificates()
                    .iter()
                    .map(|info| info.subject.clone())
                    .collect(),
            },
            webpki::Error::CertRevoked => VerifyError::Revoked {
                subject,
                serial: self.presented.info.serial.clone(),
            },
            webpki::Error::UnknownRevocationStatus => VerifyError::RevocationUnknown {
                subject,
                reason: "no list of its issuer is configured (each CA of the chain needs one)".into(),
            },
            webpki::Error::CrlExpired { next_update, .. } => VerifyError::RevocationUnknown {
                subject,
                reason: format!(
                    "its issuer's list had to be renewed by {}",
                    crate::certificate::format_time(
                        SystemTime::UNIX_EPOCH + Duration::from_secs(next_update.as_secs())
                    )
                ),
            },
            webpki::Error::CaUsedAsEndEntity => self
                .unacceptable("it is a CA certificate (basicConstraints CA:TRUE), which cannot identify a peer".into()),
            webpki::Error::UnsupportedCertVersion => self.unacceptable("it is not X.509 version 3".into()),
            other => self.unacceptable(other.to_string()),
        }
    }

    fn unacceptable(&self, reason: String) -> VerifyError {
        VerifyError::Unacceptable {
            subject: self.presented.info.display_name(),
            reason,
        }
    }
}

fn unix_time(time: SystemTime) -> UnixTime {
    UnixTime::since_unix_epoch(time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default())
}
