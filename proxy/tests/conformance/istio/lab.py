"""Network namespaces as pods around one switch; istiod, agents with their proxies, and applications in them."""

import json
import os
import re
import shutil
import signal
import subprocess
import time

import mesh
from pki import MESH_ISSUER, Pki

ADDRESSES = {"control": "10.87.0.1", "client": "10.87.0.11", "v1": "10.87.0.12", "v2": "10.87.0.13", "gateway": "10.87.0.20"}
PODS = ("client", "v1", "v2", "gateway")
PROXY_USER, APPLICATION_USER = "1337", "65534"
ISTIOD = "istiod.istio-system.svc"
# As Istio's installation names it, which its dashboards ask for.
GATEWAY_WORKLOAD = "istio-ingressgateway"
# Nothing takes a tenth of it.
LIMIT = 90


class Failed(Exception):
    pass


def wait_for(what, condition, seconds=LIMIT):
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise Failed(f"{what}: not within {seconds} s")
        time.sleep(0.1)


def ip(*arguments):
    subprocess.run(["ip", *arguments], check=True)


class Lab:
    def __init__(self, work):
        self.work, self.bin = work, f"{work}/bin"
        self.running, self.modes, self.pki, self.setup = {}, {}, Pki(self.folder("pki")), None
        # Names carry the process, so that runs at the same time do not meet.
        self.prefix = f"pi{os.getpid()}"

    def folder(self, name):
        path = f"{self.work}/{name}"
        os.makedirs(path, exist_ok=True)
        return path

    def namespace(self, pod):
        return f"{self.prefix}-{pod}"

    def lay_wires(self):
        control = self.namespace("control")
        ip("netns", "add", control)
        ip("-n", control, "link", "set", "lo", "up")
        ip("-n", control, "link", "add", "switch", "type", "bridge")
        ip("-n", control, "addr", "add", f"{ADDRESSES['control']}/24", "dev", "switch")
        ip("-n", control, "link", "set", "switch", "up")
        for pod in PODS:
            self.add_pod(pod)
        with open(f"{self.work}/hosts", "w") as hosts:
            hosts.write(f"127.0.0.1 localhost\n{ADDRESSES['control']} {ISTIOD}\n{mesh.ADDRESS} {mesh.HOST}\n")

    def add_pod(self, pod):
        namespace = self.namespace(pod)
        ip("netns", "add", namespace)
        ip("-n", namespace, "link", "set", "lo", "up")
        ip("-n", namespace, "link", "add", "eth0", "type", "veth", "peer", "name", f"to-{pod}", "netns", self.namespace("control"))
        ip("-n", self.namespace("control"), "link", "set", f"to-{pod}", "master", "switch", "up")
        ip("-n", namespace, "addr", "add", f"{ADDRESSES[pod]}/24", "dev", "eth0")
        ip("-n", namespace, "link", "set", "eth0", "up")
        ip("-n", namespace, "route", "add", "default", "via", ADDRESSES["control"])

    def within(self, pod, command, user=None):
        """The command in the pod, where names are those of the mesh."""
        as_user = ["setpriv", "--reuid", user, "--clear-groups"] if user else []
        mounted = 'mount --bind "$0" /etc/hosts && exec "$@"'
        return ["ip", "netns", "exec", self.namespace(pod), "unshare", "-m", "bash", "-c", mounted, f"{self.work}/hosts", *as_user, *command]

    def run(self, pod, *command, user=None, env=None, seconds=30, data=""):
        done = subprocess.run(self.within(pod, command, user), capture_output=True, text=True, timeout=seconds, input=data,
                              env={**os.environ, **(env or {})}, errors="replace")
        return done.stdout if done.returncode == 0 else done.stdout + done.stderr

    def get(self, pod, url):
        return self.run(pod, "curl", "-s", "-m", "10", url)

    def status(self, pod, url):
        return self.run(pod, "curl", "-s", "-m", "5", "-o", "/dev/null", "-w", "%{http_code}", url)

    def start(self, name, pod, command, env=None):
        self.stop(name)
        path = f"{self.folder('logs')}/{name}.log"
        log = open(path, "a")
        # Proxies open their standard output by name, as another user.
        os.chmod(path, 0o666)
        self.running[name] = subprocess.Popen(self.within(pod, command), stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                              env=env, start_new_session=True)

    def stop(self, name, how=signal.SIGTERM):
        process = self.running.pop(name, None)
        if process is None:
            return
        process.send_signal(how)
        try:
            process.wait(LIMIT)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def log(self, name):
        with open(f"{self.work}/logs/{name}.log", errors="replace") as file:
            return file.read()

    def close(self):
        for name in list(self.running):
            self.stop(name)
        for pod in (*PODS, "control"):
            subprocess.run(["ip", "netns", "del", self.namespace(pod)], capture_output=True)

    def start_istiod(self, setup=None):
        """With another setup, or with the one that it had."""
        self.setup = setup or self.setup
        folder, keys = self.folder("istiod"), self.folder("keys")
        os.makedirs(f"{folder}/config", exist_ok=True)
        with open(f"{folder}/config/mesh.yaml", "w") as file:
            file.write(mesh.yaml(self.setup.resources(self.pki, ADDRESSES)))
        with open(f"{folder}/mesh-config.yaml", "w") as file:
            json.dump(self.setup.mesh_config, file)
        with open(f"{keys}/keys.json", "w") as file:
            file.write(self.pki.key_set())
        if "keys" not in self.running:
            self.start("keys", "control", ["python3", "-m", "http.server", "-b", "127.0.0.1", "-d", keys, "8090"])
        rule = {"issuer": MESH_ISSUER, "jwks_uri": "http://127.0.0.1:8090/keys.json", "audiences": ["istio-ca"]}
        env = {**os.environ, **self.setup.environment, "JWT_RULE": json.dumps(rule), "ROOT_CA_DIR": self.pki.ca,
               "POD_NAMESPACE": "istio-system", "POD_NAME": "istiod-0", "CLUSTER_ID": "Kubernetes",
               "INJECTION_WEBHOOK_CONFIG_NAME": "", "VALIDATION_WEBHOOK_CONFIG_NAME": ""}
        command = ["env", "-C", folder, f"{self.bin}/istiod", "-config", "config", "-mesh", "mesh-config.yaml"]
        self.start("istiod", "control", command, env)
        wait_for("istiod is ready", lambda: self.status("control", "http://127.0.0.1:15080/ready") == "200")

    def start_applications(self):
        for pod in ("v1", "v2"):
            env = {**os.environ, "INSTANCE_IP": ADDRESSES[pod], "POD_NAME": f"server-{pod}"}
            self.start(f"application-{pod}", pod, [f"{self.bin}/server", "--port", "8080", "--port", str(mesh.HASHED), "--port", str(mesh.UNNAMED),
                                                   "--grpc", str(mesh.GRPC), "--tcp", str(mesh.TCP),
                                                   "--tcp", str(mesh.SERVER_FIRST), "--server-first", str(mesh.SERVER_FIRST),
                                                   "--port", str(mesh.SEALED), "--tls", str(mesh.SEALED),
                                                   "--crt", self.pki.gateway[0], "--key", self.pki.gateway[1],
                                                   "--metrics", "15099", "--version", pod, "--cluster", "Kubernetes"], env)
        for pod in ("v1", "v2"):
            wait_for(f"the application of {pod}", lambda: self.status(pod, "http://127.0.0.1:8080/") == "200")

    def start_proxy(self, pod, program, mode="REDIRECT", **more):
        """Istio's agent, which writes the bootstrap and launches `program` as its Envoy."""
        name, folder = f"proxy-{pod}", f"{self.work}/run-{pod}"
        self.stop(name)
        shutil.rmtree(folder, ignore_errors=True)
        for part in ("etc/istio/proxy", "var/run/secrets/tokens", "var/run/secrets/istio", "var/lib/istio/envoy",
                     "var/run/secrets/workload-spiffe-uds"):
            os.makedirs(f"{folder}/{part}")
        app = "server" if pod in ("v1", "v2") else pod
        version = pod if pod == "v2" else "v1"
        shutil.copy(f"{self.bin}/bootstrap.json", f"{folder}/var/lib/istio/envoy/envoy_bootstrap_tmpl.json")
        shutil.copy(self.pki.root, f"{folder}/var/run/secrets/istio/root-cert.pem")
        with open(f"{folder}/var/run/secrets/tokens/istio-token", "w") as file:
            file.write(self.pki.token(MESH_ISSUER, "istio-ca", f"system:serviceaccount:demo:{app}"))
        kind = "router" if pod == "gateway" else "sidecar"
        if kind == "router":
            mode = "REDIRECT"
        elif self.modes.get(pod) != mode:
            self.redirect(pod, mode)
        # With TPROXY it speaks from addresses that are not its own: Istio's injection then makes it root with one capability.
        user, privileges = (PROXY_USER, []) if mode == "REDIRECT" else ("0", ["--inh-caps=-all,+net_admin", "--bounding-set=-all,+net_admin"])
        subprocess.run(["chown", "-R", f"{user}:{PROXY_USER}", folder], check=True)
        labels = {"app": app, "version": version, "istio": app,
                  "service.istio.io/canonical-name": app, "service.istio.io/canonical-revision": version}
        config = {"binaryPath": f"{self.bin}/{program}", "discoveryAddress": f"{ISTIOD}:15012", "concurrency": 1,
                  "serviceCluster": f"{app}.demo", "statusPort": 15020, "terminationDrainDuration": "1s"}
        env = {"PATH": os.environ["PATH"], "HOME": folder, "POD_NAME": f"{app}-{version}", "POD_NAMESPACE": "demo",
               "INSTANCE_IP": ADDRESSES[pod], "SERVICE_ACCOUNT": app, "HOST_IP": ADDRESSES["control"], "TRUST_DOMAIN": "cluster.local",
               "ISTIO_META_ISTIO_VERSION": "1.31.0", "ISTIO_META_CLUSTER_ID": "Kubernetes", "ISTIO_META_MESH_ID": "cluster.local",
               "ISTIO_META_WORKLOAD_NAME": GATEWAY_WORKLOAD if pod == "gateway" else f"{app}-{version}", "ISTIO_META_INTERCEPTION_MODE": mode,
               "ISTIO_METAJSON_LABELS": json.dumps(labels), "PROXY_CONFIG": json.dumps(config), **more}
        user = ["setpriv", "--reuid", user, "--regid", PROXY_USER, "--clear-groups", "--no-new-privs", *privileges]
        self.start(name, pod, [*user, "env", "-C", folder, f"{self.bin}/pilot-agent", "proxy", kind, "--domain",
                               "demo.svc.cluster.local", "--proxyLogLevel=warning", "--log_output_level=default:info"], env)

    def redirect(self, pod, mode):
        """Istio's own rules, made by its own program in a pod that has none."""
        if pod in self.modes:
            self.iptables(pod, self.modes[pod], "--cleanup-only")
            self.run(pod, "ip", "rule", "del", "fwmark", "1337")
        self.iptables(pod, mode)
        self.modes[pod] = mode

    def iptables(self, pod, mode, *more):
        # Left to itself it picks a kind of tables anew each time, and does not see the rules that stand in the other.
        version = self.run(pod, "iptables", "--version")
        more = (*more, "--force-iptables-binary", "nft" if "nf_tables" in version else "legacy")
        with open(f"{self.folder('logs')}/rules-{pod}.log", "a") as log:
            subprocess.run(self.within(pod, [f"{self.bin}/pilot-agent", "istio-iptables", "-p", "15001", "-z", "15006", "-u", PROXY_USER,
                                             "-g", PROXY_USER, "-m", mode, "-i", "*", "-x", "", "-b", "*", "-d", "15090,15021,15020", *more]),
                           check=True, stdout=log, stderr=log)

    def wait_ready(self, pods=PODS):
        """By the probe that Kubernetes would make: the agent asks its proxy."""
        for pod in pods:
            wait_for(f"{pod} is ready", lambda: self.status(pod, "http://127.0.0.1:15021/healthz/ready") == "200")

    def refused(self):
        """What istiod's clients did not accept, by proxy and type."""
        found = []
        for client in json.loads(self.get("control", "http://127.0.0.1:15080/debug/syncz")):
            text = json.dumps(client)
            found += [f"{client.get('proxy')}: {error}" for error in re.findall(r'"lastError": "([^"]+)"', text)]
        return found

    def serials(self, pod):
        certificates = json.loads(self.get(pod, "http://127.0.0.1:15000/certs"))["certificates"]
        return {c["serial_number"] for entry in certificates for c in entry.get("cert_chain", [])}
