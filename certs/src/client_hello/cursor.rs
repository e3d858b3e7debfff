//! TLS presentation language (RFC 8446 section 3) over a slice: every read is checked, none panics.

pub(super) struct Cursor<'a>(&'a [u8]);

impl<'a> Cursor<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn rest(self) -> &'a [u8] {
        self.0
    }

    pub(super) fn skip(&mut self, length: usize) -> Option<Self> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(Self(taken))
    }

    pub(super) fn u8(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    pub(super) fn u16(&mut self) -> Option<u16> {
        let (first, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(u16::from_be_bytes(*first))
    }

    /// A vector with one byte of length.
    pub(super) fn block8(&mut self) -> Option<Self> {
        let length = self.u8()?;
        self.skip(usize::from(length))
    }

    /// A vector with two bytes of length.
    pub(super) fn block16(&mut self) -> Option<Self> {
        let length = self.u16()?;
        self.skip(usize::from(length))
    }

    /// All that is left, as numbers without GREASE (RFC 8701 section 2: both bytes equal, low nibbles ten).
    pub(super) fn u16s(mut self) -> Option<Vec<u16>> {
        let mut numbers = Vec::with_capacity(self.0.len() / size_of::<u16>());
        while !self.is_empty() {
            let number = self.u16()?;
            let [high, low] = number.to_be_bytes();
            if high != low || high & LOW_NIBBLE != GREASE {
                numbers.push(number);
            }
        }
        Some(numbers)
    }
}

const LOW_NIBBLE: u8 = 0x0f;
const GREASE: u8 = 0x0a;
