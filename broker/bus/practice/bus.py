"""The HTTP interface of the practice bus.

Authentication, limits of the body, and faults; `service` does the operations, `fhir_server.rules` validates, `page` is
for people. It shares no code with the client of the bus, which is tested with it, and does not use the clinic's
database: resources are stored in memory, or in a journal.
"""

from __future__ import annotations

import asyncio
import logging
from copy import deepcopy
from datetime import UTC
from email.utils import format_datetime
from hashlib import sha256

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from broker.bus.fhir_server import r4
from broker.bus.fhir_server.requests import answer_type, check_media_type, deviations, names_fhir, strict_json
from broker.bus.fhir_server.rules import Issue, OperationRefused, Resource
from broker.bus.practice.connection import BASE_PATH, hang_up, stopping, wait
from broker.bus.practice.faults import NO_FAULT, Fault, Faults, answer_instead, fault, spoil
from broker.bus.practice.request_log import Recorded, RequestLog
from broker.bus.practice.service import PracticeService
from broker.bus.practice.settings import PracticeSettings
from broker.bus.practice.web import PracticeWeb

log = logging.getLogger(__name__)

BODY_LIMIT = 10 * 1024 * 1024  # bytes


class PracticeBus:
    """The practice bus: resources, log of requests, and pending faults. Safe to use from any thread."""

    def __init__(self, settings: PracticeSettings | None = None) -> None:
        """Open the bus and replay its journal. Raise ValueError if that is damaged, OSError if unreadable."""
        settings = settings or PracticeSettings()
        self.log = RequestLog()
        self._clock, self._latency, self._dialect = settings.clock, settings.latency, settings.dialect
        self._callers = {_digest(f"N3 {token}".encode()): guid for token, guid in settings.callers.items()}
        self._service = PracticeService(settings)
        self._faults = Faults(settings.fault_rate, settings.seed)
        call = Route(BASE_PATH + "{rest:path}", self._call, methods=["GET", "POST", "PUT", "PATCH", "DELETE"])
        pages = PracticeWeb(self._service, self.log, self._faults, settings.clock)
        self.app = Starlette(routes=[call, *pages.routes])

    def resources(self, resource_type: str) -> list[Resource]:
        """Return copies of the stored resources of one type, oldest first."""
        return deepcopy(self._service.resources(resource_type))

    def tasks(self) -> list[Resource]:
        """Return copies of the stored Tasks, oldest first."""
        return self.resources("Task")

    @property
    def requests(self) -> list[Recorded]:
        """Return the log of requests, oldest first; the oldest are dropped."""
        return self.log.all()

    def transaction(self, bundle: Resource, organisation: str = "") -> Resource:
        """Store a Bundle as if an organisation (empty: any) had posted it, without HTTP; raise OperationRefused."""
        is_r4 = self._dialect == "r4"
        return deepcopy(self._service.transaction(deepcopy(bundle), organisation, is_r4=is_r4))

    def update_status(self, task_id: str, status: str, organisation: str = "") -> Resource:
        """Change a Task's status as if an organisation (empty: any) had, without HTTP; raise OperationRefused."""
        given = [{"name": "_id", "valueString": task_id}, {"name": "status", "valueString": status}]
        sent = {"resourceType": "Parameters", "parameter": given}
        return deepcopy(self._service.update_status(sent, organisation))

    def fail_next(self, kind: str, times: int = 1, path: str | None = None) -> None:
        """Show a fault of FAULTS to the next requests, or the next ones to a path: "/" (bundles), "/Task/_search"…

        `kind` may have seconds or an address: "slow=5", "redirect=http://127.0.0.1:81/". A path that ends with "*" is a
        prefix. Raise ValueError for an unknown fault.
        """
        self.add_fault(fault(kind, path), times)

    def add_fault(self, due: Fault, times: int = 1) -> None:
        """Show a fault to the next requests that it is meant for."""
        self._faults.add(due, times)

    def clear_faults(self) -> None:
        """Show none of the faults that are still due, and end a dry run."""
        self._faults.clear()

    def due_faults(self) -> tuple[list[tuple[Fault, int]], float]:
        """Return the faults that are still to be shown, with how often, and the rate of random ones."""
        return self._faults.pending()

    async def _call(self, request: Request) -> Response:
        """Serve one call of the interface, or the next fault."""
        path = request.path_params["rest"] or "/"
        came = self._clock()
        body = await _body(request)
        if self._latency:
            await asyncio.sleep(self._latency)
        caller = self._callers.get(_digest(request.headers.get("authorization", "").encode("latin-1")), "")
        reason = ""
        due = self._faults.take(path, is_search=request.method == "GET" and path.count("/") == 1)
        if due.kind == "slow":
            await wait(request, due.seconds)
        if due.kind == "drop":
            response = None
        elif due.instead:
            response = answer_instead(due)
        else:
            status, answer, reason = await run_in_threadpool(self._answer, request, path, body, caller)
            response = spoil(due, status, answer, lambda: stopping(request))
            if status == 201:
                response.headers["Location"] = f"{BASE_PATH}/{answer['resourceType']}/{answer['id']}"
        if due.kind == "timeout-after-commit":
            response = None
        status = response.status_code if response else 0
        shown = f"сбой по требованию: {due.kind}" if due != NO_FAULT else ""
        query = f"?{request.url.query}" if request.url.query else ""
        self.log.add(Recorded(request.method, path + query, status, body or b"", caller, came, reason or shown))
        if due.kind == "timeout-after-commit":
            await wait(request, due.seconds)
        if response is None:
            return await hang_up(request)
        if response.headers.get("content-type", "").startswith("application/json"):
            accepted, declared = (request.headers.get(name, "") for name in ("accept", "content-type"))
            response.headers["Content-Type"] = answer_type(accepted, declared)
        response.headers["Date"] = format_datetime(came.astimezone(UTC), usegmt=True)
        return response

    def _answer(self, request: Request, path: str, body: bytes | None, caller: str) -> tuple[int, Resource, str]:
        """Carry out a call; return status, resource, and why it was refused or how it deviates from the profile."""
        try:
            _check_frame(request, body, caller)
            if request.method == "POST" and path == "/":
                sent = strict_json(body or b"")
                found = deviations(sent)  # before it is stored, which completes it
                status, answer = 200, self._service.transaction(sent, caller, is_r4=self._speaks_r4(request))
            else:
                found = []
                status, answer = self._dispatch(request, path, body or b"", caller)
            return status, answer, f"принято с отступлениями: {'; '.join(found)}" if found else ""
        except OperationRefused as refused:
            return refused.status, refused.outcome(), "; ".join(issue.diagnostics for issue in refused.issues)
        except OSError as error:  # the journal could not be written
            log.error("practice bus: not stored: %s", error)
            text = "Сервис временно не может сохранить данные"
            return 503, OperationRefused(503, Issue("exception", text)).outcome(), text

    def _dispatch(self, request: Request, path: str, body: bytes, caller: str) -> tuple[int, Resource]:
        """Carry out the operation of a method and path; raise OperationRefused."""
        service, is_r4, method = self._service, self._speaks_r4(request), request.method
        if not path.startswith("/"):  # the base URL with characters appended
            raise OperationRefused(404, Issue("not-found", "Адрес не найден"))
        match method, path.strip("/").split("/"):
            case "POST", ["$updatestatus"]:
                return 200, service.update_status(strict_json(body), caller)
            case "POST", [resource_type, "_search"]:
                return 200, service.search(resource_type, strict_json(body), caller)
            case "POST", [resource_type]:
                created = service.create(resource_type, strict_json(body))
                return 201 if created["meta"]["versionId"] == "1" else 200, created
            case "GET", [resource_type] if is_r4 and resource_type:
                parameters = r4.search_parameters(request.query_params.multi_items())
                return 200, service.search(resource_type, parameters, caller, is_r4=True)
            case "PATCH", ["Task", task_id] if is_r4:
                return 200, service.patch(task_id, strict_json(body), caller)
            case "GET", [resource_type, resource_id]:
                return 200, service.read(resource_type, resource_id, caller)
            case (("GET" | "POST"), _):
                raise OperationRefused(404, Issue("not-found", f"Метод {path} не найден"))
        raise OperationRefused(405, Issue("not-supported", f"{method} не поддерживается"))

    def _speaks_r4(self, request: Request) -> bool:
        """Return True if a call is to be understood as FHIR R4 has it, and not only as the profile does."""
        named = names_fhir(*(request.headers.get(name, "") for name in ("accept", "content-type")))
        return self._dialect == "r4" or (not self._dialect and named)


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
    """Check the caller and the headers before parsing the body; raise OperationRefused."""
    if not caller:
        raise OperationRefused(401, Issue("login", "Не указан или неверен ключ доступа: Authorization: N3 <GUID>"))
    if body is None:
        raise OperationRefused(413, Issue("too-long", f"Тело запроса больше {BODY_LIMIT // 1024 // 1024} МБ"))
    if request.method == "POST":
        check_media_type(request.headers.get("content-type", ""))
    if request.method == "PATCH" and request.headers.get("content-type", "").partition(";")[0] != r4.PATCH_TYPE:
        raise OperationRefused(415, Issue("not-supported", f"Ожидается Content-Type: {r4.PATCH_TYPE}"))


def _digest(authorization: bytes) -> bytes:
    """Return a hash of the Authorization header: looking it up takes constant time."""
    return sha256(authorization).digest()
