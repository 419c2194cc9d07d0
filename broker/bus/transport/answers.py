"""What an answer of the bus means: delivered, retry, needs attention or paused. Pure; the wire profile's table.

An answer is not trusted: it may be long, deep, in the wrong encoding or not from the bus at all.
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
from broker.domain import names

EVIDENCE_KEPT = 4000  # characters of an answer
REASON_KEPT = 500  # characters


@dataclass(frozen=True, slots=True)
class Delivered:
    """The bus has it. `task` is the id of the Task that the bus had already, where it says so instead of answering."""

    resource: Resource = field(default_factory=dict)
    task: str = ""
    evidence: str = ""


@dataclass(frozen=True, slots=True)
class Retry:
    """The connection is bad, not the message. `after`: seconds asked for; `uncertain`: the bus may have it anyway."""

    reason: str
    after: float | None = None
    uncertain: bool = True
    evidence: str = ""


@dataclass(frozen=True, slots=True)
class Rejected:
    """The bus refuses this message as it is."""

    reason: str
    uncertain: bool = False
    evidence: str = ""


@dataclass(frozen=True, slots=True)
class Paused:
    """Nothing will be accepted until somebody sees to the token or the certificate."""

    reason: str
    uncertain: bool = False
    evidence: str = ""


Answer = Delivered | Retry | Rejected | Paused

_OF_THE_MESSAGE = frozenset({400, 409, 412, 413, 422})
_DUPLICATE = "Попытка повторного добавления Task"
_DUPLICATE_ID = re.compile(r"Task/([A-Za-z0-9][A-Za-z0-9\-]{0,63})[\s.\"»]*$")


def classify(status: int, headers: Mapping[str, str], body: bytes, now: datetime) -> Answer:
    """Return what an answer means, row by row as in the wire profile; `now` is for a Retry-After that is a date.

    | answer | means |
    |---|---|
    | 2xx with a FHIR resource | delivered |
    | 2xx with anything else | retry, uncertain |
    | 400, 409, 412, 422 with a JSON object; 413 | needs_attention |
    | 422 that names the Task which is there already | delivered |
    | 401, 403 | paused |
    | 429 | retry; certainly not taken |
    | 3xx, 408, 5xx, all others | retry, uncertain |

    A 400 without JSON comes from something before the bus (a proxy, a wrong port), not from the bus.
    """
    evidence = body[: 4 * EVIDENCE_KEPT].decode("utf-8", "replace")[:EVIDENCE_KEPT]
    after = _retry_after(headers, now)
    if 200 <= status <= 299:
        return _taken(body, evidence, after)
    if status in (401, 403):
        return Paused(f"token refused (HTTP {status})", evidence=evidence)
    if 300 <= status <= 399:
        return Retry(f"redirect refused (HTTP {status})", after, True, evidence)
    if status in _OF_THE_MESSAGE:
        try:
            parsed = _parse(body)
        except ValueError:
            parsed = None
        texts = _diagnostics(parsed or {})
        if status == 422:
            for text in texts:
                if _DUPLICATE in text and (match := _DUPLICATE_ID.search(text)):
                    return Delivered(task=match[1], evidence=evidence)
        if parsed is not None or status == 413:
            return Rejected("; ".join(texts)[:REASON_KEPT] or f"HTTP {status}", evidence=evidence)
    return Retry(f"HTTP {status}", after, status != 429, evidence)


def _taken(body: bytes, evidence: str, after: float | None) -> Answer:
    """Read a 2xx: success is a FHIR resource, not by the number (portals answer 200 as well)."""
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
                reason = "; ".join(_diagnostics(resource))[:REASON_KEPT]
                return Rejected(reason or "not a FHIR answer: an error without words", evidence=evidence)
    return Delivered(resource, evidence=evidence)


def _parse(body: bytes) -> Resource:
    """Parse strict UTF-8 JSON with an object at the top; raise ValueError that says in English what is wrong."""

    def once(pairs: list[tuple[str, Any]]) -> Resource:
        members = dict(pairs)
        if len(members) != len(pairs):
            raise ValueError("a member comes twice")
        return members

    def number(name: str) -> float:
        raise ValueError(f"{name} is not JSON")

    try:
        parsed = json.loads(body.decode("utf-8"), object_pairs_hook=once, parse_constant=number)
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
    """List what an OperationOutcome complains of, as it came but on one line and without control characters."""
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
    """Read Retry-After (RFC 9110, 10.2.3) as seconds, never negative; None if there is none or it is nonsense."""
    named = {name.lower(): value.strip() for name, value in headers.items()}
    value = named.get("retry-after", "")
    if re.fullmatch(r"[0-9]{1,12}", value):
        return float(value)
    until = _date(value)
    # A date is meant by the bus's own clock, if it tells it: ours may be wrong.
    return max(0.0, (until - (_date(named.get("date", "")) or now)).total_seconds()) if until else None


def _date(text: str) -> datetime | None:
    try:
        moment = parsedate_to_datetime(text)
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
