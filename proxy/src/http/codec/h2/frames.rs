//! Frames as they pass on the wire, seen by their headers only (RFC 9113 section 4.1): what `h2` neither counts nor limits.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    time::Instant,
};

use ::h2::Reason;

use super::{
    error::End,
    refused::{Heads, Refused},
    settings::FloodLimits,
};
use crate::{
    http::codec::CodecError,
    stats::{Group, Http2Stat},
};

/// Bytes of a frame header.
const HEADER: usize = 9;
/// The client's connection preface (RFC 9113 section 3.4).
pub(super) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Set on DATA and HEADERS where nothing follows.
const END_STREAM: u8 = 0x1;

/// Without the reserved bit.
const STREAM_ID: u32 = u32::MAX >> 1;

const DATA: u8 = 0x0;
const HEADERS: u8 = 0x1;
const PRIORITY: u8 = 0x2;
const RST_STREAM: u8 = 0x3;
const GOAWAY: u8 = 0x7;
const WINDOW_UPDATE: u8 = 0x8;
const CONTINUATION: u8 = 0x9;

/// Of the payload of RST_STREAM, which is all of it.
const ERROR_CODE: usize = 4;

/// Finds frame headers in a byte stream that comes in arbitrary pieces.
#[derive(Debug)]
struct Scanner {
    /// A frame header, and the payload of RST_STREAM.
    header: [u8; HEADER + ERROR_CODE],
    have: usize,
    /// Payload, or preface, that is still to pass.
    skip: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct FrameHeader {
    length: usize,
    kind: u8,
    flags: u8,
    stream: u32,
    /// Of RST_STREAM.
    code: u32,
}

impl Scanner {
    fn new(preface: usize) -> Self {
        Self {
            header: [0; HEADER + ERROR_CODE],
            have: 0,
            skip: preface,
        }
    }

    fn feed(&mut self, mut bytes: &[u8], mut frame: impl FnMut(FrameHeader)) {
        loop {
            let skipped = self.skip.min(bytes.len());
            self.skip -= skipped;
            bytes = &bytes[skipped..];
            let wanted = if self.have < HEADER { HEADER } else { self.header.len() };
            let taken = bytes.len().min(wanted - self.have);
            if taken == 0 {
                return;
            }
            self.header[self.have..self.have + taken].copy_from_slice(&bytes[..taken]);
            self.have += taken;
            bytes = &bytes[taken..];
            if self.have < wanted {
                return;
            }
            let [a, b, c, kind, flags, s1, s2, s3, s4, code @ ..] = self.header;
            let length = u32::from_be_bytes([0, a, b, c]) as usize;
            let resets = kind == RST_STREAM && length >= ERROR_CODE;
            if resets && self.have == HEADER {
                continue;
            }
            self.have = 0;
            self.skip = if resets { length - ERROR_CODE } else { length };
            frame(FrameHeader {
                length,
                kind,
                flags,
                stream: u32::from_be_bytes([s1, s2, s3, s4]) & STREAM_ID,
                code: if resets { u32::from_be_bytes(code) } else { 0 },
            });
        }
    }
}

/// A flood that ends the connection, as Envoy ends it: at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Flood {
    EmptyFrames,
    Priority,
    WindowUpdate,
    Reset,
}

impl Flood {
    pub(super) fn error(self, end: End) -> CodecError {
        let (details, what) = match self {
            Self::EmptyFrames => (
                "http2.inbound_empty_frames_flood",
                "empty frames, of which max_consecutive_inbound_frames_with_empty_payload admits fewer in a row",
            ),
            Self::Priority => (
                "http2.inbound_priority_frames_flood",
                "PRIORITY frames, of which max_inbound_priority_frames_per_stream admits fewer",
            ),
            Self::WindowUpdate => (
                "http2.inbound_window_update_frames_flood",
                "WINDOW_UPDATE frames, of which max_inbound_window_update_frames_per_data_frame_sent admits fewer",
            ),
            Self::Reset => (
                "http2.stream_reset_flood",
                "resets, of which stream_reset_burst and stream_reset_rate admit fewer",
            ),
        };
        end.violation(
            details,
            format!("the {} flooded the HTTP/2 connection with {what}", end.peer()),
        )
    }
}

/// Watches both directions of one connection.
#[derive(Debug)]
pub(super) struct Watch {
    inbound: Scanner,
    outbound: Scanner,
    limits: FloodLimits,
    stats: Group<Http2Stat>,
    news: Rc<News>,
    end: End,
    /// Empty frames in a row.
    empty: u32,
    priority: u64,
    window_updates: u64,
    sent_headers: u64,
    sent_data: u64,
    resets: Bucket,
}

