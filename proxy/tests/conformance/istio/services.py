"""What the client's sidecar takes, beside Envoy in its place, in meshes of few and of many services.

As a program it puts the committed results into the README.
"""

import datetime
import json
import os
import platform
import re
import shutil
import statistics
import subprocess
import time

import mesh
from lab import APPLICATION_USER, Failed, wait_for

SIZES = [int(size) for size in os.environ.get("ISTIO_SERVICES", "4 500 2000").split()]
ROUNDS = int(os.environ.get("ISTIO_ROUNDS", "3"))
REQUESTS, WARM_UP, CONNECTIONS = 20_000, 1_000, 32
# Until memory that only the start needed has been given back, by either proxy.
SETTLE_SECONDS = 10
# Services that the mesh has without any that are made up.
OWN = 2

HERE = os.path.dirname(os.path.abspath(__file__))
REPOSITORY = f"{HERE}/../../../.."
RESULTS, README = f"{HERE}/services.json", f"{REPOSITORY}/README.md"
BEGIN, END = "<!-- istio: begin -->\n", "<!-- istio: end -->"
# Name in the results, what the table says, at most what part of Envoy's.
FIGURES = (
    ("settled", "RSS, KB", (1 / 6, "a sixth")),
    ("loaded", "RSS after {requests} requests, KB", (1 / 6, "a sixth")),
    ("cpu", "CPU per request, us", (1 / 2, "half")),
    ("peak", "RSS at its peak, KB", None),
    ("ready", "start to ready, ms", None),
)


def resources(size):
    """Services that nobody calls, each with two instances; and no spans, for which there is no collector."""
    services = [mesh.network(
        "ServiceEntry", f"service-{number}", hosts=[f"service-{number}.demo.svc.cluster.local"], location="MESH_INTERNAL",
        resolution="STATIC", addresses=[f"10.97.{number // 250}.{number % 250 + 1}"],
        ports=[{"number": mesh.HTTP, "name": "http", "protocol": "HTTP", "targetPort": 8080}],
        endpoints=[{"address": f"10.{98 + instance}.{number // 250}.{number % 250 + 1}", "serviceAccount": f"service-{number}"}
                   for instance in range(2)])
        for number in range(size - OWN)]
    return [mesh.resource("telemetry", "Telemetry", "no-spans", tracing=[{"disableSpanReporting": True}]), *services]


class Process:
    """The proxy itself, which the agent has started: what the kernel says of it."""

    def __init__(self, lab, pod, program):
        pids = subprocess.run(["ip", "netns", "pids", lab.namespace(pod)], capture_output=True, text=True, check=True).stdout.split()
        path = f"{lab.bin}/{program}"
        self.pid = next((pid for pid in pids if os.path.exists(f"/proc/{pid}/exe") and os.readlink(f"/proc/{pid}/exe") == path), None)
        if self.pid is None:
            raise Failed(f"{pod} has no process of {path}")

    def fields(self):
        """Those of its stat after the name, which is in brackets."""
        with open(f"/proc/{self.pid}/stat") as file:
            return file.read().rpartition(")")[2].split()

    def cpu(self):
        """Seconds, of user and system."""
        return sum(map(int, self.fields()[11:13])) / os.sysconf("SC_CLK_TCK")

    def started(self):
        """Seconds after the machine's start."""
        return int(self.fields()[19]) / os.sysconf("SC_CLK_TCK")

    def memory(self, which):
        with open(f"/proc/{self.pid}/status") as file:
            return int(re.search(rf"^{which}:\s+(\d+) kB", file.read(), re.MULTILINE)[1])


