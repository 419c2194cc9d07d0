"""A deadline for a call over HTTP that holds to its last byte, whatever the peer does.

The time-outs of a socket begin again with every byte that comes, so a peer that sends one byte per second would never
time out. `within` cuts the connection when the time is over; connections must come from an `Adapter`.
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
    """Cuts a connection when the time is over: the time-outs of a socket begin again with every byte that comes."""

    def __init__(self) -> None:
        self.over = False
        self._hold: socket.socket | None = None
        self._lock = threading.Lock()

    def watch(self, sock: Any) -> None:
        """Name the connection that is to be cut, be it in plain, in the middle of a TLS handshake, or after it."""
        with self._lock:
            self._let_go()
            # A second descriptor of the same connection: TLS takes the first one away from its holder.
            self._hold = socket.socket(fileno=os.dup(sock.fileno())) if isinstance(sock, socket.socket) else None
            over = self.over
        if over:
            self.end()

    def end(self) -> None:
        """Cut the connection: the reader sees that it has ended."""
        with self._lock:
            self.over = True
            if self._hold is not None:
                try:
                    self._hold.shutdown(socket.SHUT_RDWR)
                except OSError:
                    log.debug("the connection to the bus had ended already")

    def release(self) -> None:
        """Let the connection live: the call is over."""
        with self._lock:
            self._let_go()

    def _let_go(self) -> None:
        if self._hold is not None:
            self._hold.close()
            self._hold = None


_running = threading.local()


@contextmanager
def within(seconds: float) -> Iterator[Deadline]:
    """Return a call of this thread its deadline."""
    limit = _running.limit = Deadline()
    timer = threading.Timer(seconds, limit.end)
    timer.daemon = True
    timer.start()
    try:
        yield limit
    finally:
        timer.cancel()
        limit.release()
        _running.limit = None


def _watch(sock: Any) -> None:
    limit: Deadline | None = getattr(_running, "limit", None)
    if limit is not None and sock is not None:
        limit.watch(sock)


class _HTTPConnection(HTTPConnection):
    def _new_conn(self) -> socket.socket:
        sock = super()._new_conn()
        _watch(sock)  # already now: what follows is a proxy's answer, perhaps a slow TLS handshake
        return sock

    def request(self, *args: Any, **options: Any) -> None:
        _watch(self.sock)  # kept alive from an earlier call, or none yet
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
            # RFC 8446, 2: a server checks our certificate after we may begin to send. It has closed by now, perhaps
            # with an alert that says why; reading raises that one in the place of the broken pipe.
            if isinstance(self.sock, ssl.SSLSocket):
                self.sock.recv(1)
            raise


class _HTTPPool(HTTPConnectionPool):
    ConnectionCls = _HTTPConnection


class _HTTPSPool(HTTPSConnectionPool):
    ConnectionCls = _HTTPSConnection


_POOLS = {"http": _HTTPPool, "https": _HTTPSPool}


class Adapter(HTTPAdapter):
    """Lets the deadline cut every connection, direct or through a proxy."""

    def init_poolmanager(self, *args: Any, **options: Any) -> None:
        """Use our connections for direct calls."""
        super().init_poolmanager(*args, **options)
        self.poolmanager.pool_classes_by_scheme = _POOLS

    def proxy_manager_for(self, proxy: str, **options: Any) -> Any:
        """Use our connections through a proxy too."""
        manager = super().proxy_manager_for(proxy, **options)
        manager.pool_classes_by_scheme = _POOLS
        return manager
