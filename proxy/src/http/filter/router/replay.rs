//! The request body as sent so far, kept while another attempt may need it.

use crate::http::message::Frame;

/// Frames of the request body. Data is shared with what was sent, not copied.
#[derive(Debug)]
pub(super) struct Replay {
    frames: Vec<Frame>,
    bytes: usize,
    /// Bytes; `None`: nothing is kept.
    limit: Option<usize>,
    overflowed: bool,
}

impl Replay {
    pub(super) fn new(limit: Option<usize>) -> Self {
        Self {
            frames: Vec::new(),
            bytes: 0,
            limit,
            overflowed: false,
        }
    }

    /// Keeps a frame that is about to be sent. Past the limit everything is let go: the request cannot be retried.
    pub(super) fn push(&mut self, frame: &Frame) {
        let Some(limit) = self.limit.filter(|_| !self.overflowed) else {
            return;
        };
        if let Frame::Data(data) = frame {
            self.bytes += data.len();
        }
        if self.bytes > limit {
            self.overflowed = true;
            self.frames = Vec::new();
        } else {
            self.frames.push(frame.clone());
        }
    }

    /// Whether everything that was read of the body can be sent again.
    pub(super) fn is_whole(&self) -> bool {
        self.limit.is_some() && !self.overflowed
    }

    pub(super) fn frames(&self) -> &[Frame] {
        &self.frames
    }
}
