//! The upstream side of a CONNECT that ends here (`connect_config`): no messages, only the tunnel's bytes.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use http::{HeaderMap, StatusCode};
use tokio::io::{AsyncRead, AsyncWrite};

use super::{
    super::{
        super::message::{Frame, Incoming, Protocol, ResponseHead, Spelling},
        CodecError,
    },
    input::Input,
    output::Output,
};

/// One upstream connection, taken for an exchange: what the request carries is sent as it is, and what comes back is the body
/// of a 200.
#[derive(Debug)]
pub struct Tunnel<IO> {
    io: IO,
    input: Input,
    output: Output,
    answered: bool,
    sending: Sending,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sending {
    Open,
    /// FIN follows what is queued.
    Ending,
    Ended,
}

impl<IO: AsyncRead + AsyncWrite + Unpin> Tunnel<IO> {
    pub fn new(io: IO) -> Self {
        Self {
            io,
            input: Input::default(),
            output: Output::default(),
            answered: false,
            sending: Sending::Open,
        }
    }

    /// Queues bytes; trailers only end them.
    pub fn send_frame(&mut self, frame: Frame, end: bool) {
        if let Frame::Data(data) = frame
            && !data.is_empty()
        {
            self.output.push(self.io.is_write_vectored(), data);
        }
        if end && self.sending == Sending::Open {
            self.sending = Sending::Ending;
        }
    }

    /// Bytes queued, for the caller's watermark.
    pub fn queued(&self) -> usize {
        self.output.len()
    }

    /// Writes what is queued, and the end of it. Ready when all of it was written.
    pub fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), CodecError>> {
        ready!(self.output.poll_flush(&mut self.io, cx)).map_err(|e| failed(&e))?;
        if self.sending == Sending::Ending {
            ready!(Pin::new(&mut self.io).poll_shutdown(cx)).map_err(|e| failed(&e))?;
            self.sending = Sending::Ended;
        }
        Poll::Ready(Ok(()))
    }

    /// 200, once: that there is a connection is all that CONNECT asked for.
    pub fn poll_head(&mut self) -> Poll<Result<(ResponseHead, bool), CodecError>> {
        if std::mem::replace(&mut self.answered, true) {
            return Poll::Pending;
        }
        let head = ResponseHead {
            status: StatusCode::OK,
            headers: HeaderMap::new(),
            spelling: Spelling::default(),
            protocol: Protocol::Http11,
        };
        Poll::Ready(Ok((head, false)))
    }

    /// The next bytes. Reads only when called: not calling is the back-pressure.
    ///
    /// # Errors
    /// The connection's.
    pub fn poll_body(&mut self, cx: &mut Context<'_>) -> Poll<Result<Incoming, CodecError>> {
        match ready!(self.input.poll_read(&mut self.io, cx)) {
            Ok(0) => Poll::Ready(Ok(Incoming::End)),
            Ok(n) => Poll::Ready(Ok(Incoming::Frame(Frame::Data(self.input.take(n))))),
            Err(e) => Poll::Ready(Err(failed(&e))),
        }
    }
}

fn failed(error: &io::Error) -> CodecError {
    CodecError::Io(error.to_string())
}

#[cfg(test)]
mod tests {
    use std::{future::poll_fn, task::Waker};

    use bytes::Bytes;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;

    #[tokio::test]
    async fn bytes_pass_both_ways_and_each_way_ends_by_itself() {
        let (near, mut far) = duplex(64);
        let mut tunnel = Tunnel::new(near);
        let Poll::Ready(Ok((head, false))) = tunnel.poll_head() else {
            panic!("an answer is due at once")
        };
        assert_eq!(head.status, StatusCode::OK);
        assert!(tunnel.poll_head().is_pending());

        tunnel.send_frame(Frame::Data(Bytes::from_static(b"up")), false);
        assert_eq!(tunnel.queued(), 2);
        tunnel.send_frame(Frame::Trailers(HeaderMap::new()), true);
        poll_fn(|cx| tunnel.poll_flush(cx)).await.unwrap();
        let mut got = Vec::new();
        far.read_to_end(&mut got).await.unwrap();
        assert_eq!(got, b"up");

        assert!(tunnel.poll_body(&mut Context::from_waker(Waker::noop())).is_pending());
        far.write_all(b"down").await.unwrap();
        drop(far);
        let Ok(Incoming::Frame(Frame::Data(data))) = poll_fn(|cx| tunnel.poll_body(cx)).await else {
            panic!("data comes before the end")
        };
        assert_eq!(data, "down");
        assert!(matches!(poll_fn(|cx| tunnel.poll_body(cx)).await, Ok(Incoming::End)));
    }
}
