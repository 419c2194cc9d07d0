"""The HTTP server of the practice bus: a port, a thread, and closing a client's connection. `bus` answers the calls."""

from __future__ import annotations

import errno
import logging
import signal
import socket
import threading
from collections.abc import Callable

import uvicorn
from starlette.types import Receive, Scope, Send

from broker.bus.practice.bus import PracticeBus
from broker.bus.practice.connection import BASE_PATH

log = logging.getLogger(__name__)

BACKLOG = 2048  # all clinics of a region may reconnect at the same time


class PracticeServer:
    """A practice bus listening on an address and port (0: a free one), in a thread of its own."""

    def __init__(self, bus: PracticeBus, address: str = "127.0.0.1", port: int = 0) -> None:
        self.bus = bus
        self.stopping = False
        self._address, self._port = address, port
        self._server: uvicorn.Server | None = None
        self._thread: threading.Thread | None = None

    @property
    def url(self) -> str:
        """Return the base address of the interface, as a client's configuration wants it."""
        return self.page_url + BASE_PATH.removeprefix("/")

    @property
    def page_url(self) -> str:
        """Return the address of the page for people."""
        host = "127.0.0.1" if self._address in ("", "0.0.0.0") else self._address
        return f"http://{host}:{self._port}/"

    def start(self) -> None:
        """Listen, and return when requests are served; raise OSError if the address or port cannot be had."""
        try:
            listener = socket.create_server((self._address, self._port), backlog=BACKLOG)
        except OSError as error:
            text = "is already taken" if error.errno == errno.EADDRINUSE else f"cannot be had: {error.strerror}"
            raise OSError(error.errno, f"practice bus: port {self._port} on {self._address} {text}") from None
        # Inherited by what is accepted; asyncio sets it only on sockets that name their protocol. Without it, an answer
        # to a client that keeps its connection is 40 ms late.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._port = listener.getsockname()[1]
        self.stopping = False
        # log_config=None: the program's own logging stays as it is; uvicorn takes no signals outside the main thread.
        config = uvicorn.Config(
            self._app,
            loop="asyncio",
            http="h11",
            interface="asgi3",
            proxy_headers=False,  # a client is found again by its own address
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            date_header=False,  # the bus has a clock of its own
            timeout_graceful_shutdown=3,
        )
        server = self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=server.run, args=([listener],), name="practice-bus", daemon=True)
        self._thread.start()
        while not server.started:
            if not self._thread.is_alive():
                listener.close()
                raise OSError("practice bus: the server ended while starting; see the log")
            self._thread.join(0.01)

    def stop(self) -> None:
        """End the server; connections of calls that are delayed on purpose are closed."""
        if self._server and self._thread:
            self.stopping = True
            self._server.should_exit = True
            self._thread.join(10)
            self._server = self._thread = None

    def hang_up(self, client: tuple[str, int]) -> None:
        """Cut a client's connection without an answer; only from the server's own thread."""
        for connection in list(self._server.server_state.connections) if self._server else []:
            if getattr(connection, "client", None) == client:
                connection.transport.abort()

    async def _app(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve the bus; each call gets a reference to this server in its scope."""
        scope["practice_server"] = self
        await self.bus.app(scope, receive, send)


def serve(
    bus: PracticeBus,
    address: str = "127.0.0.1",
    port: int = 8090,
    on_ready: Callable[[PracticeServer], object] | None = None,
) -> None:
    """Run a practice bus until SIGINT or SIGTERM, from the main thread; raise OSError if it cannot listen.

    `on_ready` is called once with the listening server, for its `url` and `page_url`.
    """
    server = PracticeServer(bus, address, port)
    ended = threading.Event()
    signals = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.signal(number, lambda *_: ended.set()) for number in signals}
    try:
        server.start()
        log.info("practice bus: listening at %s", server.url)
        if on_ready:
            on_ready(server)
        ended.wait()
    finally:
        server.stop()
        for number, handler in before.items():
            signal.signal(number, handler)
