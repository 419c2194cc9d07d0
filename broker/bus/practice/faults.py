"""The faults that the practice bus simulates on request, and their queue.

Each was observed on a real bus or a proxy, or is likely there. `bus` asks which fault is due, and whether the request
is carried out nevertheless.
"""

from __future__ import annotations

import asyncio
import json
import random
import re
import threading
from collections.abc import AsyncIterator, Callable
from typing import Any, NamedTuple

from starlette.responses import HTMLResponse, RedirectResponse, Response, StreamingResponse

from broker.bus.fhir_server.rules import Issue, OperationRefused, Resource

# What a person reads on the page. The request is not carried out…
_INSTEAD = {
    "503": "503 — сервис временно недоступен",
    "408": "408 — сервис не дождался запроса",
    "429": "429 — слишком много запросов",
    "401": "401 — ключ доступа отозван",
    "html": "200, но вместо ответа страница портала (HTML)",
    "redirect": "307 — переадресация на другой сервер",
    "drop": "соединение оборвано, запрос не выполнен",
}
# …or it is, and its answer is lost or spoilt.
_AFTERWARDS = {
    "504": "504 от шлюза, но запрос выполнен",
    "timeout-after-commit": "запрос выполнен, ответа нет",
    "slow": "медленный ответ",
    "duplicates": "«уже добавлено» вместо ответа на Bundle; в поиске всё дважды",
    "out-of-order": "поиск отвечает от новых к старым",
    "endless": "ответ, который не кончается (байт в секунду)",
    "huge": "ответ больше 10 МБ",
    "deep": "вложенность ответа 10 000",
    "double-keys": "повторяющиеся имена в JSON",
    "nul": "символ NUL в текстах ответа",
    "cp1251": "ответ не в UTF-8, а в windows-1251",
}
FAULTS = _INSTEAD | _AFTERWARDS
# For random faults: those that pass by themselves. The others need a person, or test the client itself.
RANDOM_FAULTS = (
    "503",
    "504",
    "408",
    "429",
    "html",
    "drop",
    "timeout-after-commit",
    "slow",
    "duplicates",
    "out-of-order",
)
REDIRECT_TARGET = "http://other.invalid/"  # RFC 2606: resolves nowhere
_SECONDS = {"slow": 2.0, "timeout-after-commit": 30.0, "endless": 1.0}
_HUGE = 11 * 1024 * 1024  # bytes
_DEEP = 10_000
_TEXT_KEYS = frozenset({"family", "valueString", "display", "text", "diagnostics", "conclusion"})
_WRITTEN = re.compile(r"(?P<kind>[a-z0-9-]+)(=(?P<value>.+?))?(:(?P<times>[0-9]{1,6}))?(@(?P<path>/\S*))?", re.ASCII)


class Fault(NamedTuple):
    """One fault; `value` is its seconds or address if it has one, `path` the only one it is shown to, "…*" a prefix."""

    kind: str
    value: str = ""
    path: str | None = None

    @property
    def seconds(self) -> float:
        """Return for how long: the whole answer is kept back, or one byte of an endless one."""
        return float(self.value or _SECONDS.get(self.kind, 0))

    @property
    def instead(self) -> bool:
        """Return True if the request is not carried out at all."""
        return self.kind in _INSTEAD

    def meant_for(self, path: str, *, is_search: bool = False) -> bool:
        """Return True if it is to be shown to a path, and would be noticed there; `is_search`: by its parameters."""
        searching = is_search or path.endswith("/_search")
        if self.kind == "out-of-order" and not searching:
            return False
        if self.kind == "duplicates" and not searching and path != "/":
            return False
        if self.path is None:
            return True
        return path.startswith(self.path[:-1]) if self.path.endswith("*") else path == self.path


NO_FAULT = Fault("")


def fault(kind: str, path: str | None = None) -> Fault:
    """Return the fault "kind" or "kind=value"; raise ValueError if it is unknown."""
    kind, _, value = kind.partition("=")
    if kind not in FAULTS:
        raise ValueError(f"unknown fault {kind}, known are {', '.join(FAULTS)}")
    if value and kind == "redirect":
        if not re.fullmatch(r"https?://[!-~]+", value):
            raise ValueError(f"fault {kind}: {value} is not an http address")
    elif value and not (kind in _SECONDS and re.fullmatch(r"[0-9]{1,5}(\.[0-9]{1,3})?", value)):
        raise ValueError(f"fault {kind}: {value} is not a number of seconds that it could have")
    return Fault(kind, value, path)


def read_fault(text: str) -> tuple[Fault, int]:
    """Read "KIND[=VALUE][:TIMES][@PATH]" of the command line into a fault and how often; ValueError otherwise."""
    written = _WRITTEN.fullmatch(text)
    if not written:
        raise ValueError(f"{text}: expected KIND[=VALUE][:TIMES][@PATH]")
    kind = written["kind"] + (f"={written['value']}" if written["value"] else "")
    return fault(kind, written["path"]), int(written["times"] or 1)


