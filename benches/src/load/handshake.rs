//! New mTLS connections, each for one request.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use certs::{ClientContext, ConnectOptions, TlsStream};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    task::LocalSet,
};

use super::{Outcome, exchange::Exchange};

/// `clients` at a time for `duration`: connect, handshake, one request, close.
pub fn run(address: SocketAddr, tls: &ClientContext, clients: usize, duration: Duration) -> anyhow::Result<Outcome> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let start = Instant::now();
    let end = start + duration;
    let mut outcome = Outcome::default();
    LocalSet::new().block_on(&runtime, async {
        let client = || {
            let tls = tls.clone();
            tokio::task::spawn_local(async move {
                let mut latencies = Vec::new();
                while Instant::now() < end {
                    let begun = Instant::now();
                    request(&mut connect(address, &tls).await?, &Exchange::get(100)).await?;
                    latencies.push(begun.elapsed());
                }
                anyhow::Ok(latencies)
            })
        };
        let tasks: Vec<_> = (0..clients).map(|_| client()).collect();
        for task in tasks {
            for latency in task.await?? {
                outcome.latencies.record(latency);
            }
        }
        anyhow::Ok(())
    })?;
    outcome.elapsed = start.elapsed();
    Ok(outcome)
}

pub async fn connect(address: SocketAddr, tls: &ClientContext) -> anyhow::Result<TlsStream<TcpStream>> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    tls.connect(stream, ConnectOptions::default())
        .await
        .context("the handshake")
}

/// One request over any stream; the answer is read to its end.
pub async fn request<IO>(io: &mut IO, exchange: &Exchange) -> anyhow::Result<()>
where
    IO: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
{
    io.write_all(&exchange.request).await?;
    io.flush().await?;
    let (mut bytes, mut scratch) = (Vec::new(), [0; 4096]);
    loop {
        let count = io.read(&mut scratch).await?;
        if count == 0 {
            bail!("the proxy closed a connection");
        }
        bytes.extend_from_slice(&scratch[..count]);
        if super::exchange::head(&bytes)?.is_some_and(|whole| bytes.len() >= whole) {
            return Ok(());
        }
    }
}
