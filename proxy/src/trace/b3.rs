//! B3, Zipkin's propagation: several `x-b3-*` headers, or one `b3` with all of it. A request that came with the one is
//! answered with the one.

use http::{HeaderMap, HeaderName, HeaderValue};

use super::context::{SpanContext, Text, hex};

const SINGLE: HeaderName = HeaderName::from_static("b3");
const TRACE_ID: HeaderName = HeaderName::from_static("x-b3-traceid");
const SPAN_ID: HeaderName = HeaderName::from_static("x-b3-spanid");
const PARENT_SPAN_ID: HeaderName = HeaderName::from_static("x-b3-parentspanid");
const SAMPLED: HeaderName = HeaderName::from_static("x-b3-sampled");

/// What a request tells of its trace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Told {
    /// It told so in one header.
    pub single: bool,
    /// Whether the trace is sampled, where it says.
    pub sampled: Option<bool>,
    pub context: Context,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Context {
    Nothing,
    /// The span of the caller; what it says of sampling is for the caller of [`extract`] to decide.
    Span(SpanContext),
    Malformed,
}

pub fn extract(headers: &HeaderMap) -> Told {
    if let Some(b3) = headers.get(SINGLE) {
        let b3 = b3.as_bytes();
        return Told {
            single: true,
            sampled: single_sampled(b3),
            context: single(b3),
        };
    }
    let sampled = headers.get(SAMPLED).map(|v| matches!(v.as_bytes(), b"1" | b"true"));
    Told {
        single: false,
        sampled,
        context: match (headers.get(TRACE_ID), headers.get(SPAN_ID)) {
            (Some(trace), Some(span)) => {
                let parent = headers.get(PARENT_SPAN_ID).map_or(&b""[..], HeaderValue::as_bytes);
                multi(trace.as_bytes(), span.as_bytes(), parent).map_or(Context::Malformed, Context::Span)
            }
            _ => Context::Nothing,
        },
    }
}

/// Digits of an id, and of a trace id of 128 bits.
const ID: usize = 16;
const LONG_ID: usize = 2 * ID;

fn multi(trace: &[u8], span: &[u8], parent: &[u8]) -> Option<SpanContext> {
    let (trace_high, trace_low) = match trace.split_at_checked(ID) {
        Some((high, low)) if low.len() == ID => (hex(high)?, hex(low)?),
        _ => (0, hex(trace)?),
    };
    Some(SpanContext {
        trace_high,
        trace_low,
        span: hex(span)?,
        parent: if parent.is_empty() { 0 } else { hex(parent)? },
        sampled: false,
    })
}

/// `{trace}-{span}[-{sampled}[-{parent}]]`, or the sampling alone.
fn single(b3: &[u8]) -> Context {
    if let [flag] = b3 {
        return match flag_says(*flag) {
            Some(_) => Context::Nothing,
            None => Context::Malformed,
        };
    }
    whole(b3).map_or(Context::Malformed, Context::Span)
}

fn whole(b3: &[u8]) -> Option<SpanContext> {
    let long = b3.get(LONG_ID) == Some(&b'-');
    let (trace, rest) = b3.split_at_checked(if long { LONG_ID } else { ID })?;
    let (span, rest) = rest.strip_prefix(b"-")?.split_at_checked(ID)?;
    let parent = match rest {
        [] => &[][..],
        [b'-', flag, rest @ ..] => {
            flag_says(*flag)?;
            match rest {
                [] => &[][..],
                [b'-', parent @ ..] if parent.len() == ID => parent,
                _ => return None,
            }
        }
        _ => return None,
    };
    multi(trace, span, parent)
}

/// By its length alone Envoy knows where to look.
fn single_sampled(b3: &[u8]) -> Option<bool> {
    const SHORT: usize = ID + 1 + ID + 2;
    const LONG: usize = LONG_ID + 1 + ID + 2;
    const SHORT_WITH_PARENT: usize = SHORT + 1 + ID;
    const LONG_WITH_PARENT: usize = LONG + 1 + ID;
    let at = match b3.len() {
        1 => 0,
        SHORT | SHORT_WITH_PARENT => SHORT - 1,
        LONG | LONG_WITH_PARENT => LONG - 1,
        _ => return None,
    };
    flag_says(b3[at])
}

/// `d` asks for debugging, which is sampling too.
fn flag_says(flag: u8) -> Option<bool> {
    match flag {
        b'1' | b'd' => Some(true),
        b'0' => Some(false),
        _ => None,
    }
}

