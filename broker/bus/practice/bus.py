"""The practice bus as it is called: ОДИИ as the wire profile describes it, over HTTP.

HTTP only: who may call, what a body may be, when a fault is shown. What the bus does with a body is in `service`, what
it refuses in `serving.rules`, what people see in `page`. It must share no code with the bus's client, whose judge it
is, and must never touch the clinic's database: it keeps what it gets in memory, or in a journal of its own.
"""

from __future__ import annotations

import asyncio
import logging
import math
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from copy import deepcopy
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from broker.bus.fhir_server.rules import Issue, OperationRefused, Resource, strict_json
from broker.bus.practice.faults import NO_FAULT, Fault, Faults, answer_instead, fault, spoilt
from broker.bus.practice.server import BASE_PATH, PracticeServer, hang_up, stopping, wait
from broker.bus.practice.service import PracticeService
from broker.bus.practice.web import PracticeWeb

log = logging.getLogger(__name__)

PRACTICE_TOKEN = "6f1c2f0e-5a3b-4c7d-9e21-0b8d4a7f3c55"
PRACTICE_TOKEN_2 = "d27a94b1-83c6-4f5e-a0b9-6e3f1c8d7720"
PRACTICE_ORGANISATION = "3b9d1c6a-7e42-4f0b-8a55-1d2c3e4f5a61"
PRACTICE_ORGANISATION_2 = "c84e7f12-0d39-4b6e-9c7a-5f6e7d8c9b02"
BODY_LIMIT = 10 * 1024 * 1024  # bytes
LOG_LIMIT = 32 * 1024 * 1024  # bytes of request bodies remembered
SECONDS_KEPT = 3600


