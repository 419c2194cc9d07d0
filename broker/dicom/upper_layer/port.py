"""The listening port: a thread with an event loop, who is let in, and the threads that work answers out.

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
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Any

from broker.dicom.devices.throttle import Seldom
from broker.dicom.upper_layer import answering
from broker.dicom.upper_layer.answering import Later, Reply, Request, Services
from broker.dicom.upper_layer.connection import Connection
from broker.dicom.upper_layer.limits import Limits
from broker.dicom.upper_layer.negotiation import Negotiator

log = logging.getLogger(__name__)

BACKLOG = 256
THREADS = 16
STEP = 0.01  # seconds after which answers that were worked out are sent
MOST_A_STEP = 100  # … or so many of them
GRACE = 2.0  # seconds that answers under way have when the port closes
LINES_A_MINUTE = 30  # about peers that break the rules; the rest is counted


class Port:
    """Listens, and gives each connection what it shares with the others. All but start and stop is the loop's."""

    loop: asyncio.AbstractEventLoop

    def __init__(self, services: Services, negotiator: Negotiator, limits: Limits) -> None:
        self.services, self.negotiator, self.limits = services, negotiator, limits
        self.collected = 0  # bytes of unfinished messages
        self.stopping = False
        self.counts: Counter[str] = Counter()  # of what was refused, and why
        self._connections: dict[Connection, None] = {}
        self._asking: dict[Connection, None] = {}  # those that have no association yet, the oldest first
        self._associated: dict[Connection, None] = {}
        self._connected_from: Counter[str] = Counter()
        self._associated_from: Counter[str] = Counter()
        self._handshakes: set[asyncio.Task[None]] = set()
        self._to_begin: list[tuple[Connection, Request, Later]] = []
        self._lines = Seldom(60.0, LINES_A_MINUTE)
        self._listeners: list[socket.socket] = []
        self._thread: threading.Thread | None = None

    # ---- from other threads ----

    def start(self, address: str, port: int, tls: tuple[ssl.SSLContext, int] | None = None) -> None:
        """Listen; raise OSError where a port cannot be had."""
        self._listeners = [_listen(address, port)]
        try:
            if tls is not None:
                self._listeners.append(_listen(address, tls[1]))
        except OSError:
            self._listeners[0].close()
            raise
        self.stopping = False
        self.threads = ThreadPoolExecutor(THREADS, "dicom")
        started: Future[None] = Future()
        self._thread = threading.Thread(
            target=self._run, args=(started, tls[0] if tls else None), name="dicom-port", daemon=True
        )
        self._thread.start()
        started.result()

    def ports(self) -> list[int]:
        """Give the ports that it listens on, that of TLS second."""
        return [int(each.getsockname()[1]) for each in self._listeners]

    @property
    def associations(self) -> int:
        """How many associations there are."""
        return len(self._associated)

    @property
    def connections(self) -> int:
        """How many connections there are, those without an association included."""
        return len(self._connections)

    def stop(self) -> None:
        """Take nothing new, let answers under way go out for a moment, then abort what is left."""
        if self._thread is not None:
            self.loop.call_soon_threadsafe(self._closing.set)
            self._thread.join()
            self._thread = None
            self.threads.shutdown(wait=True)
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

    def admit(self, connection: Connection) -> bool:
        """Count a connection; say whether there is room for it."""
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

    def has_room(self, connection: Connection) -> bool:
        """Say whether there is room for one association more."""
        full = len(self._associated) >= self.limits.associations
        crowded = self._associated_from[connection.address] >= self.limits.per_address
        if full or crowded:
            self._refused("too many associations", connection.address)
        return not (full or crowded)

    def associated(self, connection: Connection) -> None:
        """Count an association."""
        self._asking.pop(connection, None)
        self._associated[connection] = None
        self._associated_from[connection.address] += 1

    def forget(self, connection: Connection) -> None:
        """Count a connection no more; twice does no harm."""
        self._asking.pop(connection, None)
        for kept, counter in (
            (self._connections, self._connected_from),
            (self._associated, self._associated_from),
        ):
            if connection in kept:
                del kept[connection]
                counter[connection.address] -= 1
                if not counter[connection.address]:
                    del counter[connection.address]

    def complain(self, connection: Connection, words: str) -> None:
        """Say in the log what a peer does wrong, now and then."""
        self._refused(words, connection.address, connection.calling)

    def _refused(self, words: str, address: str, calling: str = "") -> None:
        kind = words.split(":")[0]
        self.counts[kind if len(self.counts) < 100 else "others"] += 1
        if self._lines.now((address, kind)):
            held_back = self._lines.held_back()
            more = f" (and {held_back} others)" if held_back else ""
            log.warning("connection from %s %sclosed: %s%s", address, f"({calling}) " if calling else "", words, more)

    # ---- TLS ----

    def _accept_tls(self, listener: socket.socket, tls: ssl.SSLContext) -> None:
        """Take connections one by one, so that those whose handshake never ends are counted too."""
        for _ in range(BACKLOG):
            try:
                accepted, peer = listener.accept()
            except (BlockingIOError, InterruptedError):
                return
            except OSError as error:
                log.warning("a connection over TLS could not be accepted: %s", error.strerror)
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

    def await_reply(self, connection: Connection, request: Request, later: Later) -> None:
        """Hand an answer to the connection when it is there; nobody waits for it meanwhile.

        All that came in one turn of the loop is begun together, and so shares a commit.
        """
        if not self._to_begin:
            self.loop.call_soon(self._begin)
        self._to_begin.append((connection, request, later))

    def _begin(self) -> None:
        together, self._to_begin = self._to_begin, []
        for connection, request, later in together:
            try:
                later.begin().add_done_callback(partial(self._done, connection, request, later))
            except Exception as error:  # whatever is broken here, who asks is told, and so are the others
                log.error("a request of %s failed: %s", request.calling, type(error).__name__, exc_info=error)
                connection.replied(request, Reply(answering.failure(request.command)))

    def _done(self, connection: Connection, request: Request, later: Later, done: Future[Any]) -> None:
        """Hear, on whatever thread, that an answer is there."""

        def answer() -> None:
            try:
                reply = later.reply(done)
            except Exception as error:  # whatever is broken here, who asks is told
                log.error("a request of %s failed: %s", request.calling, type(error).__name__, exc_info=error)
                reply = Reply(answering.failure(request.command))
            connection.replied(request, reply)

        with contextlib.suppress(RuntimeError):  # the loop has ended, and with it who would have been told
            self.loop.call_soon_threadsafe(answer)

    def step(self, connection: Connection, work: Iterator[Reply], request: Request, most: int) -> None:
        """Work out some more answers on a thread, and hand them to the connection."""

        def run() -> None:
            data, done = _some_of(work, request, most)
            with contextlib.suppress(RuntimeError):  # the loop has ended, and with it who would have been told
                self.loop.call_soon_threadsafe(connection.stepped, data, done)

        self.threads.submit(run)

    def close_work(self, work: Iterator[Reply]) -> None:
        """End an answer that nobody waits for, on a thread: it may have notes to write."""
        close: Callable[[], None] | None = getattr(work, "close", None)
        if close is not None:
            self.threads.submit(close)


def _some_of(work: Iterator[Reply], request: Request, most: int) -> tuple[bytes, bool]:
    """Work out answers for a moment: their PDUs, and whether they were the last."""
    told: list[bytes] = []
    end = 0.0  # counted from the first answer on: it is then that others begin to wait
    try:
        for answer, more in answering.wires(request, work, most):
            told.append(answer)
            end = end or time.monotonic() + STEP
            # After the last one it is let run to its end, lest a C-CANCEL that comes now be answered, too.
            if more and (len(told) >= MOST_A_STEP or time.monotonic() > end):
                return b"".join(told), False
    except Exception as error:  # whatever is broken here, who asks is told
        log.error("a request of %s failed: %s", request.calling, type(error).__name__, exc_info=error)
        told.append(answering.wire(request, Reply(answering.failure(request.command)), most))
    return b"".join(told), True


def _listen(address: str, port: int) -> socket.socket:
    family = socket.getaddrinfo(address, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0][0]
    return socket.create_server((address, port), family=family, backlog=BACKLOG)


def _new_loop() -> asyncio.AbstractEventLoop:
    """Make the fastest loop at hand."""
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()
