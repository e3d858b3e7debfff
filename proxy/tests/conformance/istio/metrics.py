"""Istio's metrics against traffic that was counted one by one: every series, every label, on both reporters.

Source of the labels: Istio's docs, "Istio Standard Metrics".
"""

import json
import re
import time
from collections import Counter

import mesh
from lab import ADDRESSES, APPLICATION_USER, GATEWAY_WORKLOAD, PODS
from pki import GATEWAY_HOST

# A count is told at the end of a request or connection; a scrape may come before.
SETTLES = 10
# Milliseconds of a request that nobody measured, at most.
LONG = 60_000
# Of what is wrong, to a reader.
SHOWN = 20
# Of heads, which both sidecars add to, at most.
HEADS = 4096
HISTOGRAMS = ("istio_request_duration_milliseconds", "istio_request_bytes", "istio_response_bytes")
ENDS = ("workload", "workload_namespace", "principal", "app", "version", "canonical_service", "canonical_revision", "cluster")
NOBODY = ("unknown",) * 6 + ("latest", "unknown")
# What one connection asks, how often: method, path, bytes of its body, headers.
REQUESTS = [(12, "GET /counted 0"), (3, "POST /counted 100000"), (3, "GET /aborted 0 x-abort:yes"), (4, "GET /forbidden/x 0 x-version:v1"),
            (2, "GET /direct 0"), (2, "GET /redirect 0"), (2, "GET /mirror 0"), (1, "GET /delay 0"), (2, "GET /old/x?codes=500 0")]
CALLS, CONNECTIONS, CONNECTION_BYTES, THROUGH_GATEWAY = 6, 3, 70_000, 4


def end(side, app, version, workload=None):
    values = (workload or f"{app}-{version}", "demo", f"spiffe://cluster.local/ns/demo/sa/{app}", app, version, app, version, "Kubernetes")
    return {f"{side}_{name}": value for name, value in zip(ENDS, values)}


def nobody(side):
    return {f"{side}_{name}": value for name, value in zip(ENDS, NOBODY)}


def service(host=mesh.HOST, name=mesh.HOST, namespace="demo"):
    return {"destination_service": host, "destination_service_name": name, "destination_service_namespace": namespace}


CLIENT = end("source", "client", "v1")
# Without a connection to a server there is no certificate that was shown to it.
ALONE = {**CLIENT, **nobody("destination"), "source_principal": "unknown"}
GATEWAY = end("source", "gateway", "v1", GATEWAY_WORKLOAD)
# A client cannot tell what the server demands.
SOURCE = {"reporter": "source", "connection_security_policy": "unknown"}
DESTINATION = {"reporter": "destination", "connection_security_policy": "mutual_tls"}


