"""A practice bus: ОДИИ as the wire profile describes it, for the demo, for commissioning and for tests.

HTTP only: who may call, what a body may be, faults on demand, and a server in a thread. What the bus does with a body
is in `practice_service`, what it refuses in `practice_rules`. It must share no code with the bus's client, whose judge
it is, and must never touch the clinic's database: it keeps what it gets in memory, or in a journal of its own.
"""

from __future__ import annotations

import asyncio
import errno
import hmac
import json
import logging
import signal
import socket
import threading
from collections import deque
from collections.abc import Callable, Iterable
from copy import deepcopy
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import uvicorn
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from broker.bus.practice_page import HEADERS, Refusal, render
from broker.bus.practice_records import Event
from broker.bus.practice_rules import Issue, Refused, Resource, strict_json
from broker.bus.practice_service import PracticeService

log = logging.getLogger(__name__)

BASE_PATH = "/imaging/api/fhir"
PRACTICE_TOKEN = "6f1c2f0e-5a3b-4c7d-9e21-0b8d4a7f3c55"
PRACTICE_ORGANISATION = "3b9d1c6a-7e42-4f0b-8a55-1d2c3e4f5a61"
PRACTICE_ORGANISATION_2 = "c84e7f12-0d39-4b6e-9c7a-5f6e7d8c9b02"
BODY_LIMIT = 10 * 1024 * 1024  # bytes
LOG_LIMIT = 32 * 1024 * 1024  # bytes of request bodies remembered
FAULTS = ("503", "429", "401", "html", "timeout-after-commit", "drop", "slow")


class Recorded(NamedTuple):
    """One request: path below the base with its query as sent, status answered (0: none), the body's bytes."""

    method: str
    path: str
    status: int
    body: bytes