/// What the connection asks its wire.
#[derive(Debug, Default)]
pub(super) struct News {
    /// Set whenever bytes arrive.
    pub(super) heard: Cell<bool>,
    pub(super) flood: Cell<Option<Flood>>,
    /// Of a server.
    pub(super) heads: RefCell<Heads>,
}

impl Watch {
    pub(super) fn new(end: End, limits: FloodLimits, stats: Group<Http2Stat>, news: Rc<News>) -> Self {
        let (received, sent) = match end {
            End::Server => (PREFACE.len(), 0),
            End::Client => (0, PREFACE.len()),
        };
        Self {
            inbound: Scanner::new(received),
            outbound: Scanner::new(sent),
            limits,
            stats,
            news,
            end,
            empty: 0,
            priority: 0,
            window_updates: 0,
            sent_headers: 0,
            sent_data: 0,
            resets: Bucket {
                tokens: limits.stream_reset_burst as f64,
                filled: None,
            },
        }
    }

    pub(super) fn received(&mut self, bytes: &[u8]) -> Result<(), Flood> {
        self.news.heard.set(true);
        let Self {
            inbound,
            limits,
            stats,
            empty,
            priority,
            window_updates,
            sent_headers,
            sent_data,
            resets,
            news,
            end,
            ..
        } = self;
        let mut flood = None;
        inbound.feed(bytes, |frame| {
            if frame.kind == HEADERS && *end == End::Server {
                news.heads.borrow_mut().arrived(frame.stream);
            }
            let verdict = match frame.kind {
                DATA | HEADERS | CONTINUATION => {
                    *empty = if frame.length == 0 && frame.flags & END_STREAM == 0 {
                        *empty + 1
                    } else {
                        0
                    };
                    (*empty > limits.empty_frames).then_some(Flood::EmptyFrames)
                }
                PRIORITY => {
                    *priority += 1;
                    (*priority > u64::from(limits.priority_per_stream) * (1 + *sent_headers)).then_some(Flood::Priority)
                }
                WINDOW_UPDATE => {
                    *window_updates += 1;
                    (*window_updates > limits.window_updates(*sent_headers, *sent_data)).then_some(Flood::WindowUpdate)
                }
                RST_STREAM => {
                    stats.inc(Http2Stat::RxReset);
                    (!resets.take(limits)).then_some(Flood::Reset)
                }
                _ => None,
            };
            flood = flood.or(verdict);
        });
        match flood {
            None => Ok(()),
            Some(flood) => {
                self.news.flood.set(Some(flood));
                match flood {
                    Flood::EmptyFrames => self.stats.inc(Http2Stat::InboundEmptyFramesFlood),
                    Flood::Priority => self.stats.inc(Http2Stat::InboundPriorityFramesFlood),
                    Flood::WindowUpdate => self.stats.inc(Http2Stat::InboundWindowUpdateFramesFlood),
                    // Envoy's codec has no counter for it either.
                    Flood::Reset => {}
                }
                Err(flood)
            }
        }
    }

    pub(super) fn sent(&mut self, bytes: &[u8]) {
        let Self {
            outbound,
            stats,
            sent_headers,
            sent_data,
            news,
            ..
        } = self;
        outbound.feed(bytes, |frame| match frame.kind {
            DATA => *sent_data += 1,
            HEADERS => {
                *sent_headers += 1;
                news.heads.borrow_mut().answered(frame.stream, Refused::TooLarge);
            }
            RST_STREAM => {
                stats.inc(Http2Stat::TxReset);
                let mut heads = news.heads.borrow_mut();
                if Reason::from(frame.code) == Reason::REFUSED_STREAM {
                    // One too many at once: Envoy's codec makes no stream of it either.
                    heads.claimed(frame.stream);
                } else {
                    heads.answered(frame.stream, Refused::Malformed);
                }
            }
            GOAWAY => stats.inc(Http2Stat::GoawaySent),
            _ => {}
        });
    }
}

/// A token bucket that is full at first.
#[derive(Debug)]
struct Bucket {
    tokens: f64,
    filled: Option<Instant>,
}

