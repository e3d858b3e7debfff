"""What must hold in Istio's mesh with the program under test in it. `run` says how to choose parts."""

import os
import shutil
import signal
import subprocess
import sys
import threading
import time

import mesh
from dashboards import DASHBOARDS, Dashboards
from istioctl import Istioctl
from lab import APPLICATION_USER, PODS, Failed, Lab, wait_for
from logs import Logs
from metrics import Metrics
from services import Services
from traffic import MARKER, Traffic

SECONDS = int(os.environ.get("ISTIO_SECONDS", "75"))
AWAY_SECONDS = int(os.environ.get("ISTIO_AWAY_SECONDS", "20"))
# Who runs where, by the name of the part.
OURS, ENVOY = "pillion", "envoy"
PLACEMENTS = {
    "traffic": dict.fromkeys(PODS, OURS),
    "servers": {"client": ENVOY, "gateway": ENVOY, "v1": OURS, "v2": OURS},
    "callers": {"client": OURS, "gateway": OURS, "v1": ENVOY, "v2": ENVOY},
}
# What istiod is told, if not what upstream Envoy takes.
SETUPS = {"full": mesh.FULL, "default": mesh.DEFAULT, "dashboards": mesh.OPEN}


class Checks:
    def __init__(self, work):
        self.lab, self.begin, self.failed = Lab(work), time.monotonic(), []
        self.has_envoy = os.path.exists(f"{work}/bin/{ENVOY}")
        self.istioctl = Istioctl(self.lab)

    def say(self, holds, text, *wrong):
        print(f"{time.monotonic() - self.begin:6.1f} s  {'passed' if holds else 'FAILED'}  {text}", flush=True)
        for line in wrong:
            print(f"        {line}", flush=True)
        if not holds:
            self.failed.append(text)

    def place(self, placement, mode="REDIRECT", **more):
        for pod in PODS:
            self.lab.start_proxy(pod, placement[pod], mode, **(more if pod == "v2" else {}))
        self.lab.wait_ready()

    def converse(self, name, placement, mode="REDIRECT"):
        """All of the traffic, what istiod thinks of it, and what an eavesdropper sees."""
        self.place(placement, mode)
        packets = f"{self.lab.work}/{name}.pcap"
        command = ["tcpdump", "-i", "to-v1", "--immediate-mode", "-U", "-Z", "root", "-s", "0", "-w", packets]
        self.lab.start("tcpdump", "control", command)
        wait_for("the capture", lambda: os.path.exists(packets))
        traffic = Traffic(self.lab, mode)
        traffic.run()
        self.lab.stop("tcpdump")
        count = traffic.passed + len(traffic.failed)
        self.say(not traffic.failed, f"{name}: {traffic.passed} of {count} checks, {mode}")
        self.accepted(name)
        with open(packets, "rb") as file:
            seen = file.read()
        # 0x17 is TLS's application data: without any, nothing was captured.
        self.say(b"\x17\x03\x03" in seen and MARKER.encode() not in seen, f"{name}: {len(seen)} captured bytes show no plaintext")

    def accepted(self, name):
        refused, unsynced = self.lab.refused(), self.istioctl.unsynced()
        self.say(not refused and not unsynced, f"{name}: nothing is refused, everything is in sync", *refused, *unsynced)

    def tproxy(self):
        self.converse("tproxy", PLACEMENTS["traffic"], "TPROXY")

    def full(self):
        """With Istio's own filters, which only ours have."""
        self.converse("full", PLACEMENTS["traffic"])
        self.matches("full")
        wrong, count = Metrics(self.lab).run()
        self.say(not wrong, f"full: {count} series of Istio's metrics tell what was sent, with every label", *wrong)
        self.logs("full")

    def envoy(self):
        """Not by default: tells whether a check that fails is wrong itself."""
        self.converse("envoy", dict.fromkeys(PODS, ENVOY))
        self.logs("envoy")
        self.converse("envoy", dict.fromkeys(PODS, ENVOY), "TPROXY")

    def logs(self, name):
        wrong, count = Logs(self.lab).run()
        self.say(not wrong, f"{name}: {count} fields of access logs are as they must be", *wrong)

    def default(self):
        self.place(PLACEMENTS["traffic"])
        self.accepted("default")

    def dashboards(self):
        if not shutil.which("prometheus"):
            if os.environ.get("PILLION_REQUIRE_PEERS") == "1":
                raise Failed("there is no Prometheus, and PILLION_REQUIRE_PEERS=1")
            print("        SKIP dashboards: there is no Prometheus")
            return
        if not os.path.isdir(DASHBOARDS):
            print("        SKIP Istio's dashboards, which are not beside the repository: Kiali's queries alone")
        self.place(PLACEMENTS["traffic"])
        empty, count = Dashboards(self.lab).run()
        self.say(not empty, f"dashboards: {count - len(empty)} of {count} queries of Istio's dashboards and of Kiali's graph return data", *empty)

    def matches(self, label):
        self.istioctl.dump(label)
        wrong = self.istioctl.matches(label)
        self.say(not wrong, f"istioctl, {label}: clusters, listeners and routes of client, server and gateway match istiod's", *wrong)

    def readings(self):
        self.place(PLACEMENTS["traffic"])
        self.matches(OURS)
        if not self.has_envoy:
            print("        SKIP the comparison with Envoy: there is none")
            return
        self.place(dict.fromkeys(PODS, ENVOY))
        self.istioctl.dump(ENVOY)
        wrong = self.istioctl.differences(OURS, ENVOY)
        self.say(not wrong, "istioctl: reads ours as it reads Envoy's", *wrong)

    def rotation(self):
        """The second server's certificates live two minutes, which its agent renews after one."""
        self.place(PLACEMENTS["traffic"], SECRET_TTL="2m")
        serials, restarted = set(self.lab.serials("v2")), False
        with Steady(self.lab) as steady:
            end = time.monotonic() + SECONDS
            while time.monotonic() < end:
                serials |= self.lab.serials("v2")
                if not restarted and time.monotonic() > end - SECONDS / 2:
                    self.lab.start_istiod()
                    restarted = True
                time.sleep(1)
        # The root stays, and is one.
        self.say(steady.sent > 0 and steady.lost == 0 and len(serials) > 2,
                 f"rotation: {SECONDS} s with {len(serials)} certificates and a restart of istiod: {steady.sent} requests, {steady.lost} lost")

    def outage(self):
        self.place(PLACEMENTS["traffic"])
        with Steady(self.lab) as steady:
            time.sleep(2)
            self.lab.stop("istiod", signal.SIGKILL)
            time.sleep(AWAY_SECONDS)
            self.lab.start_istiod()
            time.sleep(5)
        self.say(steady.sent > 0 and steady.lost == 0, f"outage: istiod is away for {AWAY_SECONDS} s: {steady.sent} requests, {steady.lost} lost")
        wait_for("everything in sync again", lambda: not self.istioctl.unsynced())

    def services(self):
        Services(self.lab, self.say, [OURS, *([ENVOY] if self.envoy else [])]).run()

    def run(self, parts):
        self.lab.lay_wires()
        self.lab.start_applications()
        for part in parts:
            try:
                setup = SETUPS.get(part, mesh.VANILLA)
                if self.lab.setup is not setup:
                    self.lab.start_istiod(setup)
                if part not in PLACEMENTS:
                    getattr(self, part)()
                elif self.has_envoy or ENVOY not in PLACEMENTS[part].values():
                    self.converse(part, PLACEMENTS[part])
                else:
                    print(f"        SKIP {part}: there is no Envoy")
            except (Failed, subprocess.TimeoutExpired) as e:
                self.say(False, f"{part}: {e}", *self.lab.refused())


