"""SPIRE's server and agent, and what is registered with them."""

import os
import re
import signal
import subprocess
import threading
import time

DOMAIN = "domain.test"
FEDERATED = "federated.test"
# Users, by whom the agent knows a workload.
SERVER_USER, CLIENT_USER, INTRUDER_USER = 2001, 2002, 2003

SERVER_CONF = """
server {
  bind_address = "127.0.0.1"
  bind_port = "18081"
  trust_domain = "%(domain)s"
  socket_path = "%(dir)s/server.sock"
  data_dir = "%(dir)s/server"
  ca_ttl = "%(ca_ttl)s"
  default_x509_svid_ttl = "%(svid_ttl)s"
}
plugins {
  DataStore "sql" { plugin_data { database_type = "sqlite3"
    connection_string = "%(dir)s/server.sqlite" } }
  KeyManager "memory" { plugin_data {} }
  NodeAttestor "join_token" { plugin_data {} }
}
"""

AGENT_CONF = """
agent {
  server_address = "127.0.0.1"
  server_port = "18081"
  trust_domain = "%(domain)s"
  socket_path = "%(dir)s/agent.sock"
  data_dir = "%(dir)s/agent"
  insecure_bootstrap = true
  experimental { sync_interval = "1s" }
}
plugins {
  KeyManager "disk" { plugin_data { directory = "%(dir)s/agent" } }
  NodeAttestor "join_token" { plugin_data {} }
  WorkloadAttestor "unix" { plugin_data {} }
}
"""


def wait_for(what, condition, seconds=30):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return
        time.sleep(0.05)
    raise AssertionError(f"{what}: not within {seconds} s")


class Spire:
    def __init__(self, binaries, directory, svid_ttl, ca_ttl):
        self.binaries, self.dir = binaries, directory
        self.agent = None
        for part in ("server", "agent"):
            os.makedirs(f"{directory}/{part}")
        os.chmod(directory, 0o755)
        values = {"dir": directory, "domain": DOMAIN, "svid_ttl": svid_ttl, "ca_ttl": ca_ttl}
        for name, text in (("server.conf", SERVER_CONF), ("agent.conf", AGENT_CONF)):
            with open(f"{directory}/{name}", "w") as file:
                file.write(text % values)
        self.server = self.start("spire-server")
        wait_for("the server is healthy", lambda: self.healthy("spire-server"))
        token = self.call("token", "generate", "-spiffeID", f"spiffe://{DOMAIN}/agent").split()[1]
        self.start_agent("-joinToken", token)
        self.federate()
        self.register("server", SERVER_USER, "-federatesWith", f"spiffe://{FEDERATED}")
        self.register("client", CLIENT_USER)
        self.register("intruder", INTRUDER_USER)

    def start(self, program, *more):
        log = open(f"{self.dir}/{program}.log", "a")
        command = [f"{self.binaries}/{program}", "run", "-config", f"{self.dir}/{program.split('-')[1]}.conf", *more]
        return subprocess.Popen(command, stdout=log, stderr=log)

    def start_agent(self, *more):
        self.agent = self.start("spire-agent", *more)
        wait_for("the agent is healthy", lambda: self.healthy("spire-agent"))

    def stop_agent(self):
        self.agent.send_signal(signal.SIGTERM)
        self.agent.wait()

    def healthy(self, program):
        socket = f"{self.dir}/{program.split('-')[1]}.sock"
        command = [f"{self.binaries}/{program}", "healthcheck", "-socketPath", socket]
        return subprocess.run(command, capture_output=True).returncode == 0

    def call(self, *arguments):
        command = [f"{self.binaries}/spire-server", *arguments, "-socketPath", f"{self.dir}/server.sock"]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout

    def register(self, name, user, *more):
        self.call("entry", "create", "-parentID", f"spiffe://{DOMAIN}/agent", "-spiffeID",
                  f"spiffe://{DOMAIN}/{name}", "-selector", f"unix:uid:{user}", *more)

    def federate(self):
        """Trusts a second domain. A CA is all that there is of it."""
        authority(self.dir, FEDERATED)
        self.call("bundle", "set", "-format", "pem", "-id", f"spiffe://{FEDERATED}", "-path", f"{self.dir}/{FEDERATED}.pem")

    def watch(self, user, heard):
        """Calls `heard` with the identity's end of life whenever the agent gives a user a new one: the agent's own client."""
        command = ["setpriv", "--reuid", str(user), "--regid", str(user), "--clear-groups",
                   f"{self.binaries}/spire-agent", "api", "watch", "-socketPath", f"{self.dir}/agent.sock"]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)

        def listen():
            for line in process.stdout:
                found = re.match(r"SVID Valid Until:\s+(\S+ \S+) \+0000 UTC", line)
                if found:
                    heard(int(time.mktime(time.strptime(found[1], "%Y-%m-%d %H:%M:%S")) - time.timezone))

        threading.Thread(target=listen, daemon=True).start()
        return process

    def stop(self):
        for process in (self.agent, self.server):
            if process and process.poll() is None:
                process.terminate()
                process.wait()


def openssl(*arguments):
    subprocess.run(["openssl", *arguments], check=True, capture_output=True)


def authority(directory, name):
    openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
            "-keyout", f"{directory}/{name}.key", "-out", f"{directory}/{name}.pem", "-subj", f"/CN={name}",
            "-addext", f"subjectAltName=URI:spiffe://{name}", "-addext", "keyUsage=critical,keyCertSign,cRLSign")


def issue(directory, issuer, spiffe_id):
    """An SVID of `issuer`, which may say what the issuer has no right to say. Chain and key in one file."""
    name = re.sub(r"\W+", "-", f"{issuer}-{spiffe_id}")
    with open(f"{directory}/{name}.ext", "w") as file:
        file.write(f"subjectAltName=URI:{spiffe_id}\nkeyUsage=critical,digitalSignature\n"
                   "extendedKeyUsage=clientAuth,serverAuth\nbasicConstraints=critical,CA:FALSE\n")
    openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
            "-keyout", f"{directory}/{name}.key", "-out", f"{directory}/{name}.csr", "-subj", "/O=test")
    openssl("x509", "-req", "-in", f"{directory}/{name}.csr", "-CA", f"{directory}/{issuer}.pem",
            "-CAkey", f"{directory}/{issuer}.key", "-CAcreateserial", "-days", "1",
            "-extfile", f"{directory}/{name}.ext", "-out", f"{directory}/{name}.pem")
    with open(f"{directory}/{name}.pem", "a") as both, open(f"{directory}/{name}.key") as key:
        both.write(key.read())
    return f"{directory}/{name}.pem"
