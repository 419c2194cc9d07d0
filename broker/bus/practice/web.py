"""The routes of the practice bus's pages: resources, requests, and the form for faults.

They need no token: everybody who can reach the page can use them. `page` makes the HTML.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from urllib.parse import parse_qs, urlsplit

from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route

from broker.bus.fhir_server.rules import OperationRefused
from broker.bus.practice import page
from broker.bus.practice.faults import Faults, fault
from broker.bus.practice.request_log import Recorded, RequestLog
from broker.bus.practice.service import PracticeService

SHOWN = 200  # requests
FORM_LIMIT = 4096  # bytes
MOST_TIMES = 10_000


class PracticeWeb:
    """The pages of one bus."""

    def __init__(
        self, service: PracticeService, log: RequestLog, faults: Faults, clock: Callable[[], datetime]
    ) -> None:
        self._service, self._log, self._faults = service, log, faults
        self._clock = clock
        self.routes = [
            Route("/", self._overview, methods=["GET"]),
            Route("/refused", self._refused, methods=["GET"]),
            Route("/requests", self._requests, methods=["GET"]),
            Route("/request/{number:int}", self._request, methods=["GET"]),
            Route("/resource/{kind}/{guid}", self._resource, methods=["GET"]),
            Route("/faults", self._faults_page, methods=["GET"]),
            Route("/fault", self._ask_fault, methods=["POST"]),
        ]

    def _overview(self, _request: Request) -> Response:
        return _html(page.overview(self._service.view(), self._service.organisations, self._counts()))

    def _refused(self, _request: Request) -> Response:
        refused = [line for line in self._lines(1000) if line.status >= 400]
        return _html(page.refused(refused[:SHOWN], self._service.organisations, self._counts()))

    def _requests(self, _request: Request) -> Response:
        now = int(self._clock().timestamp())
        rate = sum(count for second, count in self._log.per_second().items() if now - 60 < second <= now)
        return _html(page.requests(self._lines(SHOWN), self._service.organisations, self._counts(), rate))

    def _request(self, request: Request) -> Response:
        number = request.path_params["number"]
        recorded = self._log.get(number)
        if recorded is None:
            return _html(page.missing("Этого запроса нет: не было или уже забыт.", self._counts()), 404)
        names = self._service.organisations
        return _html(page.body(_line(number, recorded), recorded.body, names, self._counts()))

    def _resource(self, request: Request) -> Response:
        try:
            found = self._service.read(request.path_params["kind"], request.path_params["guid"])
        except OperationRefused:
            return _html(page.missing("Такого ресурса нет.", self._counts()), 404)
        return _html(page.resource(found, self._counts()))

    def _faults_page(self, _request: Request) -> Response:
        return _html(page.faults(*self._faults.pending(), self._counts()))

    async def _ask_fault(self, request: Request) -> Response:
        """Take the form; another site's page may not send it through a visitor's browser."""
        origin = request.headers.get("origin")
        if origin is not None and urlsplit(origin).netloc != request.headers.get("host"):
            return _html(page.missing("Форма отправлена с другого сайта.", self._counts()), 403)
        sent = bytearray()
        async for chunk in request.stream():
            sent += chunk
            if len(sent) > FORM_LIMIT:
                return _html(page.missing("Слишком длинная форма.", self._counts()), 413)
        form = {name: values[-1].strip() for name, values in parse_qs(sent.decode("utf-8", "replace")).items()}
        if "clear" in form:
            self._faults.clear()
            return RedirectResponse("/faults", 303)
        wrong = self._add_fault(form)
        if wrong:
            return _html(page.faults(*self._faults.pending(), self._counts(), wrong), 400)
        return RedirectResponse("/faults", 303)

    def _add_fault(self, form: dict[str, str]) -> str:
        """Ask for the fault of a form; return what is wrong with it, empty if nothing is."""
        times, path, value = form.get("times", "1"), form.get("path", ""), form.get("value", "")
        if not (times.isascii() and times.isdigit() and len(times) <= 5 and 1 <= int(times) <= MOST_TIMES):
            return f"Сколько раз: ожидается число от 1 до {MOST_TIMES}."
        if path and not path.startswith("/"):
            return "Где: ожидается путь, который начинается с косой черты."
        try:
            due = fault(form.get("kind", "") + (f"={value}" if value else ""), path or None)
        except ValueError:
            return "Такого сбоя нет, или у него не бывает такого значения: ожидаются секунды, у переадресации — адрес."
        self._faults.add(due, int(times))
        return ""

    def _counts(self) -> dict[str, int]:
        """Count what stands beside the tabs."""
        due, rate = self._faults.pending()
        refused = sum(recorded.status >= 400 for _, recorded in self._log.newest(1000))
        return {"/refused": refused, "/requests": self._log.total, "/faults": len(due) + (rate > 0)}

    def _lines(self, number: int) -> list[page.RequestRow]:
        return [_line(n, recorded) for n, recorded in self._log.newest(number)]


def _line(number: int, recorded: Recorded) -> page.RequestRow:
    return page.RequestRow(
        number,
        recorded.at,
        recorded.organisation,
        recorded.method,
        recorded.path,
        recorded.status,
        recorded.reason,
        len(recorded.body),
    )


def _html(text: str, status: int = 200) -> Response:
    # A lone surrogate that came in a path must not make of the page an error.
    return HTMLResponse(text.encode("utf-8", "replace"), status, headers=page.HEADERS)
