"""A proxy as some user, its bootstrap, and what its admin interface says."""

import json
import os
import socket
import ssl
import subprocess
import urllib.request

TLS = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3."
FILTERS = "type.googleapis.com/envoy.extensions.filters."


def sds(name):
    """The agent serves each secret on a stream of its own."""
    service = {"envoy_grpc": {"cluster_name": "agent"}}
    source = {"api_type": "GRPC", "transport_api_version": "V3", "grpc_services": [service]}
    return {"name": name, "sds_config": {"resource_api_version": "V3", "api_config_source": source}}


def address(port):
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}


def tls(kind, identity, trust, allowed=None, **more):
    """A context with `identity` and `trust` from the agent. `allowed`: the id that the peer must have."""
    common = {}
    if identity:
        common["tls_certificate_sds_secret_configs"] = [sds(identity)]
    if trust:
        default = {}
        if allowed:
            default["match_typed_subject_alt_names"] = [{"san_type": "URI", "matcher": allowed}]
        common["combined_validation_context"] = {
            "default_validation_context": default,
            "validation_context_sds_secret_config": sds(trust),
        }
    context = {"@type": f"{TLS}{kind}TlsContext", "common_tls_context": common, **more}
    return {"name": "tls", "typed_config": context}


def tcp(cluster):
    proxy = {"@type": f"{FILTERS}network.tcp_proxy.v3.TcpProxy", "stat_prefix": cluster, "cluster": cluster}
    return {"name": "tcp", "typed_config": proxy}


def http(cluster):
    route = {"match": {"prefix": "/"}, "route": {"cluster": cluster}}
    routes = {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [route]}]}
    router = {"name": "router", "typed_config": {"@type": f"{FILTERS}http.router.v3.Router"}}
    manager = {"@type": f"{FILTERS}network.http_connection_manager.v3.HttpConnectionManager",
               "stat_prefix": cluster, "route_config": routes, "http_filters": [router]}
    return {"name": "http", "typed_config": manager}


def listener(name, port, network_filter, transport=None):
    chain = {"filters": [network_filter]}
    if transport:
        chain["transport_socket"] = transport
    return {"name": name, "address": address(port), "filter_chains": [chain]}


def cluster(name, endpoint, transport=None, **more):
    endpoints = [{"lb_endpoints": [{"endpoint": {"address": endpoint}}]}]
    made = {"name": name, "type": "STATIC", "connect_timeout": "2s",
            "load_assignment": {"cluster_name": name, "endpoints": endpoints}, **more}
    if transport:
        made["transport_socket"] = transport
    return made


def protocol_options(**options):
    name = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
    return {"typed_extension_protocol_options": {name: {"@type": f"type.googleapis.com/{name}", **options}}}


class Proxy:
    running = []

    def __init__(self, program, agent_socket, directory, name, user, admin, listeners, clusters, **node):
        self.admin, self.log = admin, f"{directory}/{name}.log"
        http2 = protocol_options(explicit_http_config={"http2_protocol_options": {}})
        agent = cluster("agent", {"pipe": {"path": agent_socket}}, **http2)
        bootstrap = {
            "node": {"id": name, "cluster": "spire", **node},
            "admin": {"address": address(admin)},
            "static_resources": {"listeners": listeners, "clusters": [agent, *clusters]},
        }
        path = f"{directory}/{name}.json"
        with open(path, "w") as file:
            json.dump(bootstrap, file, indent=1)
        os.chmod(path, 0o644)
        self.process = subprocess.Popen(
            ["setpriv", "--reuid", str(user), "--regid", str(user), "--clear-groups", program, "-c", path,
             "--concurrency", "1", "--base-id", str(admin)],
            stdout=subprocess.DEVNULL, stderr=open(self.log, "w"))
        Proxy.running.append(self)

    def get(self, path):
        with urllib.request.urlopen(f"http://127.0.0.1:{self.admin}{path}", timeout=5) as answer:
            return answer.read().decode()

    def ready(self):
        try:
            return self.get("/ready").startswith("LIVE")
        except OSError:
            return False

    def stat(self, name):
        """A counter or a gauge; none where it does not exist."""
        for line in self.get("/stats?filter=" + "".join(c if c.isalnum() else "." for c in name)).splitlines():
            found, _, value = line.rpartition(": ")
            if found == name:
                return int(value)
        return None

    def first_expiry(self):
        """When the first of the identities in use ends."""
        entries = json.loads(self.get("/certs"))["certificates"]
        return min(c["expiration_time"] for entry in entries for c in entry["cert_chain"])

    def log_lines(self):
        with open(self.log) as file:
            return file.read().splitlines()

    def stop(self):
        if self.process.poll() is None:
            self.process.terminate()
            self.process.wait()


def handshake(port, certificate=None):
    """The server's certificate, in DER, after an exchange that shows that it took ours. Raises where it did not."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    if certificate:
        context.load_cert_chain(certificate)
    with socket.create_connection(("127.0.0.1", port), timeout=5) as raw, context.wrap_socket(raw) as stream:
        stream.sendall(b"GET / HTTP/1.0\r\n\r\n")
        # With TLS 1.3 a refusal comes with the first read.
        answer = stream.recv(100)
        if not answer:
            raise ssl.SSLError("the server closed")
        return stream.getpeercert(binary_form=True)
