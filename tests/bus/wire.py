"""Servers on real sockets that answer byte by byte as a test wants, and what opens clients for them."""

from __future__ import annotations

import json
import socket
import ssl
import threading
import time
from collections.abc import Callable

from broker.bus.client import BusClient

Handler = Callable[[socket.socket, bytes], None]


class Server:
    """Accepts connections one by one, reads a request from each and lets a function answer."""

    def __init__(self, handler: Handler, tls: ssl.SSLContext | None = None) -> None:
        self.requests: list[bytes] = []
        self._handler = handler
        self._tls = tls
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(5)

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            try:
                with connection, self._tls.wrap_socket(connection, True) if self._tls else connection as peer:
                    peer.settimeout(5)
                    self.requests.append(request_of(peer))
                    self._handler(peer, self.requests[-1])
            except OSError:
                continue  # the client has gone, which is what some tests are about


def request_of(peer: socket.socket) -> bytes:
    """Read one request with its body."""
    read = b""
    while b"\r\n\r\n" not in read:
        if not (more := peer.recv(65536)):
            return read
        read += more
    head, _, body = read.partition(b"\r\n\r\n")
    lengths = [line.split(b":")[1] for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")]
    while len(body) < int(lengths[0] if lengths else 0):
        body += peer.recv(65536)
    return head + b"\r\n\r\n" + body


def answering(status: str, body: object = b"", *headers: str) -> Handler:
    """Answer like a server; `body` is bytes, or becomes JSON."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(raw)}", "Connection: close", *headers]
    return lambda peer, request: peer.sendall("\r\n".join(lines).encode() + b"\r\n\r\n" + raw)


def drips(start: bytes, drop: bytes) -> Handler:
    """Answer the beginning, then one drop after the other for ever."""

    def drip(peer: socket.socket, request: bytes) -> None:
        peer.sendall(start)
        for _ in range(100):
            peer.sendall(drop)
            time.sleep(0.05)

    return drip


Serve = Callable[..., Server]
Connect = Callable[..., BusClient]
