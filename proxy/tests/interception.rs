//! Transparent interception: two pods as network namespaces, each with a sidecar that rules redirect traffic to. The
//! applications know nothing of it; between the pods goes nothing that can be read.
//!
//! `PILLION_BIN=/path/to/envoy` runs the same with Envoy.

// Modules of a test program are public to it alone.
#![allow(unreachable_pub)]

mod support;

/// The namespaces and what runs in them.
mod interception {
    pub mod pods;
    pub mod sidecars;
}

use std::fs;
use std::path::Path;
use std::process::Command;

use certs::ca::CertificateAuthority;
use interception::pods::{LIMIT, PROXY_USER, Pod, Pods, Running, ask};
use interception::sidecars::{self, ADMIN, HTTP, INBOUND, OUTBOUND, SERVICE, TCP, UNNAMED};
use support::peers;

const PEERS: [&str; 6] = ["ip", "iptables", "tcpdump", "setpriv", "curl", "python3"];
/// What every secret exchange carries, and no packet may show.
const MARKER: &str = "only-the-two-applications-may-read-this";
/// What is sent in the clear, to see that the capture would show it.
const PLAIN: &str = "everybody-may-read-this";

/// Redirects all TCP: what the application sends to the outbound listener, what comes to the inbound one. Not the proxy's
/// own connections, save those to the pod itself, which come in as from elsewhere; never those from 127.0.0.6.
fn own_rules() -> Vec<String> {
    [
        "-N TO_INBOUND".to_owned(),
        format!("-A TO_INBOUND -p tcp -j REDIRECT --to-ports {INBOUND}"),
        "-N TO_OUTBOUND".to_owned(),
        format!("-A TO_OUTBOUND -p tcp -j REDIRECT --to-ports {OUTBOUND}"),
        "-A PREROUTING -p tcp -j TO_INBOUND".to_owned(),
        "-A OUTPUT -o lo -s 127.0.0.6/32 -j RETURN".to_owned(),
        format!("-A OUTPUT -o lo ! -d 127.0.0.1/32 -p tcp -m owner --uid-owner {PROXY_USER} -j TO_INBOUND"),
        format!("-A OUTPUT -o lo -m owner ! --uid-owner {PROXY_USER} -j RETURN"),
        format!("-A OUTPUT -m owner --uid-owner {PROXY_USER} -j RETURN"),
        "-A OUTPUT -d 127.0.0.1/32 -j RETURN".to_owned(),
        "-A OUTPUT -p tcp -j TO_OUTBOUND".to_owned(),
    ]
    .into()
}

/// Istio's: everything inbound, and outbound the two ports of the service.
fn istios_rules(corpus: &Path) -> Vec<String> {
    let mut rules = Vec::new();
    for file in ["inbound-ports-wildcard.golden", "outbound-ports-include.golden"] {
        let text = fs::read_to_string(corpus.join(file)).expect("a rule set of the corpus");
        let (_, nat) = text.split_once("* nat\n").expect("a nat table");
        let (nat, _) = nat.split_once("COMMIT").expect("its end");
        for rule in nat.lines().map(str::to_owned) {
            if !rules.contains(&rule) {
                rules.push(rule);
            }
        }
    }
    rules
}

#[test]
fn redirected_traffic_goes_encrypted_between_unaware_applications() {
    intercept(
        "redirected_traffic_goes_encrypted_between_unaware_applications",
        "o",
        &own_rules(),
    );
}

#[test]
fn istios_own_rules_redirect_it_too() {
    const TEST: &str = "istios_own_rules_redirect_it_too";
    if let Some(corpus) = peers::corpus(TEST, "istio-iptables") {
        intercept(TEST, "i", &istios_rules(&corpus));
    }
}

