"""What istioctl says of a proxy: compared with istiod's own view, and with what it says of Envoy."""

import os
import re
import subprocess

from lab import ISTIOD

PROXIES = {"client": "client-v1", "v1": "server-v1", "gateway": "gateway-v1"}
READINGS = ("all", "cluster", "listener", "route", "secret", "bootstrap", "eds")
# It wants one that parses, and never asks it.
KUBECONFIG = """
apiVersion: v1
kind: Config
current-context: none
clusters: [{name: none, cluster: {server: "http://127.0.0.1:1"}}]
contexts: [{name: none, context: {cluster: none, user: none}}]
users: [{name: none, user: {}}]
"""


class Istioctl:
    def __init__(self, lab):
        self.lab, self.dir, self.identity = lab, lab.folder("istioctl"), lab.pki.operator
        self.environment = {"HOME": self.dir, "KUBECONFIG": f"{self.dir}/kubeconfig"}
        with open(f"{self.dir}/kubeconfig", "w") as file:
            file.write(KUBECONFIG)

    def run(self, *arguments):
        return self.lab.run("control", f"{self.lab.bin}/istioctl", *arguments, env=self.environment, seconds=60)

    def ask_istiod(self, *arguments):
        # Without a revision it waits for Kubernetes.
        return self.run(*arguments, "-r", "default", "--xds-address", f"{ISTIOD}:15012", "--cert-dir", self.identity, "--timeout", "10s")

    def dump(self, label):
        """Each proxy's state, in files."""
        for pod in PROXIES:
            for name, path in (("dump", "config_dump?include_eds"), ("clusters", "clusters?format=json")):
                with open(f"{self.dir}/{label}-{pod}-{name}.json", "w") as file:
                    file.write(self.lab.get(pod, f"http://127.0.0.1:15000/{path}"))

    def matches(self, label):
        """What does not match, of clusters, listeners and routes of each proxy."""
        wrong = []
        for pod, name in PROXIES.items():
            said = self.ask_istiod("proxy-status", f"{name}.demo", "--file", f"{self.dir}/{label}-{pod}-dump.json")
            wrong += [f"{what} of {pod}: {said[-500:]}" for what in ("Clusters", "Listeners", "Routes") if f"{what} Match" not in said]
        return wrong

    def unsynced(self):
        said = self.ask_istiod("proxy-status")
        return [line for line in said.splitlines() if re.search(r"\b(STALE|ERROR|NOT SENT)\b", line)] if "demo" in said else [said[-500:]]

    def differences(self, ours, theirs):
        """Where the readings of two dumps differ; what two runs cannot have in common is left out."""
        found = []
        for pod in PROXIES:
            readings = [("dump", reading) for reading in READINGS] + [("clusters", "endpoint")]
            for file, reading in readings:
                one, other = (self.lines(reading, f"{self.dir}/{label}-{pod}-{file}.json") for label in (ours, theirs))
                if one != other:
                    shown = [f"  {side}: {line}" for side, lines, rest in ((ours, one, other), (theirs, other, one))
                             for line in lines if line not in rest]
                    found.append("\n".join([f"{reading} of {pod}", *shown[:6]]))
        return found

    def lines(self, reading, path):
        said = subprocess.run([f"{self.lab.bin}/istioctl", "proxy-config", reading, "--file", path], capture_output=True, text=True,
                              env={**os.environ, **self.environment}, timeout=60).stdout
        if reading == "bootstrap":
            # The name of the program, its TLS library, and the extensions that it has, are its own.
            said = re.sub(r'"binaryPath": "[^"]*"', "", said)
            said = re.sub(r'"ssl.version": "[^"]*"', "", said)
            said = re.sub(r'"extensions": \[.*?\n {12}\],?', "", said, flags=re.DOTALL)
        # Certificates are each proxy's, and so are the program's parts of the version.
        said = re.sub(r"\b[0-9a-f]{30,40}\b|\d{4}-\d\d-\d\dT\S+", "-", said)
        said = re.sub(r"(Envoy Version: [\d.]+)\S*", r"\1", said)
        lines = [" ".join(line.split()).rstrip(",") for line in said.splitlines()]
        return sorted(line for line in lines if line)