class Recorded(NamedTuple):
    """One request: path below the base with its query as sent, status answered (0: none), the body's bytes.

    `organisation` is the GUID of who called, empty if unknown; `at` is UTC; `reason` is why it was refused.
    """

    method: str
    path: str
    status: int
    body: bytes
    organisation: str
    at: datetime
    reason: str


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
        token_2: str = PRACTICE_TOKEN_2,
        clinics: Mapping[str, str] | None = None,
        latency: float = 0.0,
        fault_rate: float = 0.0,
        seed: int | None = None,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """Open the bus; a journal in `directory` is replayed. ValueError if that is damaged, OSError if unreadable.

        The first of the `organisations` calls with `token`, the second with `token_2`; `clinics` are more of them, by
        their tokens. `accession_format` gets the order's number, `statuses` are what $updatestatus takes, and with
        `answer_urn` the answered fullUrl is "urn:uuid:<guid>", as some deployments do. A `lenient` bus does not insist
        on what a clinic without the official dictionaries cannot fill: body site, diagnosis, the doctor and the codes
        of a position. Every call takes `latency` seconds longer, and fails by one of RANDOM_FAULTS with the probability
        `fault_rate`; the same `seed` gives the same ones. `clock` gives aware UTC datetimes.
        """
        organisations = list(organisations)
        named = [*zip((token, token_2), organisations, strict=False), *(clinics or {}).items()]
        self._callers = {_digest(f"N3 {key}".encode()): organisation for key, organisation in named}
        if len(self._callers) < len(named):
            raise ValueError("practice bus: two organisations cannot have one token")
        if not (math.isfinite(latency) and latency >= 0):
            raise ValueError(f"practice bus: latency {latency} is not a number of seconds")
        organisations += [guid for guid in dict.fromkeys((clinics or {}).values()) if guid not in organisations]
        self._service = PracticeService(
            organisations, directory, accession_format, statuses, answer_urn, lenient, clock
        )
        self._clock = clock
        self._latency = latency
        self._lock = threading.Lock()
        self._faults = Faults(fault_rate, seed)
        self._requests: deque[Recorded] = deque(maxlen=1000)
        self._logged = 0  # requests ever, of which the last ones are remembered
        self._remembered = 0  # bytes
        self._seconds: dict[int, int] = {}
        methods = ["GET", "POST", "PUT", "PATCH", "DELETE"]
        call = Route(BASE_PATH + "{rest:path}", self._call, methods=methods)
        self.app = Starlette(routes=[call, *PracticeWeb(self, self._service, clock).routes])

    def resources(self, resource_type: str) -> list[Resource]:
        """Copy the stored resources of one type, oldest first."""
        return deepcopy(self._service.resources(resource_type))

    def tasks(self) -> list[Resource]:
        """Copy the stored Tasks, oldest first."""
        return self.resources("Task")

    def recent(self, number: int) -> list[tuple[int, Recorded]]:
        """Copy the last requests, numbered from 1 since the start, newest first."""
        with self._lock:
            newest = reversed(self._requests)
            return [(self._logged - i, recorded) for i, recorded in zip(range(number), newest, strict=False)]

    def recorded(self, number: int) -> Recorded | None:
        """Give the request of a number, None if it is forgotten or never came."""
        with self._lock:
            i = number - self._logged - 1
            return self._requests[i] if -len(self._requests) <= i < 0 else None

    @property
    def requests(self) -> list[Recorded]:
        """Copy the log of requests, oldest first; the oldest are dropped past 1000 or 32 MB."""
        with self._lock:
            return list(self._requests)

    @property
    def request_count(self) -> int:
        """Tell how many requests ever came; the last of them are in `requests`."""
        with self._lock:
            return self._logged

    def per_second(self) -> dict[int, int]:
        """Count the requests by the second (Unix time) in which they came; seconds without any are left out."""
        with self._lock:
            return dict(self._seconds)

    def transaction(self, bundle: Resource, organisation: str = "") -> Resource:
        """Take a Bundle as if an organisation (empty: whichever may) had posted it, without HTTP; raise Refused."""
        return deepcopy(self._service.transaction(deepcopy(bundle), organisation))

    def update_status(self, task_id: str, status: str, organisation: str = "") -> Resource:
        """Change a Task's status as if an organisation (empty: whichever may) had, without HTTP; raise Refused."""
        given = [{"name": "_id", "valueString": task_id}, {"name": "status", "valueString": status}]
        sent = {"resourceType": "Parameters", "parameter": given}
        return deepcopy(self._service.update_status(sent, organisation))

    def fail_next(self, kind: str, times: int = 1, path: str | None = None) -> None:
        """Show a fault of FAULTS to the next requests, or the next ones to a path: "/" (bundles), "/Task/_search"…

        `kind` may bring its seconds or address: "slow=5", "redirect=http://127.0.0.1:81/". A path that ends with "*" is
        a prefix. ValueError if there is no such fault.
        """
        self.add_fault(fault(kind, path), times)

    def add_fault(self, due: Fault, times: int = 1) -> None:
        """Show a fault to the next requests that it is meant for."""
        with self._lock:
            self._faults.add(due, times)

    def clear_faults(self) -> None:
        """Show none of the faults that are still due, and end a dry run."""
        with self._lock:
            self._faults.due.clear()
            self._faults.rate = 0.0

    def due_faults(self) -> tuple[list[tuple[Fault, int]], float]:
        """List the faults that are still to be shown, with how often, and the rate of random ones."""
        with self._lock:
            return list(self._faults.due), self._faults.rate

    async def _call(self, request: Request) -> Response:
        """Serve one call of the interface, or the fault that was asked for."""
        path = request.path_params["rest"] or "/"
        came = self._clock()
        body = await _body(request)
        if self._latency:
            await asyncio.sleep(self._latency)
        caller = self._callers.get(_digest(request.headers.get("authorization", "").encode("latin-1")), "")
        reason = ""
        with self._lock:
            due = self._faults.take(path)
        if due.kind == "slow":
            await wait(request, due.seconds)
        if due.kind == "drop":
            response = None
        elif due.instead:
            response = answer_instead(due)
        else:
            status, answer, reason = await run_in_threadpool(self._answer, request, path, body, caller)
            response = spoilt(due, status, answer, lambda: stopping(request))
            if status == 201:
                response.headers["Location"] = f"{BASE_PATH}/{answer['resourceType']}/{answer['id']}"
        if due.kind == "timeout-after-commit":
            response = None
        status = response.status_code if response else 0
        shown = f"сбой по требованию: {due.kind}" if due != NO_FAULT else ""
        query = f"?{request.url.query}" if request.url.query else ""
        self._record(Recorded(request.method, path + query, status, body or b"", caller, came, reason or shown))
        if due.kind == "timeout-after-commit":
            await wait(request, due.seconds)
        return response or await hang_up(request)

    def _answer(self, request: Request, path: str, body: bytes | None, caller: str) -> tuple[int, Resource, str]:
        """Do what is asked and answer (status, resource, why it was refused)."""
        try:
            _check_frame(request, body, caller)
            return *self._dispatch(request.method, path, body or b"", caller), ""
        except OperationRefused as refused:
            return refused.status, refused.outcome(), "; ".join(issue.diagnostics for issue in refused.issues)
        except OSError as error:  # the journal could not be written
            log.error("practice bus: not stored: %s", error)
            text = "Сервис временно не может сохранить данные"
            return 503, OperationRefused(503, Issue("exception", text)).outcome(), text

    def _dispatch(self, method: str, path: str, body: bytes, caller: str) -> tuple[int, Resource]:
        """Find the verb for a method and path and do it; raise Refused."""
        service = self._service
        if not path.startswith("/"):  # the base with letters glued to it
            raise OperationRefused(404, Issue("not-found", "Адрес не найден"))
        match method, path.strip("/").split("/"):
            case "POST", [""]:
                return 200, service.transaction(strict_json(body), caller)
            case "POST", ["$updatestatus"]:
                return 200, service.update_status(strict_json(body), caller)
            case "POST", [resource_type, "_search"]:
                return 200, service.search(resource_type, strict_json(body), caller)
            case "POST", [resource_type]:
                created = service.create(resource_type, strict_json(body))
                return 201 if created["meta"]["versionId"] == "1" else 200, created
            case "GET", [resource_type, resource_id]:
                return 200, service.read(resource_type, resource_id, caller)
            case (("GET" | "POST"), _):
                raise OperationRefused(404, Issue("not-found", f"Метод {path} не найден"))
        raise OperationRefused(405, Issue("not-supported", f"{method} не поддерживается"))

    def _record(self, recorded: Recorded) -> None:
        """Remember a request, and forget the oldest when the bodies take too much memory."""
        second = int(recorded.at.timestamp())
        with self._lock:
            self._logged += 1
            if len(self._requests) == self._requests.maxlen:
                self._remembered -= len(self._requests.popleft().body)
            self._requests.append(recorded)
            self._remembered += len(recorded.body)
            while self._remembered > LOG_LIMIT:
                self._remembered -= len(self._requests.popleft().body)
            self._seconds[second] = self._seconds.get(second, 0) + 1
            if len(self._seconds) > SECONDS_KEPT:
                del self._seconds[min(self._seconds)]


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


def _check_frame(request: Request, body: bytes | None, caller: str) -> None:
    """Check who calls and what kind of body comes, before looking into it; raise Refused."""
    if not caller:
        raise OperationRefused(401, Issue("login", "Не указан или неверен ключ доступа: Authorization: N3 <GUID>"))
    if body is None:
        raise OperationRefused(413, Issue("too-long", f"Тело запроса больше {BODY_LIMIT // 1024 // 1024} МБ"))
    media, _, parameters = request.headers.get("content-type", "").lower().partition(";")
    charset = parameters.replace(" ", "").replace('"', "")
    if request.method == "POST" and (media.strip() != "application/json" or charset not in ("", "charset=utf-8")):
        raise OperationRefused(415, Issue("not-supported", "Ожидается Content-Type: application/json"))


def _digest(authorization: bytes) -> bytes:
    """Hash what a caller shows: a hash is looked up in the same time whether or not it is nearly right."""
    return sha256(authorization).digest()
