"""A client that keeps its connections: ADDRESS PORT HOST CONNECTIONS REQUESTS. Prints how many answers were 200, of how many."""

import selectors
import socket
import sys


def complete(answer):
    """Whether a whole response stands there, with its status; the servers of this mesh send lengths or chunks."""
    head, separator, body = answer.partition(b"\r\n\r\n")
    if not separator:
        return None
    fields = dict(line.split(b":", 1) for line in bytes(head.lower()).split(b"\r\n")[1:])
    if b"content-length" in fields:
        whole = len(body) >= int(fields[b"content-length"])
    else:
        whole = body.endswith(b"0\r\n\r\n")
    return int(head.split(b" ", 2)[1]) if whole else None


def main(address, port, host, connections, requests):
    request = f"GET /load HTTP/1.1\r\nHost: {host}\r\nUser-Agent: load\r\n\r\n".encode()
    waiting, sent, good, done = selectors.DefaultSelector(), 0, 0, 0
    for _ in range(int(connections)):
        connection = socket.create_connection((address, int(port)))
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.sendall(request)
        waiting.register(connection, selectors.EVENT_READ, bytearray())
        sent += 1
    while done < sent:
        for key, _ in waiting.select():
            connection, answer = key.fileobj, key.data
            received = connection.recv(65536)
            answer += received
            status = complete(answer)
            if received and status is None:
                continue
            done += 1
            good += status == 200
            answer.clear()
            if not received:
                # Counted as lost; nothing more goes over it.
                waiting.unregister(connection)
            elif sent < int(requests):
                connection.sendall(request)
                sent += 1
    print(good, done)


if __name__ == "__main__":
    main(*sys.argv[1:])
