"""Servers on real sockets that answer byte by byte as a test wants, and what opens clients for them."""

from __future__ import annotations

import json
import socket
import ssl
import threading
from collections.abc import Callable

from broker.bus.transport.client import BusClient

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
    """Answer the beginning, then one drop after the other until the client goes."""

    def drip(peer: socket.socket, request: bytes) -> None:
        peer.sendall(start)
        gone = threading.Event()  # never set: a drop, then a rest
        while True:
            peer.sendall(drop)
            gone.wait(0.05)

    return drip


Serve = Callable[..., Server]
Connect = Callable[..., BusClient]


class Relay:
    """Hands connections on to another port of this computer, and cuts them where a test wants.

    `cut` says after how many bytes (towards the server, towards the client) all ends, None: never. With `forward` it
    is a forward proxy: it goes where the request says, by CONNECT or with the whole address in the first line.
    """

    def __init__(self, port: int = 0, *, forward: bool = False) -> None:
        self.cut: tuple[int | None, int | None] = (None, None)
        self.lines: list[str] = []  # first lines of the requests, as a forward proxy
        self.sent = [0, 0]  # bytes that went through, towards the server and towards the client
        self.refuse = b""  # what a forward proxy says instead of connecting
        self._upstream = port
        self._forward = forward
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port = self._listener.getsockname()[1]
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._open: list[socket.socket] = []
        self._threads[0].start()

    def close(self) -> None:
        """End all connections."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for one in list(self._open):
            _end(one)
        for thread in list(self._threads):
            thread.join(5)

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            thread = threading.Thread(target=self._serve, args=(client,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _serve(self, client: socket.socket) -> None:
        self._open.append(client)
        started = b""
        try:
            port = self._upstream
            if self._forward:
                started, port = self._asked(client)
            server = socket.create_connection(("127.0.0.1", port), 5)
        except (OSError, ValueError):
            client.close()
            return
        self._open.append(server)
        with client, server:
            server.sendall(started)
            back = threading.Thread(target=self._pump, args=(server, client, 1), daemon=True)
            back.start()
            self._pump(client, server, 0)
            back.join(10)

    def _asked(self, client: socket.socket) -> tuple[bytes, int]:
        """Read what a forward proxy is asked: what is to be handed on, and the port."""
        read = b""
        while b"\r\n\r\n" not in read:
            if not (more := client.recv(65536)):
                raise ValueError("gone")
            read += more
        line, rest = read.split(b"\r\n", 1)
        self.lines.append(line.decode())
        if self.refuse:
            client.sendall(self.refuse)
            raise ValueError("refused")
        method, target, version = line.split(b" ")
        if method == b"CONNECT":
            client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
            return b"", int(target.rpartition(b":")[2])
        place, _, path = target.removeprefix(b"http://").partition(b"/")
        return b" ".join((method, b"/" + path, version)) + b"\r\n" + rest, int(place.rpartition(b":")[2])

    def _pump(self, source: socket.socket, target: socket.socket, way: int) -> None:
        passed = 0
        try:
            while chunk := source.recv(65536):
                limit = self.cut[way]
                part = chunk if limit is None else chunk[: max(0, limit - passed)]
                target.sendall(part)
                passed += len(part)
                self.sent[way] += len(part)
                if limit is not None and passed >= limit:
                    _end(source)
                    _end(target)
                    return
        except OSError:
            pass  # cut already, which is what it is for
        _end(target)


def _end(one: socket.socket) -> None:
    try:
        one.shutdown(socket.SHUT_RDWR)
    except OSError:
        return
