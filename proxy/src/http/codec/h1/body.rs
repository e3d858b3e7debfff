//! Where a message's body ends, and its bytes on the way there.

use super::{
    super::{
        super::message::{Frame, Incoming},
        CodecError,
    },
    chunked::Chunked,
    fields::Bounds,
    input::Input,
};

/// The part of a body that is still to come.
#[derive(Debug, Default)]
pub(super) enum Body {
    #[default]
    Done,
    /// Never 0.
    Length(u64),
    Chunked(Chunked),
    /// A response without length: the end of the connection is its end.
    UntilClose,
    /// After an upgrade or CONNECT: everything.
    Tunnel,
}

/// How trailers are taken.
#[derive(Debug, Clone, Copy)]
pub(super) struct Trailers {
    pub(super) enabled: bool,
    pub(super) bounds: Bounds,
}

impl Body {
    pub(super) fn length(length: u64) -> Self {
        if length == 0 { Self::Done } else { Self::Length(length) }
    }

    pub(super) fn chunked() -> Self {
        Self::Chunked(Chunked::default())
    }

    pub(super) fn is_done(&self) -> bool {
        matches!(self, Self::Done)
    }

    /// What can be said with the bytes that are there. None: more are needed.
    pub(super) fn decode(&mut self, input: &mut Input, trailers: Trailers) -> Result<Option<Incoming>, CodecError> {
        match self {
            Self::Done => Ok(Some(Incoming::End)),
            _ if input.is_empty() => Ok(None),
            Self::Length(left) => {
                let n = usize::try_from(*left).map_or(input.len(), |left| left.min(input.len()));
                *left -= n as u64;
                if *left == 0 {
                    *self = Self::Done;
                }
                Ok(Some(Incoming::Frame(Frame::Data(input.take(n)))))
            }
            Self::Chunked(chunked) => {
                let incoming = chunked.decode(input, trailers)?;
                if matches!(incoming, Some(Incoming::End | Incoming::Frame(Frame::Trailers(_)))) {
                    *self = Self::Done;
                }
                Ok(incoming)
            }
            Self::UntilClose | Self::Tunnel => Ok(Some(Incoming::Frame(Frame::Data(input.take(input.len()))))),
        }
    }

    /// The peer's end of stream. Whether that is where the body ends.
    pub(super) fn close(&mut self) -> bool {
        let ended = matches!(self, Self::Done | Self::UntilClose | Self::Tunnel);
        if ended {
            *self = Self::Done;
        }
        ended
    }
}
