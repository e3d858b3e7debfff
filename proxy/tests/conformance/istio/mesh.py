"""What the mesh is told: a service of two versions with rules for its traffic, who may call it, and a gateway."""

import json
from collections.abc import Callable
from typing import NamedTuple

from pki import GATEWAY_HOST, SEALED_HOST, USERS_ISSUER

HOST, ADDRESS = "server.demo.svc.cluster.local", "10.96.0.10"
# Of no protocol that the mesh is told: it must find out. Plaintext is taken there, too.
UNNAMED = 8082
# The application's own TLS, which nobody on the way ends; and a protocol in which the server speaks first.
HTTP, HASHED, GRPC, TCP, SEALED, SERVER_FIRST = 80, 8083, 7070, 9090, 9443, 9091
GATEWAY_HTTPS, GATEWAY_HTTP, GATEWAY_MUTUAL, GATEWAY_MESH, GATEWAY_SEALED = 8443, 8080, 8444, 8445, 8446


class Setup(NamedTuple):
    """What istiod is started with."""

    environment: dict
    mesh_config: dict
    resources: Callable


def resource(group, kind, name, namespace="demo", **spec):
    return {"apiVersion": f"{group}.istio.io/v1", "kind": kind, "metadata": {"name": name, "namespace": namespace}, "spec": spec}


def network(kind, name, namespace="demo", **spec):
    return resource("networking", kind, name, namespace, **spec)


def security(kind, name, namespace="demo", **spec):
    return resource("security", kind, name, namespace, **spec)


def workload(app, version, address):
    labels = {"app": app, "version": version, "service.istio.io/canonical-name": app, "service.istio.io/canonical-revision": version}
    return network("WorkloadEntry", f"{app}-{version}", address=address, serviceAccount=app, labels=labels)


def to(subset=None, weight=None, port=None):
    destination = {"host": HOST}
    if subset:
        destination["subset"] = subset
    if port:
        destination["port"] = {"number": port}
    return {"destination": destination} if weight is None else {"destination": destination, "weight": weight}


def when(name, match, **what):
    return {"name": name, "match": [match], **({} if "redirect" in what or "directResponse" in what else {"route": [to("v1")]}), **what}


def prefix(path):
    return {"uri": {"prefix": path}}


def routes():
    always = {"percentage": {"value": 100}}
    return [
        when("abort", {"headers": {"x-abort": {"exact": "yes"}}}, fault={"abort": {**always, "httpStatus": 418}}),
        when("delay", prefix("/delay"), fault={"delay": {**always, "fixedDelay": "1s"}}),
        when("mirror", prefix("/mirror"), mirrors=[{"destination": to("v2")["destination"], **always}]),
        when("rewrite", prefix("/old/"), rewrite={"uri": "/new/", "authority": "renamed.example"}, headers={
            "request": {"set": {"x-set": "a"}, "add": {"x-add": "b"}, "remove": ["x-gone"]},
            "response": {"add": {"x-resp": "c"}, "remove": ["server"]}}),
        when("retry", prefix("/retry"), timeout="3s", route=[to()],
             retries={"attempts": 3, "perTryTimeout": "500ms", "retryOn": "5xx,reset,connect-failure"}),
        when("hashed", prefix("/hashed/"), route=[to(port=HASHED)]),
        when("redirect", {"uri": {"exact": "/redirect"}},
             redirect={"uri": "/there", "authority": "elsewhere.example", "redirectCode": 307}),
        when("pinned", {"headers": {"x-version": {"exact": "v1"}}}),
        when("direct", {"uri": {"exact": "/direct"}}, directResponse={"status": 203, "body": {"string": "direct body"}}),
        {"name": "weighted", "route": [to("v1", 80), to("v2", 20)]},
    ]


def gateway_server(number, protocol, host=GATEWAY_HOST, **tls):
    port = {"number": number, "name": f"{protocol.lower()}-{number}", "protocol": protocol}
    return {"port": port, "hosts": [host], **({"tls": tls} if tls else {})}


