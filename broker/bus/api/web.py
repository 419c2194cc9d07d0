"""The HTTP side of our own `/fhir`, for a local МИС.

Authentication, limits of the body, and the form of refusals; `service` does the operations. Plain ASGI beside the
screens, with tokens instead of sessions and cookies. Every answer is JSON, every refusal an OperationOutcome. Work is
done in a few threads, so that a busy МИС delays neither screens nor modalities.
"""

from __future__ import annotations

import asyncio
import hmac
import logging
import sqlite3
from collections.abc import Callable, Mapping
from json import dumps
from time import monotonic
from typing import NamedTuple

import anyio
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from broker.bus.api.service import ApiCaller, FhirApiService
from broker.bus.fhir_server.requests import answer_type, check_media_type, strict_json
from broker.bus.fhir_server.rules import Issue, OperationRefused, Resource
from broker.bus.outbound.messages import MakePdf
from broker.bus.profile import Profile
from broker.domain.clinic.settings import Clinic
from broker.domain.errors import BrokerError
from broker.security.sessions import token_hash
from broker.security.throttle import Limit, Throttle, ThrottleLimits
from broker.store.database import Reader, Store, StoreError
from broker.store.tables import clients
from broker.store.tables.clients import Client

log = logging.getLogger(__name__)

PATH = "/fhir"
BODY_LIMIT = 1_000_000  # bytes: an order has about ten thousand
EXCESS_LIMIT = 200_000_000  # bytes that are read and dropped of a longer one
BODY_SECONDS = 30.0  # to receive a body
DRAIN_SECONDS = 3.0  # to receive the body of a refused call
THREADS = 4
CONTACT_EVERY = 60.0  # seconds between notes of a client's last contact
PROFILE_EVERY = 60.0  # seconds between looks whether a directory was imported
HEADERS = {
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
}
METHODS = ("GET", "POST")


class ApiResponse(NamedTuple):
    """An answer before it is written."""

    status: int
    resource: Resource
    headers: Mapping[str, str] = {}