class Steady:
    """Requests one after the other, by a client that does not repeat them."""

    BATCH = 50

    def __init__(self, lab):
        self.lab, self.sent, self.lost, self.stop = lab, 0, 0, threading.Event()
        self.thread = threading.Thread(target=self.send)

    def send(self):
        while not self.stop.is_set():
            codes = self.lab.run("client", "curl", "-s", "-m", "5", "-o", "/dev/null", "-w", "%{http_code}\n",
                                 f"http://{mesh.HOST}/steady?[1-{self.BATCH}]", user=APPLICATION_USER, seconds=300).split()
            self.sent += self.BATCH
            self.lost += self.BATCH - codes.count("200")
            time.sleep(0.2)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.stop.set()
        self.thread.join()


# Not among them: "services", which measures for a quarter of an hour.
PARTS = ("traffic", "servers", "callers", "tproxy", "readings", "rotation", "outage", "full", "default", "dashboards")


def main(work):
    parts = os.environ.get("ISTIO_PARTS", " ".join(PARTS)).split()
    checks = Checks(work)
    try:
        checks.run(parts)
        if checks.failed:
            for name in sorted(os.listdir(f"{work}/logs")):
                print(f"--- the end of {name}")
                print("\n".join(line[:300] for line in checks.lab.log(name.removesuffix(".log")).splitlines()[-8:]))
    finally:
        checks.lab.close()
    print(f"istio: {'all holds' if not checks.failed else f'{len(checks.failed)} do not hold'}")
    sys.exit(1 if checks.failed else 0)


if __name__ == "__main__":
    main(*sys.argv[1:])
