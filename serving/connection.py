"""A connection of the service's HTTP server, whose requests' heads are bounded."""

from __future__ import annotations

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

MAX_HEAD_BYTES = 64 * 1024
"""Of a request line and headers, as uvicorn has it with h11; the piece that they arrive in, of up
to 256 KiB, comes on top."""


class BoundedConnection(HttpToolsProtocol):
    """Refuses a request whose headers don't come to an end.

    httptools keeps them all, at some twenty times their size, and nothing else limits them or the
    time that they take: no route has been asked yet. What comes after a chunked body as trailers,
    which nobody reads, is not kept.
    """

    _is_in_head = False
    _head_bytes = 0

    def on_message_begin(self) -> None:
        """A request begins."""
        super().on_message_begin()
        self._is_in_head, self._head_bytes = True, 0

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header, or a trailer, is whole."""
        if self._is_in_head:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """The request's body is next."""
        self._is_in_head = False
        super().on_headers_complete()

    def data_received(self, data: bytes) -> None:
        """Bytes have arrived; those that all belong to one head count."""
        was_in_head = self._is_in_head
        super().data_received(data)
        if was_in_head and self._is_in_head:
            self._head_bytes += len(data)
            if self._head_bytes > MAX_HEAD_BYTES and not self.transport.is_closing():
                self.send_400_response(f"at most {MAX_HEAD_BYTES} bytes of headers a request")