class PracticeBus:
    """The bus: what it holds, what it was asked, which faults it is to show next. Safe to use from any thread."""

    def __init__(
        self,
        token: str = PRACTICE_TOKEN,
        organisations: Iterable[str] = (PRACTICE_ORGANISATION, PRACTICE_ORGANISATION_2),
        directory: Path | None = None,
        *,
        accession_format: str = "ODII{:010d}",
        statuses: Iterable[str] = ("cancelled",),
        answer_urn: bool = False,
        lenient: bool = False,
    ) -> None:
        """Open the bus; a journal in `directory` is replayed. ValueError if that is damaged, OSError if unreadable.

        `accession_format` gets the order's number, `statuses` are what $updatestatus takes, and with `answer_urn` the
        answered fullUrl is "urn:uuid:<guid>", as some deployments do. A `lenient` bus does not insist on what a clinic
        without the official dictionaries cannot fill: body site, diagnosis, the doctor and the codes of a position.
        """
        self._authorization = f"N3 {token}".encode()
        self._service = PracticeService(organisations, directory, accession_format, statuses, answer_urn, lenient)
        self._lock = threading.Lock()
        self._faults: list[tuple[str, str | None]] = []
        self._requests: deque[Recorded] = deque(maxlen=1000)
        self._refusals: deque[Refusal] = deque(maxlen=50)
        self.app = Starlette(
            routes=[
                Route("/", self._page, methods=["GET"]),
                Route(BASE_PATH + "{rest:path}", self._call, methods=["GET", "POST", "PUT", "PATCH", "DELETE"]),
            ]
        )

    def resources(self, resource_type: str) -> list[Resource]:
        """Copy the stored resources of one type, oldest first."""
        return deepcopy(self._service.resources(resource_type))

    def tasks(self) -> list[Resource]:
        """Copy the stored Tasks, oldest first."""
        return self.resources("Task")

    def events(self) -> list[Event]:
        """List what the page shows, newest first."""
        return self._service.events()

    @property
    def requests(self) -> list[Recorded]:
        """Copy the log of requests, oldest first; the oldest are dropped past 1000 or 32 MB."""
        with self._lock:
            return list(self._requests)

    def transaction(self, bundle: Resource) -> Resource:
        """Take a Bundle as if another organisation had posted it, without HTTP; raise Refused."""
        return deepcopy(self._service.transaction(deepcopy(bundle)))

    def update_status(self, task_id: str, status: str) -> Resource:
        """Change a Task's status as if another organisation had, without HTTP; raise Refused."""
        given = [{"name": "_id", "valueString": task_id}, {"name": "status", "valueString": status}]
        return deepcopy(self._service.update_status({"resourceType": "Parameters", "parameter": given}))

    def fail_next(self, kind: str, times: int = 1, path: str | None = None) -> None:
        """Show a fault of FAULTS to the next requests, or the next ones to a path: "/" (bundles), "/Task/_search"…"""
        if kind not in FAULTS:
            raise ValueError(f"unknown fault {kind}, known are {', '.join(FAULTS)}")
        with self._lock:
            self._faults += [(kind, path)] * times

    async def _call(self, request: Request) -> Response:
        """Serve one call of the interface, or the fault that was asked for."""
        path = request.path_params["rest"] or "/"
        body = await _body(request)
        fault = self._take_fault(path)
        if fault == "slow":
            await _wait(request, 2)
        if fault == "drop":
            self._record(request, path, 0, body)
            return await _hang_up(request)
        if fault in ("503", "429", "401", "html"):
            response = _faulty(fault)
        else:
            status, answer = await run_in_threadpool(self._answer, request, path, body)
            response = _json(status, answer)
        if fault == "timeout-after-commit":
            self._record(request, path, 0, body)
            await _wait(request, 30)
            return await _hang_up(request)
        self._record(request, path, response.status_code, body)
        return response

    def _answer(self, request: Request, path: str, body: bytes | None) -> tuple[int, Resource]:
        """Do what is asked and answer (status, resource)."""
        try:
            self._check_frame(request, body)
            return self._dispatch(request.method, path, body or b"")
        except Refused as refused:
            reason = "; ".join(issue.diagnostics for issue in refused.issues)
            with self._lock:
                self._refusals.appendleft(Refusal(datetime.now(UTC), request.method, path, refused.status, reason))
            return refused.status, refused.outcome()
        except OSError as error:  # the journal could not be written
            log.error("practice bus: not stored: %s", error)
            return 503, Refused(503, Issue("exception", "Сервис временно не может сохранить данные")).outcome()

    def _check_frame(self, request: Request, body: bytes | None) -> None:
        """Check who calls and what kind of body comes, before looking into it; raise Refused."""
        given = request.headers.get("authorization", "").encode("latin-1")
        if not hmac.compare_digest(given, self._authorization):
            raise Refused(401, Issue("login", "Не указан или неверен ключ доступа: Authorization: N3 <GUID>"))
        if body is None:
            raise Refused(413, Issue("too-long", f"Тело запроса больше {BODY_LIMIT // 1024 // 1024} МБ"))
        media, _, parameters = request.headers.get("content-type", "").lower().partition(";")
        charset = parameters.replace(" ", "").replace('"', "")
        if request.method == "POST" and (media.strip() != "application/json" or charset not in ("", "charset=utf-8")):
            raise Refused(415, Issue("not-supported", "Ожидается Content-Type: application/json"))

    def _dispatch(self, method: str, path: str, body: bytes) -> tuple[int, Resource]:
        """Find the verb for a method and path and do it; raise Refused."""
        service = self._service
        if not path.startswith("/"):  # the base with letters glued to it
            raise Refused(404, Issue("not-found", "Адрес не найден"))
        match method, path.strip("/").split("/"):
            case "POST", [""]:
                return 200, service.transaction(strict_json(body))
            case "POST", ["$updatestatus"]:
                return 200, service.update_status(strict_json(body))
            case "POST", [resource_type, "_search"]:
                return 200, service.search(resource_type, strict_json(body))
            case "POST", [resource_type]:
                created = service.create(resource_type, strict_json(body))
                return 201 if created["meta"]["versionId"] == "1" else 200, created
            case "GET", [resource_type, resource_id]:
                return 200, service.read(resource_type, resource_id)
            case (("GET" | "POST"), _):
                raise Refused(404, Issue("not-found", f"Метод {path} не найден"))
        raise Refused(405, Issue("not-supported", f"{method} не поддерживается"))

    def _take_fault(self, path: str) -> str:
        """Take the first fault that is meant for this path, empty if none is."""
        with self._lock:
            for i, (kind, wanted) in enumerate(self._faults):
                if wanted in (None, path):
                    del self._faults[i]
                    return kind
        return ""

    def _record(self, request: Request, path: str, status: int, body: bytes | None) -> None:
        """Remember a request, and forget the oldest when the bodies take too much memory."""
        query = f"?{request.url.query}" if request.url.query else ""
        with self._lock:
            self._requests.append(Recorded(request.method, path + query, status, body or b""))
            while sum(len(recorded.body) for recorded in self._requests) > LOG_LIMIT:
                self._requests.popleft()

    def _page(self, _request: Request) -> Response:
        """Show people what the bus took in."""
        with self._lock:
            refusals = list(self._refusals)
        return HTMLResponse(render(self.events(), refusals), headers=HEADERS)


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
        """Tell the base address of the interface, as a client's configuration wants it."""
        return self.page_url + BASE_PATH.removeprefix("/")

    @property
    def page_url(self) -> str:
        """Tell the address of the page for people."""
        host = "127.0.0.1" if self._address in ("", "0.0.0.0") else self._address
        return f"http://{host}:{self._port}/"

    def start(self) -> None:
        """Listen, and return when requests are served; raise OSError if the address or port cannot be had."""
        try:
            listener = socket.create_server((self._address, self._port), backlog=128)
        except OSError as error:
            text = "is already taken" if error.errno == errno.EADDRINUSE else f"cannot be had: {error.strerror}"
            raise OSError(error.errno, f"practice bus: port {self._port} on {self._address} {text}") from None
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
        """End the server; calls that are being kept waiting on purpose are hung up on."""
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
        """Serve the bus, telling each call which server it came through."""
        scope["practice_server"] = self
        await self.bus.app(scope, receive, send)