def services(addresses):
    ports = [{"number": HTTP, "name": "http", "protocol": "HTTP", "targetPort": 8080},
             {"number": HASHED, "name": "http-hashed", "protocol": "HTTP"},
             {"number": GRPC, "name": "grpc", "protocol": "GRPC"}, {"number": TCP, "name": "tcp", "protocol": "TCP"},
             {"number": UNNAMED, "name": "unnamed"}, {"number": SEALED, "name": "tls", "protocol": "TLS"},
             {"number": SERVER_FIRST, "name": "tcp-server-first", "protocol": "TCP"}]
    return [
        network("ServiceEntry", "server", hosts=[HOST], addresses=[ADDRESS], location="MESH_INTERNAL", resolution="STATIC",
                ports=ports, workloadSelector={"labels": {"app": "server"}}),
        workload("server", "v1", addresses["v1"]),
        workload("server", "v2", addresses["v2"]),
        workload("client", "v1", addresses["client"]),
        network("ServiceEntry", "zipkin", "infra", hosts=["zipkin.infra.svc.cluster.local"], location="MESH_EXTERNAL",
                resolution="STATIC", ports=[{"number": 9411, "name": "http", "protocol": "HTTP"}],
                endpoints=[{"address": addresses["control"]}]),
    ]


def entrance(pki):
    files = {"serverCertificate": pki.gateway[0], "privateKey": pki.gateway[1]}
    return [
        network("Gateway", "shop", selector={"istio": "gateway"}, servers=[
            gateway_server(GATEWAY_HTTPS, "HTTPS", mode="SIMPLE", **files),
            gateway_server(GATEWAY_MUTUAL, "HTTPS", mode="MUTUAL", caCertificates=pki.root, **files),
            gateway_server(GATEWAY_MESH, "HTTPS", mode="ISTIO_MUTUAL"),
            gateway_server(GATEWAY_HTTP, "HTTP"),
            gateway_server(GATEWAY_SEALED, "TLS", SEALED_HOST, mode="PASSTHROUGH")]),
        network("VirtualService", "sealed", hosts=[SEALED_HOST], gateways=["shop"], tls=[
            {"match": [{"port": GATEWAY_SEALED, "sniHosts": [SEALED_HOST]}], "route": [to(port=SEALED)]}]),
        network("VirtualService", "shop", hosts=[GATEWAY_HOST], gateways=["shop"], http=[
            {"route": [to(port=HTTP)], "corsPolicy": {"allowOrigins": [{"exact": "https://ui.example"}], "allowMethods": ["GET"]}}]),
    ]