class Faults:
    """The faults that are still to be shown, and a die for a dry run; safe to use from any thread."""

    def __init__(self, rate: float = 0.0, seed: int | None = None) -> None:
        """Prepare a dry run in which each request fails with the probability `rate`; ValueError unless 0 to 1."""
        if not 0 <= rate <= 1:
            raise ValueError(f"fault rate {rate}: expected 0 to 1")
        self._lock = threading.Lock()
        self._rate = rate
        self._due: list[tuple[Fault, int]] = []
        self._die = random.Random(seed)

    def add(self, fault: Fault, times: int) -> None:
        """Put a fault at the end of the queue."""
        if times > 0:
            with self._lock:
                self._due.append((fault, times))

    def clear(self) -> None:
        """Show none of the faults that are still due, and end a dry run."""
        with self._lock:
            self._due.clear()
            self._rate = 0.0

    def pending(self) -> tuple[list[tuple[Fault, int]], float]:
        """Return the faults that are still to be shown, with how often, and the rate of random ones."""
        with self._lock:
            return list(self._due), self._rate

    def take(self, path: str, *, is_search: bool = False) -> Fault:
        """Take the first fault that is meant for a path; NO_FAULT if none is."""
        with self._lock:
            for i, (due, times) in enumerate(self._due):
                if due.meant_for(path, is_search=is_search):
                    self._due[i : i + 1] = [(due, times - 1)] if times > 1 else []
                    return due
            if self._rate and self._die.random() < self._rate:
                possible = [
                    made for kind in RANDOM_FAULTS if (made := Fault(kind)).meant_for(path, is_search=is_search)
                ]
                return self._die.choice(possible)
            return NO_FAULT


def answer_instead(fault: Fault) -> Response:
    """Make the answer of a fault that carries nothing out."""
    if fault.kind == "html":
        return HTMLResponse("<!DOCTYPE html><html><body><h1>Портал: выполните вход</h1></body></html>")
    if fault.kind == "redirect":
        return RedirectResponse(fault.value or REDIRECT_TARGET, 307)
    texts = {
        "503": "Сервис временно недоступен",
        "408": "Время ожидания запроса истекло",
        "429": "Слишком много запросов",
        "401": "Ключ доступа отозван",
    }
    response = _rendered(
        int(fault.kind), OperationRefused(int(fault.kind), Issue("transient", texts[fault.kind])).outcome()
    )
    if fault.kind == "429":
        response.headers["Retry-After"] = "1"
    return response


def spoil(fault: Fault, status: int, answer: Resource, is_gone: Callable[[], bool]) -> Response:
    """Return a true answer changed by a fault; `is_gone` ends an endless one when the client has gone."""
    match fault.kind:
        case "504":
            return HTMLResponse("<html><body><h1>504 Gateway Time-out</h1></body></html>", 504)
        case "duplicates" if answer.get("type") == "transaction-response":
            return _rendered(422, _added_already(answer))
        case "duplicates" if answer.get("type") == "searchset" and "entry" in answer:
            return _rendered(status, answer | {"entry": [e for entry in answer["entry"] for e in (entry, entry)]})
        case "out-of-order" if answer.get("type") == "searchset" and "entry" in answer:
            return _rendered(status, answer | {"entry": answer["entry"][::-1]})
        case "endless":
            beginning = json.dumps(answer, ensure_ascii=False).encode()[:-1]
            return StreamingResponse(_endless(beginning, fault.seconds, is_gone), status, media_type="application/json")
        case "huge":
            return _raw(status, answer, b'"language": "' + b"x" * _HUGE + b'"')
        case "deep":
            return _raw(status, answer, b'"extension": ' + b"[" * _DEEP + b"]" * _DEEP)
        case "double-keys":
            return _raw(status, answer, b'"resourceType": "Bundle", "id": "1", "id": "2"')
        case "nul":
            return _rendered(status, _with_nul(answer))
        case "cp1251":
            # The single byte before the quote is not UTF-8, whatever the answer contains.
            content = json.dumps(answer | {"language": "Ж"}, ensure_ascii=False).encode("cp1251", "replace")
            return Response(content, status, media_type="application/json; charset=utf-8")
    return _rendered(status, answer)


def _added_already(answer: Resource) -> Resource:
    """Return the refusal of a repeated Task for one just stored: as if a proxy had sent it twice."""
    [task] = [e["resource"] for e in answer["entry"] if e["resource"]["resourceType"] == "Task"]
    number = task["identifier"][0]["value"]
    text = f"Попытка повторного добавления Task с идентификатором {number}, ранее добавлен Task/{task['id']}"
    return OperationRefused(422, Issue("duplicate", text, "Task.identifier")).outcome()


def _with_nul(node: Any, key: str = "") -> Any:
    """Copy an answer with a NUL in every text that a person would read."""
    if isinstance(node, dict):
        return {name: _with_nul(value, name) for name, value in node.items()}
    if isinstance(node, list):
        return [_with_nul(item, key) for item in node]
    return f"{node}\0" if key in _TEXT_KEYS and isinstance(node, str) else node


async def _endless(beginning: bytes, period: float, is_gone: Callable[[], bool]) -> AsyncIterator[bytes]:
    """Send a true answer without its end, then a space now and then until the server stops or the client goes."""
    yield beginning
    while not is_gone():
        yield b" "
        waited = 0.0
        while waited < period and not is_gone():
            await asyncio.sleep(min(0.05, period))
            waited += 0.05


def _rendered(status: int, answer: Resource) -> Response:
    content = json.dumps(answer, ensure_ascii=False).encode()
    return Response(content, status, media_type="application/json; charset=utf-8")


def _raw(status: int, answer: Resource, member: bytes) -> Response:
    """Render an answer with one more member, of bytes that no renderer would make."""
    content = json.dumps(answer, ensure_ascii=False).encode()
    return Response(content[:-1] + b", " + member + b"}", status, media_type="application/json; charset=utf-8")
