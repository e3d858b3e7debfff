//! Numbers as header values: milliseconds of timeouts, which are a route's, and of answers, which are small.

use std::cell::RefCell;

use http::HeaderValue;

/// Values kept per worker; a number has its place by its last digits.
const SLOTS: usize = 16;

thread_local! {
    static KEPT: RefCell<[Option<(u64, HeaderValue)>; SLOTS]> = const { RefCell::new([const { None }; SLOTS]) };
}

/// Lets go of the values that the calling thread keeps.
pub fn forget() {
    KEPT.set([const { None }; SLOTS]);
}

/// `n` in decimal digits. Formatted, and its two allocations made, only where its place holds another number.
pub fn value(n: u64) -> HeaderValue {
    KEPT.with_borrow_mut(|kept| {
        let slot = &mut kept[n as usize % SLOTS];
        match slot {
            Some((known, value)) if *known == n => value.clone(),
            _ => slot.insert((n, HeaderValue::from(n))).1.clone(),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_its_own_whatever_was_in_its_place() {
        for n in [0, 16, 0, 60_000, u64::MAX, 15, 60_000] {
            assert_eq!(value(n), n.to_string());
        }
    }
}
