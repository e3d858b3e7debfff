//! HTTP of the admin interface: hyper, one small request at a time and connection.

use std::{convert::Infallible, io, path::Path, pin::Pin, rc::Rc, time::Duration};

use bytes::Bytes;
use http::{Request as HttpRequest, Response, header};
use http_body_util::BodyExt;
use hyper::{body::Incoming, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::Semaphore,
};

use super::{Admin, respond};
use crate::{
    bootstrap,
    listener::socket::{self, Listening},
};

/// Requests that are answered at a time at most: a scraper that stalls must not pile up answers.
const MAX_CONNECTIONS: usize = 64;
/// A client that does not finish its head in this time is cut.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);

/// Binds the admin address, writes it to `address_path` and serves in the background of the current `LocalRuntime`.
///
/// # Errors
/// Where the address cannot be bound, or the file cannot be written.
pub fn serve(admin: &Rc<Admin>, config: &bootstrap::Admin, address_path: Option<&Path>) -> io::Result<()> {
    let listening = socket::bind_admin(&config.address)?;
    if let Some(path) = address_path {
        std::fs::write(path, listening.address()?)?;
    }
    let admin = admin.clone();
    let places = Rc::new(Semaphore::new(MAX_CONNECTIONS));
    match listening {
        Listening::Tcp(l) => {
            let l = tokio::net::TcpListener::from_std(l)?;
            tokio::task::spawn_local(async move {
                while let Ok((stream, _)) = l.accept().await {
                    spawn(admin.clone(), places.clone(), stream);
                }
            });
        }
        Listening::Unix(l) => {
            let l = tokio::net::UnixListener::from_std(l)?;
            tokio::task::spawn_local(async move {
                while let Ok((stream, _)) = l.accept().await {
                    spawn(admin.clone(), places.clone(), stream);
                }
            });
        }
    }
    Ok(())
}

fn spawn(admin: Rc<Admin>, places: Rc<Semaphore>, stream: impl AsyncRead + AsyncWrite + Unpin + 'static) {
    tokio::task::spawn_local(async move {
        // The semaphore is never closed.
        let Ok(_place) = places.acquire().await else { return };
        let service = service_fn(|request: HttpRequest<Incoming>| {
            let admin = admin.clone();
            async move { Ok::<_, Infallible>(answer(&admin, request).await) }
        });
        let connection = hyper::server::conn::http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_TIMEOUT)
            .serve_connection(TokioIo::new(stream), service);
        // The client went away: nobody is left to tell.
        let _ = connection.await;
    });
}

/// A body in pieces, so that the control thread does other things between two of them.
pub(super) type Body = Pin<Box<dyn http_body::Body<Data = Bytes, Error = Infallible>>>;

async fn answer(admin: &Rc<Admin>, request: HttpRequest<Incoming>) -> Response<Body> {
    let (head, body) = request.into_parts();
    // Read in any case: that keeps the connection usable.
    let body = http_body_util::Limited::new(body, MAX_BODY_BYTES).collect().await;
    let is_form = head.headers.get(header::CONTENT_TYPE).is_some_and(|t| t == FORM);
    let form = body.ok().filter(|_| is_form).map(|body| body.to_bytes());
    respond::respond(admin, &head, &String::from_utf8_lossy(&form.unwrap_or_default()))
}

/// Parameters in the body.
const FORM: &str = "application/x-www-form-urlencoded";
const MAX_BODY_BYTES: usize = 64 * 1024;
