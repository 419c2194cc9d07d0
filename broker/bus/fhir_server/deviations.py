"""Where live clients of the bus deviate from the profile and are understood: what they mean, and how to call it.

Each of these was seen at a client of a live deployment, and that deployment takes it. Nothing else is repaired: what is
read here passes the same checks as all the rest. Pure. For the practice bus and for our own /fhir.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from broker.bus.fhir_server.fields import N3, NSI
from broker.bus.fhir_server.rules import Resource

CONFIDENTIALITY = NSI + "1116"
_MISSPELLED = "urn:oud:"
_LISTS = {"Task": ("basedOn",), "DiagnosticReport": ("basedOn", "category")}
_REPORT_PARTS = ("1", "2", "3", "5")  # N3.119
_EFFECTIVE_DOSE = "5"


def read_as_meant(resource: Resource) -> tuple[Resource, list[str]]:
    """Return a resource in the form that the profile has, and in Russian how it deviates from that."""
    kind = resource.get("resourceType")
    meant, found = dict(resource), []
    for name in _LISTS.get(str(kind), ()):
        if isinstance(meant.get(name), dict):
            meant[name] = [meant[name]]
            found.append(f"{kind}.{name}: объект вместо массива")
    match kind:
        case "ServiceRequest" if "priority" not in meant:
            meant["priority"] = "routine"
            found.append("ServiceRequest.priority: нет, читается как routine")
        case "DiagnosticReport":
            meant, more = _with_security(meant)
            found += [*more, *_report_deviations(meant)]
        case "Observation":
            meant, more = _with_unit(meant)
            found += [*more, *_part_deviations(meant)]
    return meant, found


def entry_deviations(entry: Resource) -> list[str]:
    """Return how an entry of a Bundle deviates from the profile, apart from its resource."""
    request = entry.get("request")
    return ["entry.request: нет url"] if isinstance(request, dict) and "url" not in request else []


def _with_security(report: Resource) -> tuple[Resource, list[str]]:
    meta = report.get("meta")
    listed = meta.get("security") if isinstance(meta, dict) else None
    if not isinstance(meta, dict) or not isinstance(listed, list):
        return report, []
    found: list[str] = []

    def coding(each: Any) -> Any:
        if not isinstance(each, dict) or not isinstance(each.get("code"), str):
            return each
        system = each.get("system")
        if system is None:
            found.append("DiagnosticReport.meta.security: нет system")
        elif isinstance(system, str) and system.startswith(_MISSPELLED):
            found.append(f"DiagnosticReport.meta.security: system {_MISSPELLED}…")
        else:
            return each
        return {"version": "1"} | each | {"system": CONFIDENTIALITY}

    meant = [coding(each) for each in listed]
    return report | {"meta": meta | {"security": meant}}, found


def _report_deviations(report: Resource) -> Iterator[str]:
    if report.get("status") == "partial" and "imagingStudy" not in report:
        yield "DiagnosticReport.imagingStudy: нет у partial"
    if report.get("status") in ("final", "appended") and "result" not in report and report.get("presentedForm"):
        yield "DiagnosticReport.result: нет, протокол только документом"


def _with_unit(observation: Resource) -> tuple[Resource, list[str]]:
    quantity = observation.get("valueQuantity")
    codes = list(_part_codes(observation))
    if codes != [_EFFECTIVE_DOSE] or not isinstance(quantity, dict) or {"unit", "code", "system"} & set(quantity):
        return observation, []
    return observation | {"valueQuantity": quantity | {"unit": "mSv"}}, ["Observation.valueQuantity: нет единицы, мЗв"]


def _part_deviations(observation: Resource) -> Iterator[str]:
    for code in _part_codes(observation):
        if code not in _REPORT_PARTS:
            yield "Observation.code: код N3.119 не 1, 2, 3 и не 5"


def _part_codes(observation: Resource) -> Iterator[Any]:
    concept = observation.get("code")
    codings = concept.get("coding") if isinstance(concept, dict) else None
    for coding in codings if isinstance(codings, list) else []:
        if isinstance(coding, dict) and coding.get("system") == N3 + "119":
            yield coding.get("code")
