"""Access logs in Istio's default format: every field of what came of a request or connection, on both sides.

What must stand there is what Envoy writes for the same in the same place.
"""

import re

import mesh
from lab import ADDRESSES, APPLICATION_USER, Failed, wait_for

# Lines are written once a second.
WRITTEN = 10
FIELDS = ("method path protocol code flags details termination transport received sent duration upstream_time forwarded agent id "
          "authority host cluster upstream_local local remote sni route").split()
LINE = re.compile(r'\[\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z\] "(\S+) (\S+) (\S+)" (\d+) (\S+) (\S+) (\S+) "([^"]*)" (\d+) (\d+) (\d+) (\S+) '
                  r'"([^"]*)" "([^"]*)" "([^"]*)" "([^"]*)" "([^"]*)" (\S+) (\S+) (\S+) (\S+) (\S+) (\S+)')
UUID = r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"
SERVICE = re.escape(mesh.HOST)


def from_client(address="client"):
    return re.escape(ADDRESSES[address]) + r":\d+"


def at(address, port):
    return re.escape(f"{address}:{port}")


# Patterns of fields; the ones of a kind of line go over those that all have.
PLAIN = {"flags": "-", "termination": "-", "transport": "-", "received": "0", "duration": r"\d+", "forwarded": "-", "remote": from_client()}
HTTP = {**PLAIN, "method": "GET", "protocol": "HTTP/1.1", "code": "200", "details": "via_upstream", "sent": r"\d+", "upstream_time": r"\d+",
        "id": UUID, "authority": SERVICE}
NOT_HTTP = {**PLAIN, **dict.fromkeys(("method", "path", "protocol", "details", "upstream_time", "agent", "id", "authority", "route"), "-"),
            "code": "0"}
NO_UPSTREAM = {"upstream_time": "-", "host": "-", "upstream_local": "-"}
OUT = {"host": at(ADDRESSES["v1"], 8080), "cluster": re.escape(f"outbound|80|v1|{mesh.HOST}"), "upstream_local": from_client(),
       "local": at(mesh.ADDRESS, mesh.HTTP), "sni": "-"}
IN = {"host": at(ADDRESSES["v1"], 8080), "cluster": r"inbound\|8080\|\|", "upstream_local": r"127\.0\.0\.6:\d+",
      "local": at(ADDRESSES["v1"], 8080), "sni": re.escape(f"outbound_.80_.v1_.{mesh.HOST}"), "route": "default"}
PINNED = ("-H", "x-version: v1")


