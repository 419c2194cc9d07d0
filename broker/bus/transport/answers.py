"""Classifies answers of the bus: delivered, retry, rejected or paused, by the table of the bus profile. Pure.

Answers are not trusted: one may be long, deep, in the wrong encoding or not from the bus.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

from broker.bus.fhir import Resource
from broker.domain.patients import names

MAX_EVIDENCE = 4000  # characters of an answer
MAX_REASON = 500  # characters


@dataclass(frozen=True, slots=True)
class Delivered:
    """The bus has the message.

    `task`: id of the Task that it had already, if it refused the message as a repetition.
    """

    resource: Resource = field(default_factory=dict)
    task: str = ""
    evidence: str = ""


@dataclass(frozen=True, slots=True)
class Retry:
    """The connection failed. `after`: seconds that the bus asked to wait; `uncertain`: the bus may have the message."""

    reason: str
    after: float | None = None
    uncertain: bool = True
    evidence: str = ""

    @property
    def asks_to_wait(self) -> bool:
        """Return True if the bus asks all of this clinic to wait."""
        return self.after is not None or self.reason == TOO_MANY


@dataclass(frozen=True, slots=True)
class Rejected:
    """The bus refuses this message; a person must decide."""

    reason: str
    uncertain: bool = False
    evidence: str = ""


@dataclass(frozen=True, slots=True)
class Paused:
    """Nothing will be accepted until a person renews the token or the certificate."""

    reason: str
    uncertain: bool = False
    evidence: str = ""


Answer = Delivered | Retry | Rejected | Paused

TOO_MANY = "HTTP 429"
_MESSAGE_ERRORS = frozenset({400, 406, 409, 412, 413, 415, 422})
_CERTAIN = frozenset({406, 413, 415})  # what a proxy says of a message, too: it is the same at every attempt
_DUPLICATE = "Попытка повторного добавления Task"
_DUPLICATE_ID = re.compile(r"Task/([A-Za-z0-9][A-Za-z0-9\-]{0,63})[\s.\"»]*$")


def classify(status: int, headers: Mapping[str, str], body: bytes, now: datetime) -> Answer:
    """Return what an answer means; `now` (aware) is used if Retry-After is a date and the answer has no Date.

    | answer | means |
    |---|---|
    | 2xx with a FHIR resource | delivered |
    | 2xx with anything else | retry, uncertain |
    | 400, 409, 412, 422 with a JSON object; 406, 413, 415 | rejected |
    | 422 that names the Task which exists already | delivered |
    | 401, 403 | paused |
    | 429 | retry; certainly not accepted |
    | 3xx, 408, 5xx, all others | retry, uncertain |

    A 400 without JSON comes from a proxy or a wrong port, not from the bus.
    """
    evidence = body[: 4 * MAX_EVIDENCE].decode("utf-8", "replace")[:MAX_EVIDENCE]
    after = _retry_after(headers, now)
    if 200 <= status <= 299:
        return _classify_success(body, evidence, after)
    if status in (401, 403):
        return Paused(f"token refused (HTTP {status})", evidence=evidence)
    if 300 <= status <= 399:
        return Retry(f"redirect refused (HTTP {status})", after, True, evidence)
    if status in _MESSAGE_ERRORS:
        try:
            parsed = _parse(body)
        except ValueError:
            parsed = None
        texts = _diagnostics(parsed or {})
        if status == 422:
            for text in texts:
                if _DUPLICATE in text and (match := _DUPLICATE_ID.search(text)):
                    return Delivered(task=match[1], evidence=evidence)
        if parsed is not None or status in _CERTAIN:
            return Rejected("; ".join(texts)[:MAX_REASON] or f"HTTP {status}", evidence=evidence)
    return Retry(f"HTTP {status}", after, status != 429, evidence)


def _classify_success(body: bytes, evidence: str, after: float | None) -> Answer:
    """Classify a 2xx answer: only a FHIR resource is success, since login portals answer 200 as well."""
    try:
        resource = _parse(body)
    except ValueError as error:
        return Retry(f"not a FHIR answer: {error}", after, True, evidence)
    kind = resource.get("resourceType")
    if not isinstance(kind, str):
        return Retry("not a FHIR answer: no resourceType", after, True, evidence)
    if kind == "OperationOutcome":
        issues = resource.get("issue")
        for issue in issues if isinstance(issues, list) else []:
            if isinstance(issue, dict) and issue.get("severity") in ("error", "fatal"):
                reason = "; ".join(_diagnostics(resource))[:MAX_REASON]
                return Rejected(reason or "not a FHIR answer: an error without words", evidence=evidence)
    return Delivered(resource, evidence=evidence)


def _parse(body: bytes) -> Resource:
    """Parse strict UTF-8 JSON with an object at the top; raise ValueError that says in English what is wrong."""

    def unique_members(pairs: list[tuple[str, Any]]) -> Resource:
        members = dict(pairs)
        if len(members) != len(pairs):
            raise ValueError("a member comes twice")
        return members

    def refuse_constant(name: str) -> float:
        raise ValueError(f"{name} is not JSON")

    try:
        # RFC 8259 8.1: a byte order mark, which 1C writes, may be ignored.
        parsed = json.loads(body.decode("utf-8-sig"), object_pairs_hook=unique_members, parse_constant=refuse_constant)
    except UnicodeDecodeError:
        raise ValueError("not UTF-8") from None
    except json.JSONDecodeError:
        raise ValueError("no JSON") from None
    except RecursionError:
        raise ValueError("nested too deep") from None
    if not isinstance(parsed, dict):
        raise ValueError("no JSON object")
    return parsed


def _diagnostics(outcome: Resource) -> list[str]:
    """Return the texts of an OperationOutcome's issues, each on one line and without control characters."""
    issues = outcome.get("issue")
    texts = []
    for issue in issues if isinstance(issues, list) else []:
        if isinstance(issue, dict):
            details = issue.get("details")
            candidates = (
                issue.get("diagnostics"),
                details.get("text") if isinstance(details, dict) else "",
                issue.get("code"),
            )
            tidied = (names.tidy(text) for text in candidates if isinstance(text, str))
            texts.append(next(filter(None, tidied), ""))
    return [text for text in texts if text]


def _retry_after(headers: Mapping[str, str], now: datetime) -> float | None:
    """Return Retry-After (RFC 9110, 10.2.3) in seconds, not negative; None if it is missing or invalid."""
    named = {name.lower(): value.strip() for name, value in headers.items()}
    value = named.get("retry-after", "")
    if re.fullmatch(r"[0-9]{1,12}", value):
        return float(value)
    until = http_date(value)
    # A date is by the bus's own clock (header Date) if it is given: ours may be wrong.
    return max(0.0, (until - (http_date(named.get("date", "")) or now)).total_seconds()) if until else None


def http_date(text: str) -> datetime | None:
    """Return the instant of a date as HTTP writes it; None for anything else."""
    try:
        moment = parsedate_to_datetime(text)
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