def serve(
    address: str = "127.0.0.1",
    port: int = 8090,
    token: str = PRACTICE_TOKEN,
    directory: Path | None = None,
    announce: Callable[[PracticeServer], object] | None = None,
    lenient: bool = False,
) -> None:
    """Run a practice bus until SIGINT or SIGTERM, from the main thread; raise OSError or ValueError if it cannot start.

    `announce` is called once with the listening server, for its `url` and `page_url`.
    """
    server = PracticeServer(PracticeBus(token, directory=directory, lenient=lenient), address, port)
    ended = threading.Event()
    signals = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.signal(number, lambda *_: ended.set()) for number in signals}
    try:
        server.start()
        log.info("practice bus: listening at %s", server.url)
        if announce:
            announce(server)
        ended.wait()
    finally:
        server.stop()
        for number, handler in before.items():
            signal.signal(number, handler)


async def _body(request: Request) -> bytes | None:
    """Read a body; None if it is too long. Some of the excess is read too, so that the client sees the answer."""
    read = bytearray()
    excess = 0
    async for chunk in request.stream():
        if len(read) + len(chunk) <= BODY_LIMIT and not excess:
            read += chunk
        else:
            excess += len(chunk)
            if excess > 4 * BODY_LIMIT:
                break
    return None if excess else bytes(read)


async def _wait(request: Request, seconds: float) -> None:
    """Keep a client waiting, until it goes or the server is stopped."""
    server = request.scope.get("practice_server")
    end = asyncio.get_running_loop().time() + seconds
    while asyncio.get_running_loop().time() < end:
        if (isinstance(server, PracticeServer) and server.stopping) or await request.is_disconnected():
            return
        await asyncio.sleep(0.05)


async def _hang_up(request: Request) -> Response:
    """Cut the connection; the response returned then goes nowhere."""
    server = request.scope.get("practice_server")
    if not isinstance(server, PracticeServer) or not request.client:
        raise ConnectionAbortedError("the practice bus can hang up only under PracticeServer")
    server.hang_up((request.client.host, request.client.port))
    while not await request.is_disconnected():
        await asyncio.sleep(0.01)
    return Response(status_code=503)


def _faulty(fault: str) -> Response:
    """Render the answer of a fault that looks at nothing."""
    if fault == "html":
        return HTMLResponse("<!DOCTYPE html><html><body><h1>Портал: выполните вход</h1></body></html>")
    texts = {
        "503": "Сервис временно недоступен",
        "429": "Слишком много запросов",
        "401": "Ключ доступа отозван",
    }
    response = _json(int(fault), Refused(int(fault), Issue("transient", texts[fault])).outcome())
    if fault == "429":
        response.headers["Retry-After"] = "1"
    return response


def _json(status: int, answer: Resource) -> Response:
    """Render a resource; a created one names its place."""
    response = Response(
        json.dumps(answer, ensure_ascii=False).encode(), status, media_type="application/json; charset=utf-8"
    )
    if status == 201:
        response.headers["Location"] = f"{BASE_PATH}/{answer['resourceType']}/{answer['id']}"
    return response
