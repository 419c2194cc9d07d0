"""A deadline for a whole call over HTTP.

The time-out of a socket starts again with every byte, so a peer that sends one byte per second would never time out.
`within` closes the connection when the time is over; connections must come from an `Adapter`.
"""

from __future__ import annotations

import logging
import os
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from requests.adapters import HTTPAdapter
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.connection import HTTPConnection, HTTPSConnection

log = logging.getLogger(__name__)


class Deadline:
    """Shuts a connection down when the time is over; `expired` is True from then on."""

    def __init__(self) -> None:
        self.expired = False
        self._socket: socket.socket | None = None
        self._lock = threading.Lock()

    def watch(self, sock: Any) -> None:
        """Set the connection to be shut down: plain, during a TLS handshake, or after it."""
        with self._lock:
            self._close_socket()
            # A second descriptor of the same connection: wrapping for TLS detaches the first one.
            self._socket = socket.socket(fileno=os.dup(sock.fileno())) if isinstance(sock, socket.socket) else None
            expired = self.expired
        if expired:
            self.end()

    def end(self) -> None:
        """Shut the connection down; its reader sees the end of the data."""
        with self._lock:
            self.expired = True
            if self._socket is not None:
                try:
                    self._socket.shutdown(socket.SHUT_RDWR)
                except OSError:
                    log.debug("the connection to the bus had ended already")

    def release(self) -> None:
        """Stop watching the connection: the call is over."""
        with self._lock:
            self._close_socket()

    def _close_socket(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None


_running = threading.local()


@contextmanager
def within(seconds: float) -> Iterator[Deadline]:
    """Yield the deadline of a call of this thread."""
    deadline = _running.deadline = Deadline()
    timer = threading.Timer(seconds, deadline.end)
    timer.daemon = True
    timer.start()
    try:
        yield deadline
    finally:
        timer.cancel()
        deadline.release()
        _running.deadline = None


def _watch(sock: Any) -> None:
    deadline: Deadline | None = getattr(_running, "deadline", None)
    if deadline is not None and sock is not None:
        deadline.watch(sock)


class _HTTPConnection(HTTPConnection):
    def _new_conn(self) -> socket.socket:
        sock = super()._new_conn()
        _watch(sock)  # a proxy's answer and the TLS handshake may be slow too
        return sock

    def request(self, *args: Any, **options: Any) -> None:
        _watch(self.sock)  # still open from an earlier call, or None
        super().request(*args, **options)


class _HTTPSConnection(HTTPSConnection):
    def _new_conn(self) -> socket.socket:
        sock = super()._new_conn()
        _watch(sock)
        return sock

    def request(self, *args: Any, **options: Any) -> None:
        _watch(self.sock)
        try:
            super().request(*args, **options)
        except OSError:
            # RFC 8446, 2: a server checks our certificate after we may have begun to send. It has closed the
            # connection, perhaps with an alert that says why; reading raises that error instead of the broken pipe.
            if isinstance(self.sock, ssl.SSLSocket):
                self.sock.recv(1)
            raise


class _HTTPPool(HTTPConnectionPool):
    ConnectionCls = _HTTPConnection


class _HTTPSPool(HTTPSConnectionPool):
    ConnectionCls = _HTTPSConnection


_POOLS = {"http": _HTTPPool, "https": _HTTPSPool}


class Adapter(HTTPAdapter):
    """Makes every connection, direct or through a proxy, obey the deadline of its thread."""

    def init_poolmanager(self, *args: Any, **options: Any) -> None:
        """Use our connections for direct calls."""
        super().init_poolmanager(*args, **options)
        self.poolmanager.pool_classes_by_scheme = _POOLS

    def proxy_manager_for(self, proxy: str, **options: Any) -> Any:
        """Use our connections through a proxy too."""
        manager = super().proxy_manager_for(proxy, **options)
        manager.pool_classes_by_scheme = _POOLS
        return manager
