//! Connections that made one request and then say nothing.

use std::net::SocketAddr;

use certs::{ClientContext, TlsStream};
use tokio::net::TcpStream;

use super::{exchange::Exchange, handshake};

/// How many connect at a time: fewer than a listening socket queues.
const AT_ONCE: usize = 64;

/// Open connections; dropping it closes them.
pub struct Idle {
    _runtime: tokio::runtime::Runtime,
    _plain: Vec<TcpStream>,
    _tls: Vec<TlsStream<TcpStream>>,
}

impl Idle {
    /// Opens `count` connections, and makes `exchange` on each.
    pub fn open(
        address: SocketAddr,
        tls: Option<&ClientContext>,
        count: usize,
        exchange: &Exchange,
    ) -> anyhow::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (mut plain, mut encrypted) = (Vec::new(), Vec::new());
        runtime.block_on(async {
            let mut left = count;
            while left > 0 {
                let batch = left.min(AT_ONCE);
                let mut tasks = tokio::task::JoinSet::new();
                for _ in 0..batch {
                    let (tls, exchange) = (tls.cloned(), exchange.clone());
                    tasks.spawn(async move {
                        anyhow::Ok(match tls {
                            Some(tls) => {
                                let mut stream = handshake::connect(address, &tls).await?;
                                handshake::request(&mut stream, &exchange).await?;
                                (None, Some(stream))
                            }
                            None => {
                                let mut stream = TcpStream::connect(address).await?;
                                handshake::request(&mut stream, &exchange).await?;
                                (Some(stream), None)
                            }
                        })
                    });
                }
                while let Some(done) = tasks.join_next().await {
                    let (stream, tls) = done??;
                    plain.extend(stream);
                    encrypted.extend(tls);
                }
                left -= batch;
            }
            anyhow::Ok(())
        })?;
        Ok(Self {
            _runtime: runtime,
            _plain: plain,
            _tls: encrypted,
        })
    }
}
