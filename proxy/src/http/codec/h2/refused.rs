//! Requests that `h2` refuses by itself: it resets or answers them and tells nobody, but their frames pass.

use std::collections::VecDeque;

/// Heads may arrive, in one read, in any number; more than these would not fit it.
const MAX_UNCLAIMED: usize = 1024;

/// A request that `h2` refused by itself, so that it never became a stream of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refused {
    /// Reset, or the end of the connection: the head was malformed.
    Malformed,
    /// Answered with 431.
    TooLarge,
    /// The end of the connection.
    FarTooLarge,
}

/// Requests whose heads arrived and which `h2` has neither handed out nor refused.
#[derive(Debug, Default)]
pub(super) struct Heads {
    unclaimed: VecDeque<u32>,
    last: u32,
    refused: Vec<(u32, Refused)>,
}

impl Heads {
    pub(super) fn arrived(&mut self, stream: u32) {
        // Trailers, and streams that never were, come with ids that are not new.
        if stream <= self.last {
            return;
        }
        self.last = stream;
        // After a GOAWAY `h2` ignores new streams, which then are neither.
        if self.unclaimed.len() == MAX_UNCLAIMED {
            self.unclaimed.pop_front();
        }
        self.unclaimed.push_back(stream);
    }

    /// `h2` handed the stream out.
    pub(super) fn claimed(&mut self, stream: u32) {
        // Its body may have been refused in the same breath, which is not this module's business.
        if !self.take(stream) {
            self.refused.retain(|(refused, _)| *refused != stream);
        }
    }

    pub(super) fn answered(&mut self, stream: u32, how: Refused) {
        if self.take(stream) {
            self.refused.push((stream, how));
        }
    }

    fn take(&mut self, stream: u32) -> bool {
        let at = self.unclaimed.iter().position(|unclaimed| *unclaimed == stream);
        at.and_then(|at| self.unclaimed.remove(at)).is_some()
    }

    /// The next refusal that is not told yet.
    pub(super) fn next_refused(&mut self) -> Option<Refused> {
        self.refused.pop().map(|(_, how)| how)
    }

    /// `h2` ends the connection for a frame, most likely for the head that it was to read next.
    pub(super) fn give_up(&mut self, how: Refused) {
        self.refused
            .extend(self.unclaimed.pop_front().map(|stream| (stream, how)));
        self.unclaimed.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_handed_out_or_refused_once() {
        let mut heads = Heads::default();
        for stream in [1, 3, 5, 7, 3] {
            heads.arrived(stream);
        }
        heads.claimed(1);
        heads.answered(1, Refused::Malformed);
        heads.answered(3, Refused::Malformed);
        heads.claimed(3);
        heads.answered(5, Refused::TooLarge);
        assert_eq!(heads.next_refused(), Some(Refused::TooLarge));
        assert_eq!(heads.next_refused(), None);
        heads.give_up(Refused::FarTooLarge);
        assert_eq!(heads.next_refused(), Some(Refused::FarTooLarge));
        heads.give_up(Refused::Malformed);
        assert_eq!(heads.next_refused(), None);
    }
}
