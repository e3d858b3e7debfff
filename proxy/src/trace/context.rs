//! Where a span stands in its trace, and the digits that tell it.

use http::HeaderValue;

/// Ids of a span and of its trace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SpanContext {
    /// Zero: the trace has 64 bits.
    pub trace_high: u64,
    pub trace_low: u64,
    pub span: u64,
    /// Zero: the span is the first of its trace.
    pub parent: u64,
    pub sampled: bool,
}

/// As `strtoull` reads it: digits of either case, `0x` before them; all of it, and no more than 64 bits.
pub(super) fn hex(digits: &[u8]) -> Option<u64> {
    let digits = match digits {
        [b'0', b'x' | b'X', rest @ ..] if !rest.is_empty() => rest,
        digits => digits,
    };
    if digits.is_empty() {
        return None;
    }
    let mut number: u64 = 0;
    for digit in digits {
        let digit = char::from(*digit).to_digit(16)?;
        number = number.checked_mul(16)? + u64::from(digit);
    }
    Some(number)
}

/// Text of digits and hyphens, in pieces.
pub(super) struct Text<const N: usize> {
    bytes: [u8; N],
    length: usize,
}

impl<const N: usize> Text<N> {
    pub(super) fn new() -> Self {
        Self {
            bytes: [0; N],
            length: 0,
        }
    }

    pub(super) fn put(mut self, text: &[u8]) -> Self {
        self.bytes[self.length..][..text.len()].copy_from_slice(text);
        self.length += text.len();
        self
    }

    /// Sixteen digits.
    pub(super) fn hex(self, number: u64) -> Self {
        self.put(&digits(number))
    }

    /// Sixteen digits, or thirty-two where the trace has 128 bits.
    pub(super) fn trace_id(self, context: &SpanContext) -> Self {
        let high = if context.trace_high == 0 {
            self
        } else {
            self.hex(context.trace_high)
        };
        high.hex(context.trace_low)
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.length]
    }

    pub(super) fn as_str(&self) -> &str {
        std::str::from_utf8(self.as_bytes()).unwrap_or_default()
    }

    pub(super) fn header(&self) -> HeaderValue {
        HeaderValue::from_bytes(self.as_bytes()).unwrap_or(HeaderValue::from_static(""))
    }
}

/// The sixteen digits of a number.
fn digits(number: u64) -> [u8; 16] {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let mut digits = [0; 16];
    for (digits, byte) in digits.chunks_exact_mut(2).zip(number.to_be_bytes()) {
        digits.copy_from_slice(&[HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 0xf)]]);
    }
    digits
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_as_strtoull_reads_them() {
        assert_eq!(hex(b"ab"), Some(0xab));
        assert_eq!(hex(b"0xCD"), Some(0xcd));
        assert_eq!(hex(b"ffffffffffffffff"), Some(u64::MAX));
        for bad in [&b""[..], b"10000000000000000", b"zz", b"1 ", b"-1", b"0x"] {
            assert_eq!(hex(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn digits_are_sixteen() {
        assert_eq!(&digits(0xab), b"00000000000000ab");
        let text = Text::<40>::new().hex(u64::MAX).put(b"-1");
        assert_eq!(text.header(), "ffffffffffffffff-1");
    }
}
