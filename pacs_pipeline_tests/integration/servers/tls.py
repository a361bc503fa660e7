"""TLS in front of a server that speaks none, as hospitals do it: Debian's Orthanc falls over at a TLS request."""

from __future__ import annotations

import contextlib
import select
import socket
import socketserver
import ssl
import threading
from collections.abc import Callable, Iterator


@contextlib.contextmanager
def tls_in_front(port: int, context: ssl.SSLContext) -> Iterator[int]:
    """A port of loopback that takes TLS by ``context`` and passes on to ``port`` in the clear."""

    def outside(request: socket.socket) -> socket.socket:
        return context.wrap_socket(request, server_side=True)

    with _proxy(0, outside, lambda: socket.create_connection(("127.0.0.1", port))) as listening:
        yield listening


@contextlib.contextmanager
def tls_towards(port: int, context: ssl.SSLContext, *, listen: int) -> Iterator[int]:
    """The port ``listen`` of loopback, which passes what comes in the clear on to ``port`` by TLS."""

    def inside() -> socket.socket:
        return context.wrap_socket(socket.create_connection(("127.0.0.1", port)), server_hostname="localhost")

    with _proxy(listen, lambda request: request, inside) as listening:
        yield listening


@contextlib.contextmanager
def _proxy(
    port: int, outside: Callable[[socket.socket], socket.socket], inside: Callable[[], socket.socket]
) -> Iterator[int]:
    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            with (
                contextlib.suppress(OSError),  # either side may hang up, or not trust us
                outside(self.request) as caller,
                inside() as called,
            ):
                _relay(caller, called)

    class Proxy(socketserver.ThreadingTCPServer):
        daemon_threads = True
        allow_reuse_address = True

    with Proxy(("127.0.0.1", port), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            thread.join()


def _relay(one: socket.socket, other: socket.socket) -> None:
    """Pass on what comes from either side until one hangs up; in one thread, since OpenSSL bears only one."""
    while True:
        waiting = [end for end in (one, other) if isinstance(end, ssl.SSLSocket) and end.pending()]
        for end in waiting or select.select((one, other), (), ())[0]:
            data = end.recv(1 << 16)
            if not data:
                return
            (other if end is one else one).sendall(data)
