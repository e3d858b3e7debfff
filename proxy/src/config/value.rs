//! Scalars of the API: durations, percentages, enums, header names; each with the bounds that Envoy's API states.

use std::{fmt::Display, time::Duration};

use http::{HeaderName, HeaderValue};
use xds_api::{envoy::r#type::v3 as ty, pb};

use super::{at::At, rejection::Rejection};

/// Longer spans are as good as for ever, and adding them to a clock would overflow (istiod sends 292 years).
const LONGEST: Duration = Duration::from_secs(100 * 365 * 24 * 3600);
/// `google.protobuf.Duration`'s own limit, beyond which Envoy refuses a value.
const MAX_DURATION_SECONDS: i64 = 315_576_000_000;
/// Envoy's limit for header names and values in config, in bytes.
const MAX_HEADER_BYTES: usize = 16_384;
const MILLION: u32 = 1_000_000;

impl At<'_> {
    pub(crate) fn required<'m, T: ?Sized>(
        &self,
        field: &'static str,
        value: Option<&'m T>,
    ) -> Result<&'m T, Rejection> {
        value.ok_or_else(|| self.field(field).reject("is required and not set"))
    }

    pub(crate) fn non_empty<'m>(&self, field: &'static str, value: &'m str) -> Result<&'m str, Rejection> {
        if value.is_empty() {
            return Err(self.field(field).reject("must not be empty"));
        }
        Ok(value)
    }

    pub(crate) fn enumeration<E: TryFrom<i32>>(&self, field: &'static str, value: i32) -> Result<E, Rejection> {
        E::try_from(value).map_err(|_| {
            self.field(field)
                .reject(format_args!("{value} is no value of this enum"))
        })
    }

    pub(crate) fn within<N: PartialOrd + Display + Copy>(
        &self,
        field: &'static str,
        value: Option<N>,
        least: N,
        most: N,
    ) -> Result<Option<N>, Rejection> {
        match value {
            Some(v) if !(least..=most).contains(&v) => Err(self
                .field(field)
                .reject(format_args!("{v} is outside {least} to {most}"))),
            other => Ok(other),
        }
    }

    /// A span of zero or more.
    pub(crate) fn duration(
        &self,
        field: &'static str,
        value: Option<&pb::Duration>,
    ) -> Result<Option<Duration>, Rejection> {
        let Some(value) = value else { return Ok(None) };
        match (u64::try_from(value.seconds), u32::try_from(value.nanos)) {
            (Ok(_), Ok(_)) if value.seconds > MAX_DURATION_SECONDS => Err(self
                .field(field)
                .reject(format_args!("{}s is longer than a duration may be", value.seconds))),
            (Ok(seconds), Ok(nanos)) if nanos < 1_000_000_000 => Ok(Some(Duration::new(seconds, nanos).min(LONGEST))),
            _ => Err(self.field(field).reject(format_args!(
                "{}s {}ns is no duration of zero or more",
                value.seconds, value.nanos
            ))),
        }
    }

    /// A timeout that zero switches off: `None` means never. Unset: `default`.
    pub(crate) fn timeout(
        &self,
        field: &'static str,
        value: Option<&pb::Duration>,
        default: Option<Duration>,
    ) -> Result<Option<Duration>, Rejection> {
        Ok(match self.duration(field, value)? {
            None => default,
            Some(Duration::ZERO) => None,
            some => some,
        })
    }

    /// In millionths; more than the whole counts as the whole, as in Envoy.
    pub(crate) fn millionths(&self, field: &'static str, value: &ty::FractionalPercent) -> Result<u32, Rejection> {
        use ty::fractional_percent::DenominatorType as D;
        let scale = match self.enumeration::<D>(field, value.denominator)? {
            D::Hundred => 10_000,
            D::TenThousand => 100,
            D::Million => 1,
        };
        Ok(value.numerator.saturating_mul(scale).min(MILLION))
    }

    pub(crate) fn header_name(&self, field: &'static str, name: &str) -> Result<HeaderName, Rejection> {
        if name.is_empty() {
            return Err(self.field(field).reject("must not be empty"));
        }
        HeaderName::from_bytes(name.as_bytes())
            .ok()
            .filter(|_| name.len() <= MAX_HEADER_BYTES)
            .ok_or_else(|| self.field(field).reject(format_args!("{name:?} is no header name")))
    }

    pub(crate) fn header_value(&self, field: &'static str, value: &str) -> Result<HeaderValue, Rejection> {
        self.header_text(field, value)?;
        HeaderValue::from_bytes(value.as_bytes())
            .map_err(|_| self.field(field).reject(format_args!("{value:?} is no header value")))
    }

    /// Text that will be part of a header: no NUL, CR or LF, and not too long.
    pub(crate) fn header_text<'m>(&self, field: &'static str, value: &'m str) -> Result<&'m str, Rejection> {
        if value.contains(['\0', '\r', '\n']) || value.len() > MAX_HEADER_BYTES {
            return Err(self.field(field).reject(format_args!(
                "{value:?} cannot stand in a header: no line breaks, at most {MAX_HEADER_BYTES} bytes"
            )));
        }
        Ok(value)
    }

    /// Says, once, that a field is read and has no effect.
    pub(crate) fn not_honoured(&self, field: &'static str, set: bool) {
        if set {
            self.field(field)
                .note("is not honoured yet; what it asks for does not happen");
        }
    }

    /// For what would change which traffic is taken or how it is guarded: better no resource than one without it.
    pub(crate) fn unsupported(&self, field: &'static str, set: bool) -> Result<(), Rejection> {
        if set {
            return Err(self.field(field).reject("is not supported by Pillion; remove it"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Context, at::Scope};

    fn duration(seconds: i64, nanos: i32) -> pb::Duration {
        pb::Duration { seconds, nanos }
    }

    #[test]
    fn durations() {
        let scope = Scope::new("cluster", "c", &Context::for_tests());
        let at = scope.root();
        assert_eq!(at.duration("d", None), Ok(None));
        assert_eq!(
            at.duration("d", Some(&duration(1, 500_000_000))),
            Ok(Some(Duration::from_millis(1500)))
        );
        assert_eq!(at.duration("d", Some(&duration(9_223_372_036, 0))), Ok(Some(LONGEST)));
        assert!(at.duration("d", Some(&duration(MAX_DURATION_SECONDS + 1, 0))).is_err());
        assert!(at.duration("d", Some(&duration(-1, 0))).is_err());
        assert_eq!(at.timeout("d", Some(&duration(0, 0)), Some(LONGEST)), Ok(None));
        assert_eq!(at.timeout("d", None, Some(LONGEST)), Ok(Some(LONGEST)));
    }

    #[test]
    fn fractions_are_millionths() {
        let scope = Scope::new("cluster", "c", &Context::for_tests());
        let at = scope.root();
        let fraction = |numerator, denominator| at.millionths("f", &ty::FractionalPercent { numerator, denominator });
        assert_eq!(fraction(50, 0), Ok(500_000));
        assert_eq!(fraction(1, 1), Ok(100));
        assert_eq!(fraction(7, 2), Ok(7));
        assert_eq!(fraction(u32::MAX, 0), Ok(MILLION));
        assert!(fraction(1, 9).is_err());
    }

    #[test]
    fn header_text_is_checked() {
        let scope = Scope::new("cluster", "c", &Context::for_tests());
        let at = scope.root();
        assert!(at.header_name("h", "x-a").is_ok());
        assert!(at.header_name("h", "x a").is_err());
        assert!(at.header_name("h", "").is_err());
        assert!(at.header_value("h", "a\r\nb").is_err());
        assert_eq!(
            at.within("n", Some(5), 1, 4).unwrap_err().to_string(),
            "cluster \"c\": n: 5 is outside 1 to 4"
        );
    }
}
