"""The application, which knows nothing of a proxy: HTTP on one port, a TCP echo on the other, and plain HTTP on a third.

Every answer says from which address the caller came and what it sent."""

import http.server
import socketserver
import sys
import threading


class Pages(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        lines = [f"from {self.client_address[0]}", f"path {self.path}"]
        lines += [f"{name.lower()}: {value}" for name, value in self.headers.items()]
        body = "\n".join(lines).encode()
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class Echo(socketserver.BaseRequestHandler):
    def handle(self):
        self.request.sendall(f"from {self.client_address[0]}\n".encode())
        while data := self.request.recv(4096):
            self.request.sendall(data)


class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 64


pages, echo, other = (int(port) for port in sys.argv[1:4])
servers = [Server(("0.0.0.0", pages), Pages), Server(("0.0.0.0", echo), Echo), Server(("0.0.0.0", other), Pages)]
for server in servers:
    threading.Thread(target=server.serve_forever).start()
