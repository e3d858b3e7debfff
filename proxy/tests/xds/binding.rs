//! A listener whose address cannot be bound is refused like any other that cannot be honoured; one of the bootstrap ends the
//! process. Envoy, where there is one, says the same.

use std::net::TcpListener;
use std::process::Command;

use super::*;

fn tcp_listener(name: &str, address: &str, port: u16) -> Value {
    json!({
        "name": name,
        "address": {"socket_address": {"address": address, "port_value": port}},
        "filter_chains": [{"filters": hcm(json!({"route_config": answering("hello")}))}],
    })
}

#[test]
fn a_listener_that_cannot_bind_is_refused() {
    let Some(binary) = peers::pillion("a_listener_that_cannot_bind_is_refused") else {
        return;
    };
    let ours = refusals(&binary);
    assert_eq!(ours.0, 1);
    let Some(envoy) = peers::need("a_listener_that_cannot_bind_is_refused", "envoy") else {
        return;
    };
    assert_eq!(ours, refusals(&envoy));
}

/// How often LDS was rejected, how many listeners could not be made, and what each was told.
fn refusals(binary: &Path) -> (u64, u64, Vec<String>) {
    let dir = tempfile::tempdir().unwrap();
    let taken = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let busy = taken.local_addr().unwrap().port();
    let path = dir.path().join("lds.json");
    let template = format!(
        "admin: {{{{admin}}}}\nnode: {{id: sidecar, cluster: test}}\n\
         dynamic_resources: {{lds_config: {{path_config_source: {{path: {}}}}}}}\n# {{{{port:good}}}}",
        path.display()
    );
    let bootstrap = Bootstrap::new(&template, dir.path(), "");
    let good = bootstrap.port("port:good");
    let resources: Vec<Value> = [
        tcp_listener("good", "127.0.0.1", good),
        tcp_listener("busy", "127.0.0.1", busy),
        tcp_listener("foreign", "203.0.113.9", busy),
    ]
    .into_iter()
    .map(|mut listener| {
        listener["@type"] = json!(Kind::Listener.type_url());
        listener
    })
    .collect();
    std::fs::write(&path, json!({"version_info": "1", "resources": resources}).to_string()).unwrap();
    let proxy = Proxy::start(binary, &bootstrap.text, dir.path());
    assert_eq!(ask(good), Some((200, "hello".to_owned())));
    let rejected = proxy.wait_stat("listener_manager.lds.update_rejected", |n| n > 0);
    let dump = dump(&proxy, "?resource=dynamic_listeners");
    let shown = dump["configs"].as_array().unwrap().iter().filter_map(|listener| {
        let details = listener["error_state"]["details"].as_str()?;
        Some(format!("{}: {details}", listener["name"].as_str()?).replace(&busy.to_string(), "PORT"))
    });
    let mut told: Vec<String> = shown.collect();
    for told in &mut told {
        // Ours names the listener and the field first.
        if let Some((name, rest)) = told.clone().split_once(": ")
            && let Some(at) = rest.find("cannot bind")
        {
            *told = format!("{name}: {}", &rest[at..]);
        }
    }
    told.sort();
    (rejected, proxy.stat("listener_manager.listener_create_failure"), told)
}

#[test]
fn a_listener_of_the_bootstrap_that_cannot_bind_ends_the_process() {
    let Some(binary) = peers::pillion("a_listener_of_the_bootstrap_that_cannot_bind_ends_the_process") else {
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    let taken = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = taken.local_addr().unwrap().port();
    let path = dir.path().join("bootstrap.json");
    let bootstrap = json!({"static_resources": {"listeners": [tcp_listener("busy", "127.0.0.1", port)]}});
    std::fs::write(&path, bootstrap.to_string()).unwrap();
    let output = Command::new(binary).arg("-c").arg(path).output().unwrap();
    assert!(!output.status.success());
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        said.contains(&format!(
            "listener busy: cannot bind '127.0.0.1:{port}': Address already in use"
        )),
        "{said}"
    );
}
