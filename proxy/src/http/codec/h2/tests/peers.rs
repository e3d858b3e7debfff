//! Foreign peers: curl and nghttp against our server, and Envoy between our client and our server.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use super::*;

/// The program in PATH, or `None` after saying what is missing.
fn need(test: &str, program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path)
        .map(|dir| dir.join(program))
        .find(|file| file.is_file());
    if found.is_none() {
        assert!(
            std::env::var("PILLION_REQUIRE_PEERS").as_deref() != Ok("1"),
            "{test} needs `{program}` in PATH"
        );
        eprintln!("SKIP {test}: needs `{program}` in PATH");
    }
    found
}

/// Serves every connection to a port of its own.
async fn listen<F>(app: impl Fn(RequestHead, ServerStream) -> F + Clone + 'static) -> SocketAddr
where
    F: Future<Output = ()> + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    spawn_local(async move {
        loop {
            let (socket, _) = listener.accept().await.unwrap();
            let app = app.clone();
            spawn_local(async move {
                let settings = ServerSettings {
                    allow_connect: true,
                    ..Default::default()
                };
                serve(
                    ServerConnection::handshake(socket, &settings, stats()).await.unwrap(),
                    app,
                );
            });
        }
    });
    address
}

/// What the program prints, while this thread goes on serving it.
async fn output(program: &Path, arguments: &[&str]) -> String {
    let mut command = Command::new(program);
    command.args(arguments).stderr(Stdio::inherit());
    let output = tokio::task::spawn_blocking(move || command.output())
        .await
        .unwrap()
        .unwrap();
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn curl_posts_and_reads() {
    let Some(curl) = need("curl_posts_and_reads", "curl") else {
        return;
    };
    run(async move {
        let url = format!("http://{}/x", listen(echo).await);
        let body = "y".repeat(300_000);
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), &body).unwrap();
        let data = format!("@{}", file.path().display());
        let arguments = [
            "-sS",
            "--http2-prior-knowledge",
            "-w",
            "%{http_version} %{http_code}",
            "--data-binary",
            &data,
            &url,
        ];
        let got = output(&curl, &arguments).await;
        assert!(
            got == body + "2 200",
            "{} bytes, ending in {:?}",
            got.len(),
            got.get(300_000..)
        );
    });
}

#[test]
fn nghttp_sees_heads_and_trailers() {
    let Some(nghttp) = need("nghttp_sees_heads_and_trailers", "nghttp") else {
        return;
    };
    run(async move {
        let address = listen(|_, mut stream: ServerStream| async move {
            stream.send_informational(&status(StatusCode::EARLY_HINTS)).unwrap();
            stream.send_head(status(StatusCode::OK), false).unwrap();
            stream
                .send_frame(Frame::Data(Bytes::from_static(b"body\n")), false)
                .unwrap();
            stream
                .send_frame(Frame::Trailers(field("x-trailer", "end")), true)
                .unwrap();
        });
        let seen = output(&nghttp, &["-v", "--no-dep", &format!("http://{}/", address.await)]).await;
        for expected in [":status: 103", ":status: 200", "body\n", "x-trailer: end"] {
            assert!(seen.contains(expected), "{expected} is not in:\n{seen}");
        }
    });
}

/// Envoy in between: HTTP/2 in, HTTP/2 out.
struct Envoy {
    listener: SocketAddr,
    process: Child,
    _directory: tempfile::TempDir,
}

impl Envoy {
    async fn start(program: &Path, upstream: SocketAddr) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let admin_file = directory.path().join("admin");
        let bootstrap = include_str!("peers/envoy.yaml").replace("UPSTREAM_PORT", &upstream.port().to_string());
        let process = Command::new(program)
            .args([
                "--use-dynamic-base-id",
                "--concurrency",
                "1",
                "-l",
                "error",
                "--config-yaml",
                &bootstrap,
            ])
            .arg("--admin-address-path")
            .arg(&admin_file)
            .spawn()
            .unwrap();
        let listener = loop {
            tokio::time::sleep(Duration::from_millis(50)).await;
            let Ok(admin) = std::fs::read_to_string(&admin_file) else {
                continue;
            };
            let Ok(mut socket) = TcpStream::connect(admin.trim()).await else {
                continue;
            };
            socket
                .write_all(b"GET /listeners HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")
                .await
                .unwrap();
            let mut answer = String::new();
            socket.read_to_string(&mut answer).await.unwrap();
            if let Some((_, address)) = answer.split_once("in::") {
                break address.lines().next().unwrap().parse().unwrap();
            }
        };
        Self {
            listener,
            process,
            _directory: directory,
        }
    }

    async fn connect(&self) -> ClientConnection {
        let socket = TcpStream::connect(self.listener).await.unwrap();
        let (client, driver) = ClientConnection::handshake(socket, &ClientSettings::default(), stats())
            .await
            .unwrap();
        spawn_local(driver);
        client
    }
}