def rules(pki):
    jwt = {"issuer": USERS_ISSUER, "audiences": ["shop"], "jwks": pki.key_set(), "forwardOriginalToken": True,
           "outputClaimToHeaders": [{"header": "x-user", "claim": "sub"}]}
    servers = {"matchLabels": {"app": "server"}}
    callers = [f"cluster.local/ns/demo/sa/{name}" for name in ("client", "gateway")]
    return [
        network("DestinationRule", "server", host=HOST, subsets=[{"name": v, "labels": {"version": v}} for v in ("v1", "v2")],
                trafficPolicy={
                    "portLevelSettings": [{"port": {"number": HASHED},
                                           "loadBalancer": {"consistentHash": {"httpHeaderName": "x-user"}}}],
                    "loadBalancer": {"simple": "LEAST_REQUEST"},
                    "connectionPool": {
                        "tcp": {"maxConnections": 100, "connectTimeout": "2s", "tcpKeepalive": {"time": "600s", "interval": "60s"}},
                        "http": {"http1MaxPendingRequests": 50, "http2MaxRequests": 200, "maxRequestsPerConnection": 100,
                                 "maxRetries": 5, "idleTimeout": "300s"}},
                    "outlierDetection": {"consecutive5xxErrors": 5, "interval": "5s", "baseEjectionTime": "10s",
                                         "maxEjectionPercent": 50}}),
        network("VirtualService", "server", hosts=[HOST], http=routes()),
        security("PeerAuthentication", "default", "istio-system", mtls={"mode": "STRICT"}),
        security("PeerAuthentication", "server", selector=servers, mtls={"mode": "STRICT"},
                 portLevelMtls={str(UNNAMED): {"mode": "PERMISSIVE"}}),
        security("RequestAuthentication", "server", selector=servers, jwtRules=[jwt]),
        security("AuthorizationPolicy", "deny-forbidden", selector=servers, action="DENY",
                 rules=[{"to": [{"operation": {"paths": ["/forbidden*"], "ports": ["8080"]}}]}]),
        security("AuthorizationPolicy", "allow", selector=servers, action="ALLOW", rules=[
            {"from": [{"source": {"principals": callers}}], "to": [{"operation": {"notPaths": ["/jwt*"]}}]},
            {"from": [{"source": {"requestPrincipals": [f"{USERS_ISSUER}/*"]}}],
             "to": [{"operation": {"paths": ["/jwt*"], "methods": ["GET"]}}],
             "when": [{"key": "request.auth.claims[groups]", "values": ["admin"]}]},
            {"to": [{"operation": {"ports": [str(UNNAMED)], "paths": ["/open"]}}]},
            {"to": [{"operation": {"ports": [str(port) for port in (TCP, SEALED, SERVER_FIRST)]}}]}]),
        resource("telemetry", "Telemetry", "mesh", "istio-system", tracing=[
            {"providers": [{"name": "zipkin"}], "randomSamplingPercentage": 100,
             "customTags": {"mesh": {"literal": {"value": "yes1"}}, "agent": {"header": {"name": "user-agent", "defaultValue": "none"}}}}]),
    ]


def open_mesh(pki, addresses):
    """No rule but a way in, and one part of the service that is called in plaintext."""
    plain = {"name": "plain", "labels": {"version": "v1"}, "trafficPolicy": {"tls": {"mode": "DISABLE"}}}
    return [
        *services(addresses), *entrance(pki),
        network("DestinationRule", "server", host=HOST, subsets=[plain]),
        network("VirtualService", "server", hosts=[HOST], http=[{"match": [prefix("/plain")], "route": [to("plain")]}, {"route": [to()]}]),
    ]


def everything(pki, addresses):
    return [*services(addresses), *rules(pki), *entrance(pki)]


MESH_CONFIG = {
    "trustDomain": "cluster.local",
    "accessLogFile": "/dev/stdout",
    "enableTracing": True,
    "defaultConfig": {"discoveryAddress": "istiod.istio-system.svc:15012"},
    "extensionProviders": [{"name": "zipkin", "zipkin": {"service": "zipkin.infra.svc.cluster.local", "port": 9411}}],
}
METRICS = {"defaultProviders": {"metrics": ["prometheus"]}, "extensionProviders": [{"name": "prometheus", "prometheus": {}}]}

# Istio's own filters are left out, so that upstream Envoy takes what istiod sends.
VANILLA = Setup({"PILOT_ENABLE_METADATA_EXCHANGE": "false", "PILOT_ENABLE_ALPN_FILTER": "false"}, MESH_CONFIG, everything)
# As Istio is installed: metadata exchange, ALPN and metrics.
FULL = Setup({}, {**MESH_CONFIG, **METRICS, "extensionProviders": MESH_CONFIG["extensionProviders"] + METRICS["extensionProviders"]}, everything)
# The same of a mesh that nobody gave a rule: mutual TLS is for those who can, logs and traces are for nobody.
DEFAULT = Setup({}, {"trustDomain": "cluster.local", **METRICS}, lambda _pki, addresses: services(addresses))
OPEN = Setup({}, DEFAULT.mesh_config, open_mesh)


def yaml(documents):
    """JSON is YAML."""
    return "\n---\n".join(json.dumps(document) for document in documents)