class Services:
    def __init__(self, lab, say, programs):
        self.lab, self.say, self.programs = lab, say, programs
        self.file = f"{lab.folder('istiod/config')}/services.yaml"
        # Where another user may read it.
        self.loader = shutil.copy(f"{HERE}/load.py", lab.bin)

    def run(self):
        try:
            values = {str(size): self.measure(size) for size in SIZES}
        finally:
            if os.path.exists(self.file):
                os.remove(self.file)
            self.lab.start_istiod()
        results = {**machine(), "rounds": ROUNDS, "requests": REQUESTS, "connections": CONNECTIONS, "services": values}
        print(table(results), end="")
        wanted = os.environ.get("ISTIO_RESULTS")
        if wanted:
            with open(wanted, "w") as file:
                file.write(json.dumps(results, indent=1) + "\n")
        if len(self.programs) > 1:
            missed = [row for row in rows(results) if "**missed**" in row]
            self.say(not missed, "services: memory and CPU of the client's sidecar beside Envoy's", *missed)

    def measure(self, size):
        """Every round's values, by program and figure. The servers' sidecars are the last program's, for all rounds."""
        with open(self.file, "w") as file:
            file.write(mesh.yaml(resources(size)))
        self.lab.start_istiod()
        for pod in ("v1", "v2"):
            self.lab.start_proxy(pod, self.programs[-1])
        self.lab.wait_ready(("v1", "v2"))
        values = {program: {name: [] for name, *_ in FIGURES} for program in self.programs}
        for turn in range(ROUNDS):
            # Each program is first in turn.
            for program in self.programs[turn % len(self.programs):] + self.programs[:turn % len(self.programs)]:
                seen = self.one(program, size)
                for name, value in seen.items():
                    values[program][name].append(value)
                print(f"        {size} services, round {turn + 1}, {program}: {seen}", flush=True)
        return values

    def one(self, program, size):
        self.lab.start_proxy("client", program)
        ready = self.lab.run("client", "bash", "-c", "until curl -sf -m 1 -o /dev/null http://127.0.0.1:15021/healthz/ready; do sleep 0.01; done; "
                             "cat /proc/uptime", seconds=90)
        process = Process(self.lab, "client", program)
        ready = float(ready.split()[0]) - process.started()
        wait_for("all clusters", lambda: self.clusters() > size)
        time.sleep(SETTLE_SECONDS)
        settled = process.memory("VmRSS")
        self.load(WARM_UP)
        before = process.cpu()
        self.load(REQUESTS)
        cpu = process.cpu() - before
        return {"settled": settled, "loaded": process.memory("VmRSS"), "cpu": round(cpu / REQUESTS * 1e6, 1),
                "peak": process.memory("VmHWM"), "ready": round(ready * 1e3)}

    def clusters(self):
        said = self.lab.get("client", "http://127.0.0.1:15000/stats?filter=^cluster_manager.active_clusters$")
        return int(said.split()[-1]) if said else 0

    def load(self, requests):
        said = self.lab.run("client", "python3", self.loader, mesh.ADDRESS, str(mesh.HTTP), mesh.HOST, str(CONNECTIONS), str(requests),
                            user=APPLICATION_USER, seconds=300)
        if said.split() != [str(requests)] * 2:
            raise Failed(f"{requests} requests, answered with 200, of all: {said[-300:]}")


def machine():
    with open("/proc/cpuinfo") as file:
        cpu = re.search(r"^model name\s*: (.*)", file.read(), re.MULTILINE)[1]
    commit = subprocess.run(["git", "-C", HERE, "rev-parse", "--short=12", "HEAD"], capture_output=True, text=True).stdout.strip()
    return {"cpu": cpu, "cores": os.cpu_count(), "kernel": platform.release(), "commit": commit,
            "date": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d %H:%M UTC")}


def number(value):
    return "-" if value is None else f"{value:,.0f}" if value >= 1000 else f"{value:.4g}"


def rows(results):
    """A row for each figure and size: Pillion, Envoy, their ratio, and what is wanted of it."""
    for name, title, most in FIGURES:
        for size, programs in results["services"].items():
            ours, theirs = (statistics.median(programs[program][name]) if program in programs else None for program in ("pillion", "envoy"))
            ratio = ours / theirs if ours and theirs else None
            wanted = f"at most {most[1]}" if most else ""
            if ratio and most and ratio > most[0]:
                wanted += ": **missed**"
            shown = (number(ours), number(theirs), f"{ratio:.2f} x" if ratio else "")
            yield f"| {int(size):,} services: {title.format(requests=format(results['requests'], ','))} | {' | '.join(shown)} | {wanted} |"


def table(results):
    return "\n".join([
        f"{results['cpu']}, {results['cores']} cores, {results['date']}, commit {results['commit']}, `ISTIO_PARTS=services "
        f"proxy/tests/conformance/istio/run`: medians of {results['rounds']} interleaved rounds.", "",
        "| the client's sidecar under istiod | Pillion | Envoy | measured | wanted |", "|---|---|---|---|---|", *rows(results), ""])


def main():
    with open(RESULTS) as file:
        shown = table(json.load(file))
    with open(README) as file:
        before, mark, rest = file.read().partition(BEGIN)
    _, end, after = rest.partition(END)
    if not mark or not end:
        raise SystemExit("README.md: no marks where the figures begin and end")
    with open(README, "w") as file:
        file.write(before + mark + shown + end + after)


if __name__ == "__main__":
    main()
