//! The little of HTTP/1.1 that the load and the origin need.

use memchr::memmem;

/// The value of `content-length` in a head, whatever the case of its name.
pub fn content_length(head: &[u8]) -> Option<usize> {
    const TAIL: &[u8] = b"ontent-";
    let mut from = 0;
    while let Some(at) = memmem::find(&head[from..], TAIL) {
        let rest = &head[from + at + TAIL.len()..];
        from += at + TAIL.len();
        let (name, value) = rest.split_at_checked(b"length:".len())?;
        if name.eq_ignore_ascii_case(b"length:") {
            let digits = value.trim_ascii_start().iter().take_while(|b| b.is_ascii_digit());
            return Some(digits.fold(0, |n, b| n * 10 + usize::from(b - b'0')));
        }
    }
    None
}
