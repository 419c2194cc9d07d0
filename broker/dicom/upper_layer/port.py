"""The listening port: a thread with an event loop, its sockets, and TLS.

Knows no service; `server` puts it together with one.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import ssl
import threading
import time
from concurrent.futures import Future

from broker.dicom.upper_layer.answering import ServiceProvider
from broker.dicom.upper_layer.connection import Connection
from broker.dicom.upper_layer.host import Host, LogThrottle
from broker.dicom.upper_layer.limits import Limits
from broker.dicom.upper_layer.negotiation import Negotiator

log = logging.getLogger(__name__)

BACKLOG = 256
GRACE = 2.0  # seconds that answers under way have when the port closes


class Port:
    """Listens and creates Connections, which share `host`."""

    def __init__(
        self, services: ServiceProvider, negotiator: Negotiator, limits: Limits, log_throttle: LogThrottle
    ) -> None:
        self.host = Host(services, negotiator, limits, log_throttle)
        self._handshakes: dict[asyncio.Task[None], str] = {}  # those under way and their addresses, the oldest first
        self._listeners: list[socket.socket] = []
        self._thread: threading.Thread | None = None

    # ---- from other threads ----

    def start(self, address: str, port: int, tls: tuple[ssl.SSLContext, int] | None = None) -> None:
        """Listen on `port`, and with TLS on its port as well; raise OSError where a port cannot be had."""
        self._listeners = [_listen(address, port)]
        try:
            if tls is not None:
                self._listeners.append(_listen(address, tls[1]))
        except OSError:
            self._listeners[0].close()
            raise
        started: Future[None] = Future()
        self._thread = threading.Thread(
            target=self._run, args=(started, tls[0] if tls else None), name="dicom-port", daemon=True
        )
        self._thread.start()
        started.result()

    def ports(self) -> list[int]:
        """Return the ports that it listens on, that of TLS second."""
        return [int(each.getsockname()[1]) for each in self._listeners]

    @property
    def associations(self) -> int:
        """Number of associations."""
        return len(self.host.associations)

    @property
    def connections(self) -> int:
        """Number of connections, those without an association included."""
        return len(self.host.connections)

    def stop(self) -> None:
        """Accept nothing new, let answers under way go out for GRACE seconds, then abort what is left."""
        if self._thread is not None:
            self.host.loop.call_soon_threadsafe(self._closing.set)
            self._thread.join()
            self._thread = None
            self.host.threads.shutdown(wait=True)
            self._listeners = []

    # ---- the thread ----

    def _run(self, started: Future[None], tls: ssl.SSLContext | None) -> None:
        with asyncio.Runner(loop_factory=_new_loop) as runner:
            self.host.open(runner.get_loop())
            runner.run(self._serve(started, tls))

    async def _serve(self, started: Future[None], tls: ssl.SSLContext | None) -> None:
        self._closing = asyncio.Event()
        host, loop = self.host, self.host.loop
        try:
            server = await loop.create_server(lambda: Connection(host), sock=self._listeners[0], backlog=BACKLOG)
            if tls is not None:
                self._listeners[1].setblocking(False)
                loop.add_reader(self._listeners[1], self._accept_tls, self._listeners[1], tls)
        except BaseException as error:
            started.set_exception(error)
            return
        started.set_result(None)
        await self._closing.wait()
        host.stopping = True
        server.close()
        if tls is not None:
            loop.remove_reader(self._listeners[1])
            self._listeners[1].close()
        for task in self._handshakes:
            task.cancel()
        for connection in list(host.connections):
            connection.shut_down()
        await self._gone(GRACE)
        for connection in list(host.connections):
            connection.abort()
        await self._gone(GRACE)
        await asyncio.sleep(0)

    async def _gone(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while (self.host.connections or self._handshakes) and time.monotonic() < end:
            await asyncio.sleep(0.01)

    # ---- TLS ----

    def _accept_tls(self, listener: socket.socket, tls: ssl.SSLContext) -> None:
        """Accept connections one by one, so that those whose handshake never ends are counted too."""
        for _ in range(BACKLOG):
            try:
                accepted, peer = listener.accept()
            except (BlockingIOError, InterruptedError):
                return
            except OSError as error:
                log.warning("cannot accept a connection over TLS: %s", error.strerror)
                return
            address = str(peer[0]).removeprefix("::ffff:")
            if self.host.is_crowded(address):
                self.host.refused("too many connections from one address", address)
                accepted.close()
                continue
            if len(self._handshakes) >= self.host.limits.connections:
                self._end_oldest_handshake()
            self.host.count_address(address)
            accepted.setblocking(False)
            task = self.host.loop.create_task(self._shake_hands(accepted, tls, address))
            self._handshakes[task] = address
            task.add_done_callback(lambda done: self._handshakes.pop(done, None))

    def _end_oldest_handshake(self) -> None:
        """Make room as `Host.admit` does: the one that has been silent longest gives way."""
        oldest = next(iter(self._handshakes))
        self.host.refused("silent when there was no room", self._handshakes.pop(oldest))
        oldest.cancel()

    async def _shake_hands(self, accepted: socket.socket, tls: ssl.SSLContext, address: str) -> None:
        host, counted = self.host, True

        def connected() -> Connection:
            nonlocal counted
            host.uncount_address(address)  # from here on it is counted as a connection
            counted = False
            return Connection(host, started)

        started = host.loop.time()
        try:
            with contextlib.suppress(AttributeError):
                accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            await host.loop.connect_accepted_socket(
                connected, accepted, ssl=tls, ssl_handshake_timeout=host.limits.association, ssl_shutdown_timeout=1.0
            )
        except (OSError, ssl.SSLError, TimeoutError) as error:
            host.refused("no handshake over TLS", address)
            log.debug("no handshake with %s: %s", address, error)
            accepted.close()
        except asyncio.CancelledError:
            accepted.close()
        finally:
            if counted:
                host.uncount_address(address)


def _listen(address: str, port: int) -> socket.socket:
    family = socket.getaddrinfo(address, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0][0]
    return socket.create_server((address, port), family=family, backlog=BACKLOG)


def _new_loop() -> asyncio.AbstractEventLoop:
    """Return the fastest event loop that is installed."""
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()