impl Bucket {
    fn take(&mut self, limits: &FloodLimits) -> bool {
        let now = Instant::now();
        let gained = self.filled.map_or(0.0, |filled| {
            (now - filled).as_secs_f64() * limits.stream_reset_rate as f64
        });
        self.filled = Some(now);
        self.tokens = (self.tokens + gained).min(limits.stream_reset_burst as f64) - 1.0;
        self.tokens >= 0.0
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::http::codec::h2::tests::stats;

    fn frame(kind: u8, flags: u8, length: usize) -> Vec<u8> {
        let mut bytes = (length as u32).to_be_bytes()[1..].to_vec();
        bytes.extend([kind, flags, 0, 0, 0, 1]);
        bytes.resize(HEADER + length, kind);
        bytes
    }

    fn watch(end: End) -> Watch {
        let mut watch = Watch::new(end, FloodLimits::default(), stats(), Rc::default());
        if end == End::Server {
            watch.received(&[b'x'; PREFACE.len()]).unwrap();
        }
        watch
    }

    proptest! {
        #[test]
        fn frames_are_found_however_the_bytes_are_cut(
            frames in prop::collection::vec((0u8..12, 0u8..64, 0usize..40), 0..20),
            cut in 1usize..30,
        ) {
            let bytes: Vec<u8> = std::iter::repeat_n(0xff, PREFACE.len())
                .chain(frames.iter().flat_map(|(kind, flags, length)| frame(*kind, *flags, *length)))
                .collect();
            let mut scanner = Scanner::new(PREFACE.len());
            let mut found = Vec::new();
            for piece in bytes.chunks(cut) {
                scanner.feed(piece, |f| {
                    assert_eq!(f.stream, 1);
                    found.push((f.kind, f.flags, f.length));
                });
            }
            prop_assert_eq!(found, frames);
        }
    }

    #[test]
    fn heads_that_h2_refuses_are_noticed() {
        let mut watch = watch(End::Server);
        let on = |stream: u8, mut frame: Vec<u8>| {
            frame[HEADER - 1] = stream;
            frame
        };
        let heads: Vec<u8> = [1, 3, 5, 7, 9, 3]
            .iter()
            .flat_map(|id| on(*id, frame(HEADERS, 0, 2)))
            .collect();
        watch.received(&heads).unwrap();
        watch.news.heads.borrow_mut().claimed(3);
        watch.sent(&on(3, frame(HEADERS, 0, 2)));
        watch.sent(&on(5, frame(HEADERS, 0, 2)));
        let mut refused = on(7, frame(RST_STREAM, 0, 4));
        refused[HEADER..].copy_from_slice(&u32::from(Reason::REFUSED_STREAM).to_be_bytes());
        watch.sent(&refused);
        watch.sent(&on(1, frame(RST_STREAM, 0, 4)));
        let mut heads = watch.news.heads.borrow_mut();
        assert_eq!(heads.next_refused(), Some(Refused::Malformed));
        assert_eq!(heads.next_refused(), Some(Refused::TooLarge));
        assert_eq!(heads.next_refused(), None);
        heads.give_up(Refused::Malformed);
        assert_eq!(heads.next_refused(), Some(Refused::Malformed));
        assert_eq!(heads.next_refused(), None);
    }

    #[test]
    fn one_empty_frame_passes_and_two_in_a_row_do_not() {
        let mut watch = watch(End::Server);
        let (empty, full) = (frame(DATA, 0, 0), frame(DATA, 0, 1));
        assert_eq!(watch.received(&[empty.clone(), full, empty.clone()].concat()), Ok(()));
        assert_eq!(watch.received(&empty), Err(Flood::EmptyFrames));
        assert_eq!(watch.stats.value(Http2Stat::InboundEmptyFramesFlood), 1);
    }

    #[test]
    fn an_empty_frame_that_ends_its_stream_is_no_flood() {
        assert_eq!(
            watch(End::Client).received(&frame(DATA, END_STREAM, 0).repeat(50)),
            Ok(())
        );
    }

    #[test]
    fn priority_frames_are_allowed_per_stream() {
        let mut watch = watch(End::Server);
        assert_eq!(watch.received(&frame(PRIORITY, 0, 5).repeat(100)), Ok(()));
        watch.sent(&frame(HEADERS, 0, 3));
        assert_eq!(watch.received(&frame(PRIORITY, 0, 5).repeat(100)), Ok(()));
        assert_eq!(watch.received(&frame(PRIORITY, 0, 5)), Err(Flood::Priority));
    }

    #[test]
    fn window_updates_are_allowed_per_data_frame_sent() {
        let mut watch = watch(End::Server);
        assert_eq!(watch.received(&frame(WINDOW_UPDATE, 0, 4).repeat(5)), Ok(()));
        watch.sent(&frame(DATA, 0, 100));
        assert_eq!(watch.received(&frame(WINDOW_UPDATE, 0, 4).repeat(20)), Ok(()));
        assert_eq!(watch.received(&frame(WINDOW_UPDATE, 0, 4)), Err(Flood::WindowUpdate));
    }

    #[test]
    fn resets_have_a_budget() {
        let mut watch = watch(End::Server);
        assert_eq!(watch.received(&frame(RST_STREAM, 0, 4).repeat(1000)), Ok(()));
        assert_eq!(watch.received(&frame(RST_STREAM, 0, 4).repeat(1000)), Err(Flood::Reset));
        assert_eq!(watch.stats.value(Http2Stat::RxReset), 2000);
    }
}