class ApiMount:
    """Passes calls of /fhir to the endpoint, and all others to the application."""

    def __init__(self, app: ASGIApp, endpoint: ASGIApp) -> None:
        self.app, self.endpoint = app, endpoint

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on."""
        path = scope.get("path", "")
        ours = scope["type"] == "http" and (path == PATH or path.startswith(f"{PATH}/"))
        await (self.endpoint if ours else self.app)(scope, receive, send)


# How often an address may send a wrong token; calls with a valid token are never delayed.
TOKEN_LIMITS = ThrottleLimits(Limit(30, 60.0), Limit(300, 5.0), Limit(30, 60.0))
TOKEN_HALF_LIFE = 60.0  # seconds


class FhirApi:
    """The ASGI application. `profile` reads the clinic's profile on the bus; `make_pdf` makes the PDF of a report."""

    def __init__(
        self,
        store: Store,
        clinic: Clinic,
        profile: Callable[[Reader], Profile],
        make_pdf: MakePdf,
        auto_accept: Mapping[str, str],
        failures: Throttle | None = None,
    ) -> None:
        self._store, self._make_profile = store, profile
        self._service = FhirApiService(store, clinic, auto_accept, make_pdf)
        self._failures = failures or Throttle(TOKEN_LIMITS, TOKEN_HALF_LIFE)
        self._limiter: anyio.CapacityLimiter | None = None
        self._profile: tuple[float, Profile] | None = None
        self._contacts: dict[str, float] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one call."""
        request = Request(scope, receive)
        try:
            answer = await self._answer(request)
        except ClientDisconnect:
            return  # the client has gone
        headers = {**HEADERS, **answer.headers}
        content = dumps(answer.resource, ensure_ascii=False).encode("utf-8", "replace")
        media_type = answer_type(request.headers.get("accept", ""), request.headers.get("content-type", ""))
        await Response(content, answer.status, headers, media_type)(scope, receive, send)

    async def _answer(self, request: Request) -> ApiResponse:
        """Check a call and carry it out; every error becomes an OperationOutcome."""
        if self._limiter is None:
            self._limiter = anyio.CapacityLimiter(THREADS)
        try:
            try:
                client = await anyio.to_thread.run_sync(self._client, request, limiter=self._limiter)
            except OperationRefused:
                await _drained(request)  # else a client that still sends sees a broken connection, not the answer
                raise
            body = await _body(request)
            return await anyio.to_thread.run_sync(self._carry_out, request, body, client, limiter=self._limiter)
        except _TooMany as refused:
            return ApiResponse(refused.status, refused.outcome(), {"Retry-After": str(refused.seconds)})
        except OperationRefused as refused:
            more = {401: {"WWW-Authenticate": "N3"}, 405: {"Allow": ", ".join(METHODS)}, 413: {"Connection": "close"}}
            return ApiResponse(refused.status, refused.outcome(), more.get(refused.status, {}))
        except (StoreError, sqlite3.Error) as error:
            log.error("the endpoint cannot use the database: %s", error)
            unavailable = OperationRefused(
                503, Issue("transient", "Сервис временно не может сохранить или прочитать данные")
            )
            return ApiResponse(503, unavailable.outcome(), {"Retry-After": "30"})
        except ClientDisconnect:
            raise
        except Exception:  # our own error; its text may name the patient
            log.exception("a call of the endpoint failed")
            return ApiResponse(500, OperationRefused(500, Issue("exception", "Внутренняя ошибка сервиса")).outcome())

    def _client(self, request: Request) -> Client:
        """Return the client that calls, by its token; raise OperationRefused.

        Hashes of tokens are compared in constant time.
        """
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        shown = token_hash(token.strip()) if scheme.casefold() == "n3" else ""
        found: Client | None = None
        with self._store.read() as reader:
            for kept, client in clients.enabled(reader):
                if hmac.compare_digest(kept.encode(), shown.encode()):
                    found = client
        address = request.client.host if request.client else ""
        if found is None:
            if seconds := self._failures.wait(PATH, address):
                raise _TooMany(seconds)
            self._failures.miss(PATH, address)
            log.warning("the endpoint refused a call from %s: no token, or a wrong one", address)
            raise OperationRefused(401, Issue("login", "Не указан или неверен ключ доступа: Authorization: N3 <GUID>"))
        self._note(found.name)
        return found

    def _note(self, name: str) -> None:
        """Note a client's last contact, at most every CONTACT_EVERY seconds."""
        now = monotonic()
        if now - self._contacts.get(name, -CONTACT_EVERY) >= CONTACT_EVERY:
            self._contacts[name] = now
            self._store.write(lambda tx: clients.note_contact(tx, name))

    def _carry_out(self, request: Request, body: bytes, client: Client) -> ApiResponse:
        """Carry out the operation of a method and path; raise OperationRefused."""
        method, path = request.method, str(request.scope["path"]).removeprefix(PATH) or "/"
        if method == "POST":
            check_media_type(request.headers.get("content-type", ""))
        caller, service = ApiCaller.of(client, self._current_profile()), self._service
        try:
            match method, path.strip("/").split("/"):
                case "POST", [""]:
                    return ApiResponse(200, service.transaction(strict_json(body), caller))
                case "POST", ["$updatestatus"]:
                    return ApiResponse(200, service.update_status(strict_json(body), caller))
                case "POST", [resource_type, "_search"]:
                    return ApiResponse(200, service.search(resource_type, strict_json(body), caller))
                case "POST", [resource_type]:
                    return _created(service.create(resource_type, strict_json(body), caller))
                case "GET", [resource_type, resource_id]:
                    return ApiResponse(200, service.read(resource_type, resource_id, caller))
        except BrokerError as error:  # of a use case, for example two simultaneous cancellations
            log.warning("client %s: %s", client.name, error)
            raise OperationRefused(
                422, Issue("business-rule", "Действие невозможно в текущем состоянии направления")
            ) from error
        if method in METHODS:
            raise OperationRefused(404, Issue("not-found", f"Метод {path} не найден"))
        raise OperationRefused(405, Issue("not-supported", f"{method} не поддерживается"))

    def _current_profile(self) -> Profile:
        """Return the profile, read again every PROFILE_EVERY seconds; simultaneous calls may read it twice."""
        kept, now = self._profile, monotonic()
        if kept is None or now - kept[0] >= PROFILE_EVERY:
            with self._store.read() as reader:
                kept = now, self._make_profile(reader)
            self._profile = kept
        return kept[1]


class _TooMany(OperationRefused):
    """Too many wrong tokens came from this address."""

    def __init__(self, seconds: int) -> None:
        super().__init__(429, Issue("throttled", "Слишком много обращений с неверным ключом доступа"))
        self.seconds = seconds


def _created(resource: Resource) -> ApiResponse:
    place = f"{PATH}/{resource['resourceType']}/{resource['id']}"
    status = 201 if resource["meta"]["versionId"] == "1" else 200
    return ApiResponse(status, resource, {"Location": place} if status == 201 else {})


async def _body(request: Request) -> bytes:
    """Read a body; raise OperationRefused if it is too long or does not come.

    The excess is read, too, and dropped: a client that still sends sees a broken connection, not the answer.
    """
    read, excess = bytearray(), 0
    try:
        async with asyncio.timeout(BODY_SECONDS):
            async for chunk in request.stream():
                if len(read) + len(chunk) <= BODY_LIMIT and not excess:
                    read += chunk
                else:
                    excess += len(chunk)
                if excess > EXCESS_LIMIT:
                    break
    except TimeoutError:
        if excess:
            raise _too_long() from None
        raise OperationRefused(408, Issue("timeout", f"Тело запроса не получено за {BODY_SECONDS:.0f} с")) from None
    if excess:
        raise _too_long()
    return bytes(read)


def _too_long() -> OperationRefused:
    return OperationRefused(413, Issue("too-long", f"Тело запроса больше {BODY_LIMIT // 1_000_000} МБ"))


async def _drained(request: Request) -> None:
    """Read and drop a part of the body of a refused call."""
    passed = 0
    try:
        async with asyncio.timeout(DRAIN_SECONDS):
            async for chunk in request.stream():
                passed += len(chunk)
                if passed > BODY_LIMIT:
                    return
    except TimeoutError:
        return
