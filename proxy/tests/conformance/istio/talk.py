"""Requests and connections whose every byte is counted: what a sidecar's client sends and receives, as it sees it.

    talk.py http HOST ADDRESS PORT   requests on standard input, one in a line: METHOD PATH BODY-BYTES NAME:VALUE...
    talk.py tcp ADDRESS PORT         one connection, and what it sends on standard input

Prints one JSON object a line for each of them. Runs within the pod, so it stands alone.
"""

import json
import socket
import sys
import time

LIMIT = 10


class Answer:
    """Reads one answer after the other from a connection."""

    def __init__(self, connection):
        self.connection, self.buffered = connection, b""

    def more(self):
        came = self.connection.recv(65536)
        if not came:
            raise EOFError(f"after {self.buffered!r}")
        self.buffered += came

    def until(self, end):
        while end not in self.buffered:
            self.more()
        at = self.buffered.index(end) + len(end)
        return self.take(at)

    def take(self, count):
        while len(self.buffered) < count:
            self.more()
        taken, self.buffered = self.buffered[:count], self.buffered[count:]
        return taken

    def read(self):
        """The head, the body, and how many bytes both took on the wire."""
        head = self.until(b"\r\n\r\n")
        fields = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:] if b": " in line)
        if fields.get(b"transfer-encoding") != b"chunked":
            body = self.take(int(fields.get(b"content-length", b"0")))
            return head, body, len(head) + len(body)
        body, wire = b"", len(head)
        while True:
            size = self.until(b"\r\n")
            chunk = self.take(int(size.split(b";")[0], 16) + 2)
            body, wire = body + chunk[:-2], wire + len(size) + len(chunk)
            if len(chunk) == 2:
                return head, body, wire


def http(host, address, port):
    connection = socket.create_connection((address, int(port)), LIMIT)
    answers = Answer(connection)
    for line in sys.stdin:
        method, path, size, *headers = line.split()
        body = b"x" * int(size)
        fields = [f"host: {host}", *(header.replace(":", ": ", 1) for header in headers)]
        if body:
            fields.append(f"content-length: {size}")
        request = "\r\n".join([f"{method} {path} HTTP/1.1", *fields, "", ""]).encode() + body
        begin = time.monotonic()
        connection.sendall(request)
        head, answer, wire = answers.read()
        say(answer, code=int(head.split()[1]), path=path, sent=len(request), received=wire, sent_body=len(body),
            received_body=len(answer), milliseconds=(time.monotonic() - begin) * 1000)
    connection.close()


def tcp(address, port):
    connection = socket.create_connection((address, int(port)), LIMIT)
    sent = sys.stdin.buffer.read()
    connection.sendall(sent)
    connection.shutdown(socket.SHUT_WR)
    came = b""
    while piece := connection.recv(65536):
        came += piece
    say(came, sent=len(sent), received=len(came))


def say(answer, **facts):
    versions = [line.split("=", 1)[1] for line in answer.decode(errors="replace").splitlines() if line.startswith("ServiceVersion=")]
    print(json.dumps({"version": versions[0] if versions else None, **facts}))


if __name__ == "__main__":
    {"http": http, "tcp": tcp}[sys.argv[1]](*sys.argv[2:])
