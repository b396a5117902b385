"""The cheapest HTTP server there is: ``python -m benchmarks.serving.trivial_server PORT LABEL``.

It looks at nothing but a request's length and gives every one the same answer. How many requests
a second the load generator gets out of it says how far the generator is from being what is
measured.
"""

from __future__ import annotations

import asyncio
import json
import sys


def answer_bytes(label: str) -> bytes:
    """An answer that names this label, as the service's does, and of about its size."""
    scores = {f"class {number}": 0.123456789012 for number in range(10)}
    one = {"label": label, "scores": scores, "weak_label": label, "weak_scores": scores}
    body = json.dumps({"predictions": [one]}).encode()
    head = f"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {len(body)}"
    return head.encode() + b"\r\n\r\n" + body


class TrivialProtocol(asyncio.Protocol):
    """Answers each request as soon as it is whole.

    Args:
        answer: head and body.
    """

    def __init__(self, answer: bytes) -> None:
        self._answer = answer
        self._buffer = bytearray()
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Asyncio's: a client is there."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Asyncio's: some bytes of a request."""
        self._buffer += data
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0 or self._transport is None:
            return
        length = self._buffer[:end].lower().partition(b"content-length:")[2].partition(b"\r")[0]
        if len(self._buffer) >= end + 4 + int(length or 0):
            self._buffer.clear()
            self._transport.write(self._answer)


async def serve(port: int, label: str) -> None:
    """Answer on 127.0.0.1 until the process is ended."""
    answer = answer_bytes(label)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: TrivialProtocol(answer), "127.0.0.1", port)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1]), sys.argv[2]))
