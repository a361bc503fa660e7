"""A TCP proxy that changes one byte of what a client sends, and cuts every connection when it ends."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator


@contextlib.contextmanager
def proxy(upstream_port: int, marker: bytes = b"") -> Iterator[int]:
    """Listen on a free port; flip a bit in the byte after ``marker``, if any, wherever a client sends that."""
    listener = socket.create_server(("127.0.0.1", 0))
    threads: list[threading.Thread] = []
    clients: list[socket.socket] = []

    def pump(source: socket.socket, target: socket.socket, change: bool) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                at = data.find(marker) + len(marker) if change and marker and marker in data else -1
                target.sendall(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :] if 0 < at < len(data) else data)
        for end in (source, target):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def serve() -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = listener.accept()
                clients.append(client)
                threads.append(threading.Thread(target=connect, args=(client,)))
                threads[-1].start()

    def connect(client: socket.socket) -> None:
        with client, socket.create_connection(("127.0.0.1", upstream_port)) as server:
            back = threading.Thread(target=pump, args=(server, client, False))
            back.start()
            pump(client, server, True)
            back.join()

    accepting = threading.Thread(target=serve)
    accepting.start()
    try:
        yield listener.getsockname()[1]
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        accepting.join()
        for client in clients:
            with contextlib.suppress(OSError):
                client.shutdown(socket.SHUT_RDWR)
        for thread in threads:
            thread.join(10)
