"""Prometheus scrapes the mesh through the agents; every query of Istio's dashboards and of Kiali's graph must return data."""

import json
import os
import time
import urllib.parse

import mesh
from lab import ADDRESSES, APPLICATION_USER, PODS, Failed
from pki import GATEWAY_HOST

# Of all queries together: rates need two scrapes, one second apart.
ANSWERED = 120
LISTENS = "127.0.0.1:9095"
TESTS = f"{os.path.dirname(__file__)}/../.."
# Beside the repository: Istio's, not ours. Where it is absent, only Kiali's queries are asked.
DASHBOARDS = f"{TESTS}/../../../shared/corpus/istio-dashboards"


def queries():
    with open(f"{TESTS}/istio/queries.json") as file:
        known = json.load(file)
    found = set()
    for name in os.listdir(DASHBOARDS) if os.path.isdir(DASHBOARDS) else []:
        with open(f"{DASHBOARDS}/{name}") as file:
            found |= set(expressions(json.load(file)))
    found = {query for query in found if not any(metric in query for metric in known["metrics_of_others"])}
    for variable, value in known["variables"].items():
        found = {query.replace(variable, value) for query in found}
    unknown = [query for query in found if "$" in query]
    if unknown:
        raise Failed(f"an unknown variable in {unknown[0]}")
    found = {query for query in found if not any(part in query for part in known["empty_in_istio"])}
    kiali = known["kiali"]
    return found | {query.replace("$reporter", reporter).replace("$labels", kiali["labels"])
                    for query in kiali["queries"] for reporter in kiali["reporters"]}


def expressions(value):
    if isinstance(value, dict):
        for key, inner in value.items():
            if key == "expr" and isinstance(inner, str):
                yield inner
            else:
                yield from expressions(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from expressions(inner)


class Dashboards:
    def __init__(self, lab):
        self.lab = lab

    def start(self):
        folder = self.lab.folder("prometheus")
        targets = [f"{ADDRESSES[pod]}:15020" for pod in PODS]
        config = {"global": {"scrape_interval": "1s"}, "scrape_configs": [
            {"job_name": "mesh", "metrics_path": "/stats/prometheus", "static_configs": [{"targets": targets}]}]}
        with open(f"{folder}/prometheus.yml", "w") as file:
            json.dump(config, file)
        self.lab.start("prometheus", "control", ["prometheus", f"--config.file={folder}/prometheus.yml",
                                                 f"--storage.tsdb.path={folder}/data", f"--web.listen-address={LISTENS}"])

    def traffic(self):
        """A bit of everything: HTTP with all kinds of answers, gRPC, TCP; with mutual TLS and without; through the gateway."""
        def within(*command):
            self.lab.run("client", *command, user=APPLICATION_USER)

        def without(*command):
            self.lab.run("control", *command)

        curl = ("curl", "-s", "-m", "5", "-o", "/dev/null")
        within(*curl, *(f"http://{mesh.HOST}/{path}" for path in ("", "?codes=404", "?codes=500", "a", "b", "plain")))
        for protocol, port in (("grpc", mesh.GRPC), ("tcp", mesh.TCP)):
            within(f"{self.lab.bin}/client", f"{protocol}://{mesh.ADDRESS}:{port}")
        gateway = f"{GATEWAY_HOST}:{mesh.GATEWAY_HTTP}"
        without(*curl, "--connect-to", f"{gateway}:{ADDRESSES['gateway']}:{mesh.GATEWAY_HTTP}", f"http://{gateway}/")
        without(*curl, f"http://{ADDRESSES['v1']}:8080/")
        without(f"{self.lab.bin}/client", f"tcp://{ADDRESSES['v1']}:{mesh.TCP}")

    def empty(self, asked):
        """Those that return nothing."""
        urls = [f"http://{LISTENS}/api/v1/query?query={urllib.parse.quote(query)}" for query in asked]
        said = self.lab.run("control", "curl", "-s", "-g", "-m", "30", "-w", "\n", *urls, seconds=60)
        answers = [json.loads(line) for line in said.splitlines() if line.startswith("{")]
        if len(answers) != len(asked):
            return asked
        return [query for query, answer in zip(asked, answers) if not answer.get("data", {}).get("result")]

    def run(self):
        """The queries that return nothing, and how many there are."""
        self.start()
        every = sorted(queries())
        pending, stop = every, time.monotonic() + ANSWERED
        while pending and time.monotonic() < stop:
            self.traffic()
            pending = self.empty(pending)
        self.lab.stop("prometheus")
        return pending, len(every)
