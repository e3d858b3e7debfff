"""Answers every request with $MESSAGE, on the port that the test program sends the proxy to."""

import asyncio
import os

PORT = 18080
# As many clients come at the same moment as there are listeners; each waits 100 ms.
BACKLOG = 512


async def serve(reader, writer):
    body = os.environ["MESSAGE"].encode()
    answer = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%s" % (len(body), body)
    try:
        # The program sends GETs, which have no bodies.
        while await reader.readuntil(b"\r\n\r\n"):
            writer.write(answer)
            await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError):
        writer.close()


async def main():
    server = await asyncio.start_server(serve, "127.0.0.1", PORT, backlog=BACKLOG)
    await server.serve_forever()


asyncio.run(main())
