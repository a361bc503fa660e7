"""TLS in front of a server that speaks none, as hospitals do it: Debian's Orthanc falls over at a TLS request."""

from __future__ import annotations

import contextlib
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
                back = threading.Thread(target=_pump, args=(called, caller))
                back.start()
                _pump(caller, called)
                back.join()

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


def _pump(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(1 << 16):
            target.sendall(data)
    for end in (source, target):
        with contextlib.suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)
