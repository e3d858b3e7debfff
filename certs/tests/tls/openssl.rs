//! The other implementation: OpenSSL as client and as server, with key types that our own CA does not make.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use certs::{
    ClientContext, ClientSettings, ConnectOptions, Identity, ServerContext, ServerSettings, Trust, TrustBundle,
    Validation,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::mesh::*;

/// Whether OpenSSL is there; without it tests are skipped, unless peers are required.
fn openssl_is_missing() -> bool {
    let missing = Command::new("openssl").arg("version").output().is_err();
    if missing {
        assert!(
            std::env::var_os("PILLION_REQUIRE_PEERS").is_none(),
            "openssl is missing"
        );
        println!("skipped: openssl is missing");
    }
    missing
}

/// A self-signed certificate; OpenSSL makes it a CA, as its users' certificates often are.
fn self_signed(folder: &Path, name: &str, key: &[&str]) -> (Identity, Arc<TrustBundle>) {
    let (key_file, pem_file) = (folder.join(format!("{name}.key")), folder.join(format!("{name}.pem")));
    let output = Command::new("openssl")
        .args([
            "req",
            "-x509",
            "-nodes",
            "-subj",
            "/CN=server",
            "-addext",
            "subjectAltName=DNS:server.example",
        ])
        .args(key)
        .arg("-keyout")
        .arg(&key_file)
        .arg("-out")
        .arg(&pem_file)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let pem = std::fs::read(&pem_file).unwrap();
    let identity = Identity::from_pem(&pem, &std::fs::read(&key_file).unwrap()).unwrap();
    (identity, Arc::new(TrustBundle::from_pem(&pem).unwrap()))
}

const KEYS: [(&str, &[&str], &str); 3] = [
    ("rsa", &["-newkey", "rsa:2048"], "rsa_pss_rsae_sha512"),
    (
        "p256",
        &["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"],
        "ecdsa_secp256r1_sha256",
    ),
    (
        "p384",
        &["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-384"],
        "ecdsa_secp384r1_sha384",
    ),
];

#[tokio::test]
async fn key_types_and_self_signed_servers() {
    if openssl_is_missing() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    for (name, key, signature) in KEYS {
        let (identity, bundle) = self_signed(folder.path(), name, key);
        let validation = Validation {
            trust: Some(Trust::Bundle(bundle)),
            ..Validation::default()
        };
        let settings = ClientSettings {
            validation: Some(Arc::new(validation)),
            params: any_version(),
            ..ClientSettings::new()
        };
        let server = ServerContext::new(ServerSettings::new(vec![identity])).unwrap();
        let (near, _) = handshake(&ClientContext::new(settings).unwrap(), &server).await;
        assert_eq!(near.unwrap().peer_signature(), Some(signature));
    }
}

#[tokio::test]
async fn the_client_decides_between_rsa_and_ecdsa() {
    if openssl_is_missing() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let identities = [0, 1].map(|index| self_signed(folder.path(), KEYS[index].0, KEYS[index].1).0);
    let server = ServerContext::new(ServerSettings::new(identities.to_vec())).unwrap();
    for (schemes, served) in [("ECDSA+SHA256:RSA-PSS+SHA256", 1), ("RSA-PSS+SHA256", 0)] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port().to_string();
        let client = s_client(&port, &["-sigalgs", schemes, "-servername", "server.example"]);
        let (socket, _) = listener.accept().await.unwrap();
        let mut stream = server.accept(socket).await.unwrap();
        stream.shutdown().await.unwrap();
        let output = client.wait_with_output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        let wanted = if served == 0 {
            "Peer signature type: RSA-PSS"
        } else {
            "Peer signature type: ECDSA"
        };
        assert!(text.contains(wanted), "{text}");
    }
}

fn s_client(port: &str, arguments: &[&str]) -> Child {
    Command::new("openssl")
        .args(["s_client", "-connect", &format!("127.0.0.1:{port}")])
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// Ends the server with the test, also when it fails.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test]
async fn an_openssl_server() {
    if openssl_is_missing() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let (_, bundle) = self_signed(folder.path(), "rsa", KEYS[0].1);
    // A port that was free a moment ago: s_server takes none of its own choice.
    let port = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let server = Command::new("openssl")
        .args([
            "s_server",
            "-quiet",
            "-rev",
            "-alpn",
            "h2",
            "-accept",
            &port.to_string(),
            "-cert",
        ])
        .arg(folder.path().join("rsa.pem"))
        .arg("-key")
        .arg(folder.path().join("rsa.key"))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let _server = Server(server);
    let validation = Validation {
        trust: Some(Trust::Bundle(bundle)),
        match_sni: true,
        ..Validation::default()
    };
    let client = ClientContext::new(ClientSettings {
        validation: Some(Arc::new(validation)),
        sni: Some("server.example".into()),
        alpn: vec![b"h2".to_vec()],
        params: any_version(),
        ..ClientSettings::new()
    })
    .unwrap();
    let listening = async {
        loop {
            match TcpStream::connect(("127.0.0.1", port)).await {
                Ok(socket) => return socket,
                Err(_) => tokio::time::sleep(std::time::Duration::from_millis(20)).await,
            }
        }
    };
    let socket = tokio::time::timeout(LIMIT, listening)
        .await
        .expect("s_server does not listen");
    let exchange = async {
        let mut stream = client.connect(socket, ConnectOptions::default()).await.unwrap();
        assert_eq!(stream.alpn(), Some(&b"h2"[..]));
        stream.write_all(b"abc\n").await.unwrap();
        let mut reversed = [0; 4];
        stream.read_exact(&mut reversed).await.unwrap();
        assert_eq!(&reversed, b"cba\n");
    };
    tokio::time::timeout(LIMIT, exchange)
        .await
        .expect("s_server does not answer");
}