/// Tells the upstream of `context`, in one header or in several.
pub fn inject(headers: &mut HeaderMap, context: &SpanContext, single: bool) {
    const LONGEST: usize = LONG_ID + 1 + ID + 2 + 1 + ID;
    let id = |number| Text::<ID>::new().hex(number).header();
    if single {
        let text = Text::<LONGEST>::new()
            .trace_id(context)
            .put(b"-")
            .hex(context.span)
            .put(if context.sampled { b"-1" } else { b"-0" });
        let text = match context.parent {
            0 => text,
            parent => text.put(b"-").hex(parent),
        };
        headers.insert(SINGLE, text.header());
        return;
    }
    headers.insert(TRACE_ID, Text::<LONG_ID>::new().trace_id(context).header());
    headers.insert(SPAN_ID, id(context.span));
    if context.parent != 0 {
        headers.insert(PARENT_SPAN_ID, id(context.parent));
    }
    headers.insert(
        SAMPLED,
        HeaderValue::from_static(if context.sampled { "1" } else { "0" }),
    );
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SPAN: SpanContext = SpanContext {
        trace_high: 0x0123_4567_89ab_cdef,
        trace_low: 0xfedc_ba98_7654_3210,
        span: 0xa1,
        parent: 0xb1,
        sampled: false,
    };

    fn headers(fields: &[(&'static str, &'static str)]) -> HeaderMap {
        let field = |(name, value): &(&'static str, &'static str)| {
            (HeaderName::from_static(name), HeaderValue::from_static(value))
        };
        fields.iter().map(field).collect()
    }

    fn told(fields: &[(&'static str, &'static str)]) -> Told {
        extract(&headers(fields))
    }

    #[test]
    fn several_headers() {
        let trace = ("x-b3-traceid", "0123456789abcdeffedcba9876543210");
        let span = ("x-b3-spanid", "00000000000000a1");
        let whole = told(&[trace, span, ("x-b3-parentspanid", "b1"), ("x-b3-sampled", "true")]);
        assert_eq!(whole.context, Context::Span(SPAN));
        assert_eq!(whole.sampled, Some(true));
        assert_eq!(told(&[trace, span]).sampled, None);
        assert_eq!(told(&[("x-b3-sampled", "yes")]).sampled, Some(false));
        assert_eq!(told(&[trace]).context, Context::Nothing);
        assert_eq!(told(&[span]).context, Context::Nothing);
        let short = told(&[
            ("x-b3-traceid", "0xAB"),
            ("x-b3-spanid", "cd"),
            ("x-b3-parentspanid", ""),
        ]);
        let expected = SpanContext {
            trace_high: 0,
            trace_low: 0xab,
            span: 0xcd,
            parent: 0,
            sampled: false,
        };
        assert_eq!(short.context, Context::Span(expected));
        for bad in ["", "zz", "123456789abcdef0123456789abcdef"] {
            assert_eq!(
                told(&[("x-b3-traceid", bad), span]).context,
                Context::Malformed,
                "{bad}"
            );
        }
    }

    #[test]
    fn one_header() {
        let of = |value: &'static str| told(&[("b3", value), ("x-b3-sampled", "1")]);
        let whole = of("0123456789abcdeffedcba9876543210-00000000000000a1-0-00000000000000b1");
        assert_eq!((whole.single, whole.sampled), (true, Some(false)));
        assert_eq!(whole.context, Context::Span(SPAN));
        let short = of("fedcba9876543210-00000000000000a1");
        assert_eq!(short.sampled, None);
        let expected = SpanContext {
            trace_high: 0,
            parent: 0,
            ..SPAN
        };
        assert_eq!(short.context, Context::Span(expected));
        assert_eq!(of("fedcba9876543210-00000000000000a1-d").sampled, Some(true));
        for (flag, says) in [("0", false), ("1", true), ("d", true)] {
            let flag = of(flag);
            assert_eq!((flag.context, flag.sampled), (Context::Nothing, Some(says)));
        }
        for bad in [
            "",
            "x",
            "xyz",
            "fedcba9876543210-00000000000000a1-",
            "fedcba9876543210-00000000000000a1-2",
            "fedcba9876543210-00000000000000a1-1-b1",
            "fedcba9876543210-00000000000000b1-00000000000000a1",
            "fedcba9876543210:00000000000000a1",
            "0123456789abcdeffedcba9876543210-00000000000000a1-1-00000000000000b1-",
        ] {
            assert_eq!(of(bad).context, Context::Malformed, "{bad}");
        }
    }

    #[test]
    fn contexts_are_written_in_either_way() {
        let mut one = HeaderMap::new();
        inject(&mut one, &SPAN, true);
        assert_eq!(
            one["b3"],
            "0123456789abcdeffedcba9876543210-00000000000000a1-0-00000000000000b1"
        );
        let mut several = HeaderMap::new();
        let first = SpanContext {
            trace_high: 0,
            parent: 0,
            sampled: true,
            ..SPAN
        };
        inject(&mut several, &first, false);
        let expected = headers(&[
            ("x-b3-traceid", "fedcba9876543210"),
            ("x-b3-spanid", "00000000000000a1"),
            ("x-b3-sampled", "1"),
        ]);
        assert_eq!(several, expected);
    }

    proptest! {
        #[test]
        fn whatever_comes_is_taken(name in 0..5_usize, bytes in proptest::collection::vec(0x20_u8..0x7f, 0..80)) {
            let names = [SINGLE, TRACE_ID, SPAN_ID, PARENT_SPAN_ID, SAMPLED];
            let mut headers = headers(&[("x-b3-traceid", "1"), ("x-b3-spanid", "1")]);
            headers.insert(&names[name], HeaderValue::from_bytes(&bytes).unwrap());
            extract(&headers);
        }

        #[test]
        fn what_is_written_is_read(
            (trace_high, trace_low, span, parent) in any::<(u64, u64, u64, u64)>(),
            sampled: bool,
            single: bool,
        ) {
            let context = SpanContext { trace_high, trace_low, span, parent, sampled };
            let mut headers = HeaderMap::new();
            inject(&mut headers, &context, single);
            let told = extract(&headers);
            prop_assert_eq!((told.single, told.sampled), (single, Some(sampled)));
            prop_assert_eq!(told.context, Context::Span(SpanContext { sampled: false, ..context }));
        }
    }
}