class Metrics:
    def __init__(self, lab):
        self.lab, self.expected, self.at_least, self.at_most = lab, Counter(), Counter(), Counter()

    def scrape(self):
        """Every series of Istio's, by pod, metric and labels."""
        found = {}
        for pod in PODS:
            for line in self.lab.get(pod, "http://127.0.0.1:15090/stats/prometheus").splitlines():
                if line.startswith("istio_") and "_bucket{" not in line:
                    metric, labels, value = re.fullmatch(r"(\w+)\{(.*)\} (\S+)", line).groups()
                    labels = frozenset(re.findall(r'(\w+)="((?:[^"\\]|\\.)*)"', labels))
                    found[pod, metric, labels] = float(value)
        return found

    def expect(self, pod, metric, amount, *labels):
        key = pod, metric, frozenset({k: v for part in labels for k, v in part.items()}.items())
        self.expected[key] += amount
        return key

    def request(self, pod, labels, request, exact, protocol="http", code=None, flags="-", grpc=""):
        """`exact`: the proxy's client counted the bytes; otherwise they are known but for what sidecars add to heads."""
        labels = {**labels, "request_protocol": protocol, "response_code": str(code or request["code"]), "response_flags": flags,
                  "grpc_response_status": grpc}
        self.expect(pod, "istio_requests_total", 1, labels)
        bytes_of = {"istio_request_bytes": ("sent", "sent_body"), "istio_response_bytes": ("received", "received_body")}
        for metric in HISTOGRAMS:
            self.expect(pod, f"{metric}_count", 1, labels)
            key = pod, f"{metric}_sum", frozenset(labels.items())
            if metric not in bytes_of:
                # Told in whole milliseconds.
                least, most = (1000 if request.get("path") == "/delay" and exact else 0), request.get("milliseconds", LONG) + 1
            elif exact:
                least = most = request[bytes_of[metric][0]]
            else:
                least = request.get(bytes_of[metric][1], 1)
                most = least + HEADS
            self.at_least[key] += least
            self.at_most[key] += most

    def talk(self, *arguments, data):
        said = self.lab.run("client", "python3", f"{self.lab.bin}/talk.py", *arguments, user=APPLICATION_USER, data=data)
        return [json.loads(line) for line in said.splitlines()]

    def http(self):
        lines = [line for count, line in REQUESTS for _ in range(count)]
        answers = self.talk("http", mesh.HOST, mesh.ADDRESS, str(mesh.HTTP), data="\n".join(lines))
        for line, answer in zip(lines, answers, strict=True):
            if "x-abort" in line:
                self.request("client", {**SOURCE, **ALONE, **service()}, answer, True, flags="FI")
                continue
            if answer["path"] in ("/direct", "/redirect"):
                self.request("client", {**SOURCE, **ALONE, **service(namespace="unknown")}, answer, True)
                continue
            # Who refuses does not print its version.
            version = answer["version"] or "v1"
            self.both(version, CLIENT, answer, "client", flags="DI" if answer["path"] == "/delay" else "-")
            if answer["path"] == "/mirror":
                # Nobody waits for the copy.
                copy = {**answer, "milliseconds": LONG}
                self.request("v2", {**DESTINATION, **CLIENT, **end("destination", "server", "v2"), **service()}, copy, False)

    def both(self, version, source, answer, pod, exact=True, flags="-", **more):
        """`flags`: the source's."""
        labels = {**source, **end("destination", "server", version), **service()}
        self.request(pod, {**SOURCE, **labels}, answer, exact, flags=flags, **more)
        self.request(version, {**DESTINATION, **labels}, answer, False, **more)
        return labels

    def grpc(self):
        said = self.lab.run("client", f"{self.lab.bin}/client", "--count", str(CALLS), f"grpc://{mesh.ADDRESS}:{mesh.GRPC}", user=APPLICATION_USER)
        versions = re.findall(r"ServiceVersion=(v\d)", said)
        for version in versions:
            labels = self.both(version, CLIENT, {"code": 200}, "client", False, protocol="grpc", grpc="0")
            # Messages are told while the call lasts, so that labels of its end are not among theirs.
            for pod, reporter in (("client", "source"), (version, "destination")):
                for metric in ("istio_request_messages_total", "istio_response_messages_total"):
                    self.expect(pod, metric, 1, labels, {"reporter": reporter})
        return len(versions) == CALLS

    def tcp(self):
        for _ in range(CONNECTIONS):
            (answer,) = self.talk("tcp", mesh.ADDRESS, str(mesh.TCP), data="x" * CONNECTION_BYTES)
            labels = {**CLIENT, **end("destination", "server", answer["version"]), **service()}
            self.connection("client", {**SOURCE, **labels}, answer)
            self.connection(answer["version"], {**DESTINATION, **labels}, answer)
        # What the mesh does not know.
        (answer,) = self.talk("http", ADDRESSES["control"], ADDRESSES["control"], "15080", data="GET /ready 0")
        self.connection("client", {**SOURCE, **ALONE, **service("unknown", "PassthroughCluster", "unknown")}, answer)

    def connection(self, pod, labels, answer):
        labels = {**labels, "request_protocol": "tcp", "response_flags": "-"}
        for metric, amount in (("connections_opened", 1), ("connections_closed", 1), ("sent_bytes", answer["received"]), ("received_bytes", answer["sent"])):
            self.expect(pod, f"istio_tcp_{metric}_total", amount, labels)

    def gateway(self):
        for _ in range(THROUGH_GATEWAY):
            port = mesh.GATEWAY_HTTPS
            said = self.lab.run("control", "curl", "-s", "-m", "5", "--cacert", self.lab.pki.gateway[0], "--resolve",
                                f"{GATEWAY_HOST}:{port}:{ADDRESSES['gateway']}", f"https://{GATEWAY_HOST}:{port}/")
            for version in re.findall(r"^ServiceVersion=(v\d)", said, re.MULTILINE):
                self.both(version, GATEWAY, {"code": 200}, "gateway", False)

    def run(self):
        """What does not hold, in lines; and how many series were told."""
        before = self.settled()
        self.http()
        self.grpc()
        self.tcp()
        self.gateway()
        wrong = self.within(SETTLES, lambda: self.wrong(before)) + self.retried()
        return wrong, len(self.expected)

    def within(self, seconds, wrong):
        stop = time.monotonic() + seconds
        while (lines := wrong()) and time.monotonic() < stop:
            time.sleep(0.5)
        return lines

    def retried(self):
        """A client sends one request, whatever its sidecar makes of it; a server sees each attempt, wherever it goes."""
        before = self.settled()
        self.talk("http", mesh.HOST, mesh.ADDRESS, str(mesh.HTTP), data="GET /retry?codes=503:100 0")
        wanted = {("source", "503", "URX"): 1, ("destination", "503", "-"): 4}

        def wrong():
            seen = Counter()
            for key, value in self.scrape().items():
                if key[1] == "istio_requests_total" and (grown := value - before.get(key, 0)):
                    labels = dict(key[2])
                    seen[labels["reporter"], labels["response_code"], labels["response_flags"]] += grown
            return [] if seen == wanted else [f"a request that is tried four times: {dict(seen)} instead of {wanted}"]

        return self.within(SETTLES, wrong)

    def settled(self):
        """What earlier requests count is told by then."""
        last = None
        while (now := self.scrape()) != last:
            last = now
            time.sleep(1)
        return now

    def wrong(self, before):
        now = self.scrape()
        grown = {key: value - before.get(key, 0) for key, value in now.items() if value != before.get(key, 0)}
        sums = {key: value for key, value in grown.items() if key[1].endswith("_sum")}
        counts = {key: value for key, value in grown.items() if key not in sums}
        lines = [f"{shown(key)}: {counts.get(key, 0):g} instead of {self.expected[key]:g}"
                 for key in counts.keys() | self.expected.keys() if counts.get(key, 0) != self.expected[key]]
        lines += [f"{shown(key)}: {sums.get(key, 0):g} is not within {self.at_least[key]:g} and {self.at_most[key]:g}"
                  for key in sums.keys() | self.at_least.keys() if not self.at_least[key] <= sums.get(key, 0) <= self.at_most[key]]
        builds = [dict(key[2]) for key in now if key[1] == "istio_build"]
        if builds != [{"component": "proxy", "tag": "1.31.0"}] * len(PODS):
            lines.append(f"istio_build: {builds}")
        return sorted(lines)[:SHOWN]


def shown(key):
    pod, metric, labels = key
    return f"{pod}: {metric} " + " ".join(f"{name}={value}" for name, value in sorted(labels))