impl Drop for Envoy {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// One Envoy for all: it takes longer to start than everything else.
#[test]
fn envoy_between_both_sides() {
    let Some(envoy) = need("envoy_between_both_sides", "envoy") else {
        return;
    };
    run(async move {
        let upstream = listen(|head, mut stream: ServerStream| async move {
            match head.path_only() {
                "/echo" => echo(head, stream).await,
                "/hints" => {
                    let mut hints = status(StatusCode::EARLY_HINTS);
                    hints.headers = field("link", "</a.css>");
                    stream.send_informational(&hints).unwrap();
                    stream.send_head(status(StatusCode::OK), true).unwrap();
                }
                "/reset" => stream.reset(Reason::INTERNAL_ERROR),
                "/chat" => {
                    assert_eq!(head.upgrade.as_ref().unwrap(), "websocket");
                    stream
                        .send_head(status(StatusCode::SWITCHING_PROTOCOLS), false)
                        .unwrap();
                    let Ok(Incoming::Frame(frame)) = poll_fn(|cx| stream.poll_body(cx)).await else {
                        return;
                    };
                    stream.send_frame(frame, true).unwrap();
                    let _ = poll_fn(|cx| stream.poll_body(cx)).await;
                }
                other => panic!("{other}"),
            }
        })
        .await;
        let envoy = Envoy::start(&envoy, upstream).await;
        let client = envoy.connect().await;

        let mut stream = client.start(&request(Method::POST, "/echo"), false).unwrap();
        stream.send_frame(Frame::Data(vec![7; 500_000].into()), false).unwrap();
        stream
            .send_frame(Frame::Trailers(field("grpc-status", "0")), true)
            .unwrap();
        let sender = poll_fn(|cx| {
            let _ = stream.poll_flush(cx)?;
            stream.poll_head(cx)
        });
        assert_eq!(sender.await.unwrap().0.status, StatusCode::OK);
        let mut length = 0;
        let trailers = loop {
            let next = poll_fn(|cx| {
                let _ = stream.poll_flush(cx)?;
                stream.poll_body(cx)
            });
            match next.await.unwrap() {
                Incoming::Frame(Frame::Data(data)) => length += data.len(),
                Incoming::Frame(Frame::Trailers(trailers)) => break trailers,
                Incoming::End => panic!("no trailers"),
            }
        };
        assert_eq!((length, trailers), (500_000, field("grpc-status", "0")));

        let mut stream = client.start(&request(Method::GET, "/hints"), true).unwrap();
        assert_eq!(head(&mut stream).await.unwrap().0.status, StatusCode::EARLY_HINTS);
        assert_eq!(head(&mut stream).await.unwrap().0.status, StatusCode::OK);

        let mut stream = client.start(&request(Method::GET, "/reset"), true).unwrap();
        assert_eq!(
            head(&mut stream).await.unwrap().0.status,
            StatusCode::SERVICE_UNAVAILABLE
        );

        let mut chat = request(Method::GET, "/chat");
        chat.upgrade = Some(HeaderValue::from_static("websocket"));
        let mut stream = client.start(&chat, false).unwrap();
        assert_eq!(
            head(&mut stream).await.unwrap().0.status,
            StatusCode::SWITCHING_PROTOCOLS
        );
        stream
            .send_frame(Frame::Data(Bytes::from_static(b"hello")), false)
            .unwrap();
        assert_eq!(collect(&mut stream).await.unwrap().0, b"hello");
    });
}
