"""The listening port: a thread with an event loop, the limits of who is let in, and threads that work answers out.

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
from collections import Counter
from collections.abc import Callable, Hashable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Any, Protocol

from broker.dicom.upper_layer import answering
from broker.dicom.upper_layer.answering import DeferredReply, Reply, Request, ServiceProvider
from broker.dicom.upper_layer.connection import Connection
from broker.dicom.upper_layer.host import Peer, Waiting, WorkerThreads
from broker.dicom.upper_layer.limits import Limits
from broker.dicom.upper_layer.negotiation import Negotiator

log = logging.getLogger(__name__)

BACKLOG = 256
THREADS = 16
STEP = 0.01  # seconds after which responses that were worked out are sent
MOST_A_STEP = 100  # … or so many of them
GRACE = 2.0  # seconds that answers under way have when the port closes


class LogThrottle(Protocol):
    """What bounds how many lines peers that break the rules may write into the log."""

    def allow(self, key: Hashable) -> bool:
        """Return True if a line may be written for this key now, and count it."""

    def suppressed(self) -> int:
        """Return how many lines were not allowed, for want of room, since this was asked last."""


class Port:
    """Listens, and gives each connection what it shares with the others. All but start and stop is the loop's."""

    loop: asyncio.AbstractEventLoop
    threads: WorkerThreads

    def __init__(
        self, services: ServiceProvider, negotiator: Negotiator, limits: Limits, log_throttle: LogThrottle
    ) -> None:
        self.services, self.negotiator, self.limits = services, negotiator, limits
        self._log_throttle = log_throttle
        self.collected = 0  # bytes of unfinished messages
        self.stopping = False
        self.counts: Counter[str] = Counter()  # of what was refused, and why
        self._connections: dict[Peer, None] = {}
        self._asking: dict[Peer, None] = {}  # those that have no association yet, the oldest first
        self._associated: dict[Peer, None] = {}
        self._connected_from: Counter[str] = Counter()
        self._associated_from: Counter[str] = Counter()
        self._handshakes: set[asyncio.Task[None]] = set()
        self._to_begin: list[tuple[Waiting, Request, DeferredReply]] = []
        self._pool: ThreadPoolExecutor | None = None
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
        self.stopping = False
        self.threads = self._pool = ThreadPoolExecutor(THREADS, "dicom")
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
        return len(self._associated)

    @property
    def connections(self) -> int:
        """Number of connections, those without an association included."""
        return len(self._connections)

    def stop(self) -> None:
        """Accept nothing new, let answers under way go out for GRACE seconds, then abort what is left."""
        if self._thread is not None:
            self.loop.call_soon_threadsafe(self._closing.set)
            self._thread.join()
            self._thread = None
            if self._pool is not None:
                self._pool.shutdown(wait=True)
            self._listeners = []

    # ---- the thread ----

    def _run(self, started: Future[None], tls: ssl.SSLContext | None) -> None:
        with asyncio.Runner(loop_factory=_new_loop) as runner:
            self.loop = runner.get_loop()
            runner.run(self._serve(started, tls))

    async def _serve(self, started: Future[None], tls: ssl.SSLContext | None) -> None:
        self._closing = asyncio.Event()
        try:
            server = await self.loop.create_server(lambda: Connection(self), sock=self._listeners[0], backlog=BACKLOG)
            if tls is not None:
                self._listeners[1].setblocking(False)
                self.loop.add_reader(self._listeners[1], self._accept_tls, self._listeners[1], tls)
        except BaseException as error:
            started.set_exception(error)
            return
        started.set_result(None)
        await self._closing.wait()
        self.stopping = True
        server.close()
        if tls is not None:
            self.loop.remove_reader(self._listeners[1])
            self._listeners[1].close()
        for task in self._handshakes:
            task.cancel()
        for connection in list(self._connections):
            connection.shut_down()
        await self._gone(GRACE)
        for connection in list(self._connections):
            connection.abort()
        await self._gone(GRACE)
        await asyncio.sleep(0)

    async def _gone(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while (self._connections or self._handshakes) and time.monotonic() < end:
            await asyncio.sleep(0.01)

    # ---- who is let in ----

    def admit(self, connection: Peer) -> bool:
        """Count a connection; return False if there is no room for it."""
        if self.stopping or self._is_crowded(connection.address):
            self._refused("too many connections from one address", connection.address)
            return False
        if len(self._connections) >= self.limits.connections:
            oldest = next(iter(self._asking), None)
            if oldest is None:
                self._refused("too many connections", connection.address)
                return False
            # Whoever connects and asks for nothing makes room for those who may.
            self._refused("silent when there was no room", oldest.address)
            oldest.abort()
            self.forget(oldest)
        self._connections[connection] = None
        self._asking[connection] = None
        self._connected_from[connection.address] += 1
        return True

    def _is_crowded(self, address: str) -> bool:
        return self._connected_from[address] >= 2 * self.limits.per_address

    def has_room(self, connection: Peer) -> bool:
        """Return True if there is room for one association more."""
        full = len(self._associated) >= self.limits.associations
        crowded = self._associated_from[connection.address] >= self.limits.per_address
        if full or crowded:
            self._refused("too many associations", connection.address)
        return not (full or crowded)

    def associated(self, connection: Peer) -> None:
        """Count an association."""
        self._asking.pop(connection, None)
        self._associated[connection] = None
        self._associated_from[connection.address] += 1

    def forget(self, connection: Peer) -> None:
        """Count a connection no more; twice does no harm."""
        self._asking.pop(connection, None)
        for counted, counter in (
            (self._connections, self._connected_from),
            (self._associated, self._associated_from),
        ):
            if connection in counted:
                del counted[connection]
                counter[connection.address] -= 1
                if not counter[connection.address]:
                    del counter[connection.address]

    def complain(self, connection: Peer, words: str) -> None:
        """Log, and count, what a peer does wrong; lines are throttled, the rest is counted."""
        self._refused(words, connection.address, connection.calling)

    def _refused(self, words: str, address: str, calling: str = "") -> None:
        kind = words.split(":")[0]
        self.counts[kind if len(self.counts) < 100 else "others"] += 1
        if self._log_throttle.allow((address, kind)):
            suppressed = self._log_throttle.suppressed()
            more = f" (and {suppressed} others)" if suppressed else ""
            log.warning("connection from %s %sclosed: %s%s", address, f"({calling}) " if calling else "", words, more)

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
            if self._is_crowded(address) or len(self._handshakes) >= self.limits.connections:
                self._refused("too many connections from one address", address)
                accepted.close()
                continue
            self._connected_from[address] += 1
            accepted.setblocking(False)
            task = self.loop.create_task(self._shake_hands(accepted, tls, address))
            self._handshakes.add(task)
            task.add_done_callback(self._handshakes.discard)

    async def _shake_hands(self, accepted: socket.socket, tls: ssl.SSLContext, address: str) -> None:
        counted = True

        def connected() -> Connection:
            nonlocal counted
            self._uncount(address)  # from here on it is counted as a connection
            counted = False
            return Connection(self, begun)

        begun = self.loop.time()
        try:
            with contextlib.suppress(AttributeError):
                accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            await self.loop.connect_accepted_socket(
                connected, accepted, ssl=tls, ssl_handshake_timeout=self.limits.association, ssl_shutdown_timeout=1.0
            )
        except (OSError, ssl.SSLError, TimeoutError) as error:
            self._refused("no handshake over TLS", address)
            log.debug("no handshake with %s: %s", address, error)
            accepted.close()
        except asyncio.CancelledError:
            accepted.close()
        finally:
            if counted:
                self._uncount(address)

    def _uncount(self, address: str) -> None:
        self._connected_from[address] -= 1
        if not self._connected_from[address]:
            del self._connected_from[address]

    # ---- answers that take their time ----

    def await_reply(self, waiting: Waiting, request: Request, deferred: DeferredReply) -> None:
        """Hand a deferred reply to whoever waits, once it is there; no thread waits for it meanwhile.

        All that came in one turn of the loop is begun together, and so shares a commit.
        """
        if not self._to_begin:
            self.loop.call_soon(self._begin)
        self._to_begin.append((waiting, request, deferred))

    def _begin(self) -> None:
        together, self._to_begin = self._to_begin, []
        for waiting, request, deferred in together:
            try:
                deferred.begin().add_done_callback(partial(self._done, waiting, request, deferred))
            except Exception as error:  # whatever is broken here, the device gets an answer, and so do the others
                log.error("request of %s failed: %s", request.calling, type(error).__name__, exc_info=error)
                waiting.replied(request, Reply(answering.failure(request.command)))

    def _done(self, waiting: Waiting, request: Request, deferred: DeferredReply, done: Future[Any]) -> None:
        """Notice, on whatever thread, that a deferred reply is there."""

        def answer() -> None:
            try:
                reply = deferred.reply(done)
            except Exception as error:  # whatever is broken here, the device gets an answer
                log.error("request of %s failed: %s", request.calling, type(error).__name__, exc_info=error)
                reply = Reply(answering.failure(request.command))
            waiting.replied(request, reply)

        with contextlib.suppress(RuntimeError):  # the loop has ended, and with it whoever waited
            self.loop.call_soon_threadsafe(answer)

    def step(self, waiting: Waiting, work: Iterator[Reply], request: Request, max_length: int) -> None:
        """Work out some more responses on a thread, and hand them to whoever waits."""

        def run() -> None:
            data, done = _some_of(work, request, max_length)
            with contextlib.suppress(RuntimeError):  # the loop has ended, and with it whoever waited
                self.loop.call_soon_threadsafe(waiting.stepped, data, done)

        self.threads.submit(run)

    def close_work(self, work: Iterator[Reply]) -> None:
        """End an answer that nobody waits for, on a thread: it may have notes to write."""
        close: Callable[[], None] | None = getattr(work, "close", None)
        if close is not None:
            self.threads.submit(close)


def _some_of(work: Iterator[Reply], request: Request, max_length: int) -> tuple[bytes, bool]:
    """Work out responses for a moment; return their PDUs, and whether they were the last."""
    written: list[bytes] = []
    end = 0.0  # counted from the first answer on: it is then that others begin to wait
    try:
        for answer, more in answering.wires(request, work, max_length):
            written.append(answer)
            end = end or time.monotonic() + STEP
            # After the last one it is let run to its end, lest a C-CANCEL that comes now be answered, too.
            if more and (len(written) >= MOST_A_STEP or time.monotonic() > end):
                return b"".join(written), False
    except Exception as error:  # whatever is broken here, the device gets an answer
        log.error("request of %s failed: %s", request.calling, type(error).__name__, exc_info=error)
        written.append(answering.wire(request, Reply(answering.failure(request.command)), max_length))
    return b"".join(written), True


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