class Logs:
    def __init__(self, lab):
        self.lab, self.wrong, self.right, self.begin = lab, [], 0, {}

    def send(self, name, path, *arguments):
        """The answer's body."""
        self.begin = {pod: len(self.lab.log(f"proxy-{pod}")) for pod in ("client", "v1", "v2")}
        return self.lab.run("client", "curl", "-s", "-m", "5", "-A", name, *arguments, f"http://{mesh.HOST}{path}", user=APPLICATION_USER)

    def written(self, pod, contains):
        """The last line of a pod's that has this, once it is there."""
        def lines():
            return [line for line in self.lab.log(f"proxy-{pod}")[self.begin[pod]:].splitlines() if line.startswith("[") and contains in line]
        try:
            wait_for("a line", lines, WRITTEN)
        except Failed:
            return f"no line with {contains!r}"
        return lines()[-1]

    def compare(self, name, pod, contains, *patterns):
        wanted = {k: v for part in patterns for k, v in part.items()}
        line = self.written(pod, contains)
        parsed = LINE.fullmatch(line)
        if not parsed:
            self.wrong.append(f"{name}, {pod}: {line}")
            return {}
        seen = dict(zip(FIELDS, parsed.groups()))
        unlike = [field for field in FIELDS if not re.fullmatch(wanted[field], seen[field])]
        self.right += len(FIELDS) - len(unlike)
        self.wrong += [f"{name}, {pod}: {field} is {seen[field]!r}, not {wanted[field]!r}: {line}" for field in unlike]
        return seen

    def run(self):
        """What is not as it must be, in lines; and how many fields are."""
        self.answered()
        self.not_forwarded()
        self.refused()
        self.tried_again()
        self.grpc()
        self.tcp()
        return self.wrong, self.right

    def answered(self):
        body = self.send("answered", "/log?x=1", *PINNED)
        own = {"path": r"/log\?x=1", "agent": "answered", "sent": str(len(body.encode()))}
        client = self.compare("an answer", "client", '"answered"', HTTP, OUT, own, {"route": "pinned"})
        server = self.compare("an answer", "v1", '"answered"', HTTP, IN, own)
        if client.get("id") != server.get("id"):
            self.wrong.append(f"an answer: the request's id differs: {client.get('id')} {server.get('id')}")
        self.send("posted", "/log", *PINNED, "-d", "seventeen letters")
        own = {"method": "POST", "path": "/log", "agent": "posted", "received": "17"}
        self.compare("a body", "client", '"posted"', HTTP, OUT, own, {"route": "pinned"})
        self.compare("a body", "v1", '"posted"', HTTP, IN, own)

    def not_forwarded(self):
        self.send("aborted", "/log", "-H", "x-abort: yes")
        own = {"path": "/log", "code": "418", "flags": "FI", "details": "fault_filter_abort", "sent": "18", "agent": "aborted", "route": "abort"}
        self.compare("an abort", "client", '"aborted"', HTTP, OUT, NO_UPSTREAM, own)
        self.send("direct", "/direct")
        own = {"path": "/direct", "code": "203", "details": "direct_response", "sent": "11", "agent": "direct", "cluster": "-", "route": "direct"}
        self.compare("a direct response", "client", '"direct"', HTTP, OUT, NO_UPSTREAM, own)

    def refused(self):
        self.send("refused", "/forbidden/x", *PINNED)
        own = {"path": "/forbidden/x", "code": "403", "sent": "19", "agent": "refused"}
        self.compare("a refusal", "client", '"refused"', HTTP, OUT, own, {"route": "pinned"})
        policy = re.escape("rbac_access_denied_matched_policy[ns[demo]-policy[deny-forbidden]-rule[0]]")
        self.compare("a refusal", "v1", '"refused"', HTTP, IN, NO_UPSTREAM, own, {"details": policy})
        # One who does not speak the mesh's TLS.
        self.lab.status("gateway", f"http://{ADDRESSES['v1']}:8080/")
        own = {"flags": "NR", "details": "filter_chain_not_found", "sent": "0", "cluster": "-", "sni": "-", "remote": from_client("gateway")}
        self.compare("a stranger", "v1", "filter_chain_not_found", NOT_HTTP, IN, NO_UPSTREAM, own, {"route": "-"})

    def tried_again(self):
        self.send("retried", "/retry?codes=503:100")
        own = {"path": r"/retry\?codes=503:100", "code": "503", "flags": "URX", "agent": "retried", "route": "retry"}
        either = {"host": f"({'|'.join(at(ADDRESSES[version], 8080) for version in ('v1', 'v2'))})", "cluster": re.escape(f"outbound|80||{mesh.HOST}")}
        self.compare("retries that end", "client", '"retried"', HTTP, OUT, either, own)

    def grpc(self):
        self.begin = {"client": len(self.lab.log("proxy-client"))}
        self.lab.run("client", f"{self.lab.bin}/client", f"grpc://{mesh.ADDRESS}:{mesh.GRPC}", user=APPLICATION_USER)
        own = {"method": "POST", "path": r"/proto\.EchoTestService/Echo", "protocol": "HTTP/2", "received": r"\d\d+", "agent": r"grpc-go/\S+",
               "authority": at(mesh.ADDRESS, mesh.GRPC), "host": r"10\.87\.0\.1[23]:7070", "local": at(mesh.ADDRESS, mesh.GRPC), "route": "weighted",
               "cluster": r"outbound\|7070\|v[12]\|" + SERVICE}
        self.compare("a call", "client", "EchoTestService", HTTP, OUT, own)

    def tcp(self):
        self.begin = {pod: len(self.lab.log(f"proxy-{pod}")) for pod in ("client", "v1", "v2")}
        said = self.lab.run("client", "python3", f"{self.lab.bin}/talk.py", "tcp", mesh.ADDRESS, str(mesh.TCP), user=APPLICATION_USER, data="hello")
        version = re.search(r'"version": "(v\d)"', said)
        sent = re.search(r'"received": (\d+)', said)
        if not version or not sent:
            self.wrong.append(f"TCP: {said}")
            return
        pod, own = version[1], {"received": "5", "sent": sent[1]}
        there = at(ADDRESSES[pod], mesh.TCP)
        self.compare("TCP", "client", "outbound|9090|", NOT_HTTP, OUT, own,
                     {"host": there, "cluster": re.escape(f"outbound|9090||{mesh.HOST}"), "local": at(mesh.ADDRESS, mesh.TCP)})
        self.compare("TCP", pod, "inbound|9090|", NOT_HTTP, IN, own, {"host": there, "cluster": r"inbound\|9090\|\|", "local": there, "route": "-",
                                                                    "sni": re.escape(f"outbound_.9090_._.{mesh.HOST}")})
