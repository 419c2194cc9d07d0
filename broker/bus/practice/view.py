"""The view of the practice bus for people: orders with their results, and walk-ins.

Reads only; `page` makes the HTML.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator
from datetime import datetime
from typing import Any, NamedTuple

from broker.bus.fhir_server.fields import DICOM_UID, N3
from broker.bus.fhir_server.requests import last_updated
from broker.bus.fhir_server.rules import Resource
from broker.bus.practice.records import Records, patient_line

SHOWN = 200  # orders; and walk-ins
_OBSERVATIONS = {"1": "Описание", "2": "Заключение", "3": "Рекомендации", "5": "Эффективная доза"}  # N3.119


class ResultView(NamedTuple):
    """One answer to an order, or a walk-in study; `texts` are (label, text), links "Type/id"."""

    at: datetime
    number: str
    status: str
    patient: str
    procedure: str
    owner: str
    texts: tuple[tuple[str, str], ...]
    study_uids: tuple[str, ...]
    links: tuple[str, ...]


class OrderView(NamedTuple):
    """One order; `requester` and `owner` are GUIDs, `task` and `links` are "Type/id"."""

    at: datetime
    number: str
    accession_number: str
    status: str
    urgent: bool
    patient: str
    procedure: str
    requester: str
    owner: str
    links: tuple[str, ...]
    results: tuple[ResultView, ...]


class View(NamedTuple):
    """The last orders and walk-ins, newest change first, and how many of the bus's orders there are."""

    orders: list[OrderView]
    walk_ins: list[ResultView]
    total: int


def read_view(records: Records) -> View:
    """Draw the view; the caller holds the lock."""
    index = records.index
    originals = index.newest("Task", "intent", "original-order")
    orders = [_order(task, records) for task, _ in zip(originals, range(SHOWN), strict=False)]
    # A walk-in has no list of its own: looked for among the last answers only.
    answers = zip(index.newest("Task", "intent", "reflex-order"), range(10 * SHOWN), strict=False)
    walk_ins = [_result(task, records) for task, _ in answers if not task.get("basedOn")][:SHOWN]
    return View(orders, walk_ins, index.count("Task", "intent", "original-order"))


def _order(task: Resource, records: Records) -> OrderView:
    request = records.find(task["focus"]["reference"]) or {}
    answers = records.index.having("Task", "based-on", f"Task/{task['id']}")
    return OrderView(
        at=last_updated(task),
        number=_number(task),
        accession_number=next((str(i["value"]) for i in task["identifier"] if "system" not in i), ""),
        status=str(task["status"]),
        urgent=request.get("priority") == "urgent",
        patient=patient_line(records.find(task["for"]["reference"]) or {}),
        procedure=_words(request.get("code")),
        requester=_guid(task["requester"]),
        owner=_guid(task["owner"]),
        links=(f"Task/{task['id']}", task["focus"]["reference"], task["for"]["reference"]),
        results=tuple(_result(answer, records) for answer in answers),
    )


def _result(task: Resource, records: Records) -> ResultView:
    report = records.find(task["focus"]["reference"]) or {}
    studies = [records.find(item["reference"]) or {} for item in report.get("imagingStudy", [])]
    documents = [form["url"] for form in report.get("presentedForm", []) if str(form.get("url")).startswith("Binary/")]
    return ResultView(
        at=last_updated(task),
        number=_number(task),
        status=str(task["status"]),
        patient=patient_line(records.find(task["for"]["reference"]) or {}),
        procedure=_words(report.get("code")),
        owner=_guid(task["owner"]),
        texts=tuple(_texts(report, records)),
        study_uids=tuple(
            str(identifier["value"]).removeprefix("urn:oid:")
            for study in studies
            for identifier in study.get("identifier", [])
            if identifier.get("system") == DICOM_UID
        ),
        links=(
            f"Task/{task['id']}",
            task["focus"]["reference"],
            *(f"ImagingStudy/{study['id']}" for study in studies if study),
            *documents,
        ),
    )


def _texts(report: Resource, records: Records) -> Iterator[tuple[str, str]]:
    """Yield what a report says, as (label, text)."""
    for item in report.get("result", []):
        observation = records.find(item["reference"]) or {}
        codes = [c.get("code") for c in observation["code"]["coding"] if c.get("system") == N3 + "119"]
        label = _OBSERVATIONS.get(str(codes[0]), str(codes[0])) if codes else _words(observation["code"])
        if "valueQuantity" in observation:
            quantity = observation["valueQuantity"]
            yield label, f"{quantity.get('value')} {quantity.get('unit') or quantity.get('code') or ''}".strip()
        elif "valueString" in observation:
            yield label, _plain(str(observation["valueString"]))


def _plain(text: str) -> str:
    """Read a text that may be base64, as one of the known clients sends it."""
    try:
        decoded = base64.b64decode(text, validate=True).decode("utf-8") if len(text) % 4 == 0 else ""
    except (binascii.Error, ValueError):
        return text
    return f"{decoded} (передано в base64)" if decoded and not decoded.isascii() else text


def _number(task: Resource) -> str:
    return str(task["identifier"][0]["value"])


def _guid(reference: Resource) -> str:
    return str(reference["reference"]).removeprefix("Organization/")


def _words(concept: Any) -> str:
    """Write a CodeableConcept for people: its words and its code."""
    if not isinstance(concept, dict):
        return ""
    codings = concept.get("coding")
    coding = codings[0] if isinstance(codings, list) and codings and isinstance(codings[0], dict) else {}
    words = concept.get("text") or coding.get("display") or ""
    code = coding.get("code") or ""
    return f"{words} ({code})" if words and code else str(words or code)