fn intercept(test: &str, run: &str, rules: &[String]) {
    let Some(binary) = peers::pillion(test) else { return };
    if !peers::root(test) || PEERS.iter().any(|peer| peers::need(test, peer).is_none()) || !peers::namespaces(test) {
        return;
    }
    let dir = open_dir();
    // Folders above the binary may be closed to the proxy's user.
    let copy = dir.path().join("proxy");
    fs::copy(&binary, &copy).expect("a copy of the binary");
    let pods = Pods::new(run);
    let (client, server) = (&pods.client, &pods.server);
    let authority = CertificateAuthority::root("mesh").expect("a CA");

    let app = dir.path().join("app.py");
    fs::write(&app, include_str!("interception/app.py")).expect("the application");
    let mut serve = server.command("python3");
    serve.arg(&app).args([HTTP, TCP, UNNAMED].map(|port| port.to_string()));
    let _app = Running::start(serve, &dir.path().join("app.log"));
    let _sidecars = [("client", client), ("server", server)].map(|(account, pod)| {
        let bootstrap = sidecars::bootstrap(&authority, account, server.address);
        sidecar(&copy, account, pod, &bootstrap.to_string(), dir.path())
    });
    for pod in [client, server] {
        pod.redirect(rules);
        for port in [ADMIN, OUTBOUND, INBOUND] {
            pod.wait_listening(port);
        }
    }
    for port in [HTTP, TCP, UNNAMED] {
        server.wait_listening(port);
    }
    let packets = dir.path().join("packets.pcap");
    let mut capture = server.command("tcpdump");
    capture
        .args(["-i", &server.interface, "--immediate-mode", "-U", "-Z", "root", "-w"])
        .arg(&packets);
    let mut capture = Running::start(capture, &dir.path().join("tcpdump.log"));
    capture.wait_output("listening on");

    let seen = get(client.command("curl"), &format!("{SERVICE}:{HTTP}"), MARKER).expect("HTTP through both sidecars");
    assert_seen(&seen, "from 127.0.0.6");
    assert_seen(&seen, &format!("path /{MARKER}"));
    assert_seen(&seen, &format!("x-marker: {MARKER}"));
    assert_seen(&seen, &format!("URI={}", sidecars::id("client")));
    let mut h2c = client.command("curl");
    h2c.arg("--http2-prior-knowledge");
    let seen = get(h2c, &format!("{SERVICE}:{HTTP}"), MARKER).expect("HTTP/2 through both sidecars");
    assert_seen(&seen, &format!("path /{MARKER}"));
    let seen = ask(&mut tcp_client(client.command("python3"), SERVICE), MARKER).expect("TCP through both sidecars");
    assert_seen(&seen, "from 127.0.0.6");
    assert_seen(&seen, MARKER);

    // The server's application calls its own service: out by its sidecar and in again, once.
    let seen = get(server.command("curl"), &format!("{SERVICE}:{HTTP}"), MARKER).expect("a call to itself");
    assert_seen(&seen, "from 127.0.0.6");
    assert_seen(&seen, &format!("URI={}", sidecars::id("server")));

    // As the proxy's user the client reaches the other pod without its own sidecar: plaintext.
    let seen = get(
        client.command_as_proxy("curl"),
        &format!("{}:{HTTP}", server.address),
        PLAIN,
    )
    .expect("PERMISSIVE");
    assert_seen(&seen, "from 127.0.0.6");
    assert!(!seen.contains("URI="), "{seen}");
    let refused = ask(
        &mut tcp_client(client.command_as_proxy("python3"), server.address),
        PLAIN,
    );
    assert!(
        !refused.as_ref().is_ok_and(|seen| seen.contains("from")),
        "STRICT took plaintext: {refused:?}"
    );
    // Without a certificate TLS does not help.
    let mut tls = client.command_as_proxy("curl");
    tls.arg("-k");
    let refused = get(tls, &format!("https://{}:{TCP}", server.address), PLAIN);
    assert!(
        refused.is_err(),
        "STRICT took a client without certificate: {refused:?}"
    );
    // A port that no config names goes through as it is.
    let seen = get(client.command("curl"), &format!("{}:{UNNAMED}", server.address), PLAIN).expect("passthrough");
    assert_seen(&seen, "from 127.0.0.6");
    // Nobody meant to go to the sidecar's own ports.
    for port in [OUTBOUND, INBOUND] {
        let looped = get(client.command("curl"), &format!("127.0.0.1:{port}"), PLAIN);
        assert!(looped.is_err(), "{port}: {looped:?}");
    }

    capture.finish();
    let packets = fs::read(&packets).expect("the capture");
    assert!(
        contains(&packets, PLAIN),
        "{} bytes do not show what went in the clear",
        packets.len()
    );
    assert!(!contains(&packets, MARKER), "the marker can be read in the capture");
}

/// A folder that the proxy's user can look into.
fn open_dir() -> tempfile::TempDir {
    use std::os::unix::fs::PermissionsExt;
    let open = fs::Permissions::from_mode(0o755);
    tempfile::Builder::new().permissions(open).tempdir().expect("a folder")
}

fn sidecar(binary: &Path, account: &str, pod: &Pod, bootstrap: &str, dir: &Path) -> Running {
    let config = dir.join(format!("{account}.json"));
    fs::write(&config, bootstrap).expect("the bootstrap file");
    let mut command = pod.command_as_proxy(binary);
    command.arg("-c").arg(config);
    command.args(["--concurrency", "1", "--disable-hot-restart", "-l", "warning"]);
    Running::start(command, &dir.join(format!("{account}.log")))
}

/// The body of a GET with the marker as path and header.
fn get(mut curl: Command, to: &str, marker: &str) -> Result<String, String> {
    let limit = LIMIT.as_secs().to_string();
    curl.args([
        "--silent",
        "--show-error",
        "--fail",
        "--noproxy",
        "*",
        "--max-time",
        &limit,
    ]);
    curl.arg("-H").arg(format!("x-marker: {marker}"));
    ask(curl.arg(format!("{to}/{marker}")), "")
}

/// Sends what it reads from its input, and prints what comes back until the peer ends.
fn tcp_client(mut python: Command, to: &str) -> Command {
    const CLIENT: &str = "
import socket, sys
s = socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=float(sys.argv[3]))
s.sendall(sys.stdin.buffer.read())
s.shutdown(socket.SHUT_WR)
while data := s.recv(4096):
    sys.stdout.buffer.write(data)
";
    python.args(["-c", CLIENT, to, &TCP.to_string(), &LIMIT.as_secs().to_string()]);
    python
}

fn assert_seen(seen: &str, wanted: &str) {
    assert!(seen.contains(wanted), "no {wanted:?} in {seen}");
}

fn contains(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|window| window == text.as_bytes())
}
