//! W3C Trace Context: `traceparent` and `tracestate`, as Envoy reads and writes them.

use http::{HeaderMap, HeaderName};

use super::context::{SpanContext, Text, hex};

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
pub const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// Version, trace, span and flags, with hyphens between.
const LENGTH: usize = 2 + 1 + 32 + 1 + 16 + 1 + 2;

/// What a request tells of its trace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Told {
    Nothing,
    /// The span of the caller.
    Context(SpanContext),
    Malformed,
}

pub fn extract(headers: &HeaderMap) -> Told {
    match headers.get(TRACEPARENT) {
        None => Told::Nothing,
        Some(value) => parse(value.as_bytes()).map_or(Told::Malformed, Told::Context),
    }
}

/// Any version, as long as it looks like the first.
fn parse(value: &[u8]) -> Option<SpanContext> {
    let fields: &[u8; LENGTH] = value.try_into().ok()?;
    let hyphens = [2, 35, 52];
    let well_formed = (0..LENGTH).all(|i| match hyphens.contains(&i) {
        true => fields[i] == b'-',
        false => fields[i].is_ascii_hexdigit(),
    });
    if !well_formed {
        return None;
    }
    const SAMPLED: u64 = 1;
    let context = SpanContext {
        trace_high: hex(&fields[3..19])?,
        trace_low: hex(&fields[19..35])?,
        span: hex(&fields[36..52])?,
        parent: 0,
        sampled: hex(&fields[53..55])? & SAMPLED != 0,
    };
    let zero = context.trace_high == 0 && context.trace_low == 0 || context.span == 0;
    (!zero).then_some(context)
}

/// Tells the upstream of `context`.
pub fn inject(headers: &mut HeaderMap, context: &SpanContext) {
    let value = Text::<LENGTH>::new()
        .put(b"00-")
        .hex(context.trace_high)
        .hex(context.trace_low)
        .put(b"-")
        .hex(context.span)
        .put(if context.sampled { b"-01" } else { b"-00" });
    headers.insert(TRACEPARENT, value.header());
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    fn told(value: &'static str) -> Told {
        extract(&HeaderMap::from_iter([(TRACEPARENT, HeaderValue::from_static(value))]))
    }

    const CONTEXT: SpanContext = SpanContext {
        trace_high: 0x0123_4567_89ab_cdef,
        trace_low: 0xfedc_ba98_7654_3210,
        span: 0xa1,
        parent: 0,
        sampled: true,
    };

    #[test]
    fn contexts_are_read_whatever_version_and_case() {
        assert_eq!(
            told("00-0123456789abcdeffedcba9876543210-00000000000000a1-01"),
            Told::Context(CONTEXT)
        );
        assert_eq!(
            told("01-0123456789ABCDEFFEDCBA9876543210-00000000000000A1-03"),
            Told::Context(CONTEXT)
        );
        let unsampled = SpanContext {
            sampled: false,
            ..CONTEXT
        };
        assert_eq!(
            told("00-0123456789abcdeffedcba9876543210-00000000000000a1-02"),
            Told::Context(unsampled)
        );
    }

    #[test]
    fn what_is_no_context_is_malformed() {
        for bad in [
            "",
            "x",
            "00-0123456789abcdeffedcba9876543210-00000000000000a1-0",
            "00-0123456789abcdeffedcba9876543210-00000000000000a1-011",
            "00_0123456789abcdeffedcba9876543210-00000000000000a1-01",
            "00-0123456789abcdeffedcba987654321g-00000000000000a1-01",
            "00-00000000000000000000000000000000-00000000000000a1-01",
            "00-0123456789abcdeffedcba9876543210-0000000000000000-01",
            "00-0x23456789abcdeffedcba9876543210-00000000000000a1-01",
        ] {
            assert_eq!(told(bad), Told::Malformed, "{bad}");
        }
        assert_eq!(extract(&HeaderMap::new()), Told::Nothing);
    }

    #[test]
    fn contexts_are_written_in_the_first_version() {
        let mut headers = HeaderMap::new();
        let short = SpanContext {
            trace_high: 0,
            sampled: false,
            ..CONTEXT
        };
        inject(&mut headers, &short);
        assert_eq!(
            headers[TRACEPARENT],
            "00-0000000000000000fedcba9876543210-00000000000000a1-00"
        );
    }

    proptest! {
        #[test]
        fn whatever_comes_is_taken(bytes in proptest::collection::vec(0x20_u8..=0xff, 0..60)) {
            if let Ok(value) = HeaderValue::from_bytes(&bytes) {
                extract(&HeaderMap::from_iter([(TRACEPARENT, value)]));
            }
        }

        #[test]
        fn what_is_written_is_read(trace_high: u64, trace_low in 1..u64::MAX, span in 1..u64::MAX, sampled: bool) {
            let context = SpanContext { trace_high, trace_low, span, parent: 0, sampled };
            let mut headers = HeaderMap::new();
            inject(&mut headers, &context);
            prop_assert_eq!(extract(&headers), Told::Context(context));
        }
    }
}
