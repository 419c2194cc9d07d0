"""Validates resources by the ОДИИ profile: required members, code systems, rules of the patient index.

Pure checks over parsed JSON, for the practice bus and for our own /fhir. Written
apart from the code that makes our bundles, so that it can validate them: it must not import the client or `domain`, and
it must not repair anything; the bus's client must not import it. A resource that passes has every member that those
two read, in the right shape.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime
from typing import Any, NamedTuple

from broker.bus.fhir_server.fields import DICOM_UID, FIELDS, N3, OWN_ID, PDF_AND_CDA, POLICY, SNILS, Requirement

Resource = dict[str, Any]
Find = Callable[[str], Resource | None]  # reference as written -> resource in the bundle or stored

ACCESSION_NUMBER_LENGTH = 16  # PS3.5 6.2: (0008,0050) is SH

_MSV = frozenset({"mSv", "мЗв"})
_CODING_KEYS = frozenset({"coding", "class", "security", "tag", "modality"})


class Issue(NamedTuple):
    """One issue of an OperationOutcome: FHIR issue type code, Russian text, FHIRPath of the place."""

    code: str
    diagnostics: str
    location: str = ""


class OperationRefused(Exception):
    """The call is refused with this HTTP status and an OperationOutcome; nothing was stored."""

    def __init__(self, status: int, *issues: Issue) -> None:
        super().__init__(f"{status}: " + "; ".join(issue.diagnostics for issue in issues))
        self.status = status
        self.issues = issues

    def outcome(self) -> Resource:
        """Render the OperationOutcome."""
        rendered = []
        for issue in self.issues:
            item: Resource = {"severity": "error", "code": issue.code, "diagnostics": issue.diagnostics}
            rendered.append(item | ({"location": [issue.location]} if issue.location else {}))
        return {"resourceType": "OperationOutcome", "issue": rendered}


def check(
    resource: Resource, find: Find, today: date, at: str = "", lenient: bool = False, unknown_people: bool = False
) -> list[Issue]:
    """Return the issues of one resource; `at` is its FHIRPath in the bundle, empty for a single create.

    `unknown_people`: a given name may be missing, and a birth date, or all of it but the year. The bus refuses that.
    """
    kind = str(resource.get("resourceType"))
    profile = kind
    if kind == "Task":
        profile = f"Task/{resource.get('intent')}"
        if profile not in FIELDS:
            allowed = "original-order или reflex-order"
            return [Issue("value", f"Task.intent: ожидается {allowed}", f"{at or 'Task'}.intent")]
    found: dict[str, Issue] = {}  # only the first issue of a place is reported

    def report(place: str, text: str, code: str = "value") -> None:
        found.setdefault(place, Issue(code, f"{kind}{place}: {text}", f"{at or kind}{place}"))

    if not isinstance(resource.get("meta", {}), dict):
        report(".meta", "ожидается объект")
    for requirement in FIELDS[profile]:
        field = _relaxed(requirement) if lenient and requirement.lenient else requirement
        if unknown_people and requirement.may_be_unknown:
            field = field._replace(optional=True, kind="part of date" if field.kind == "date" else field.kind)
        for place, value in _values(resource, field.path):
            is_whole = place == "." + field.path.partition("[")[0]
            if value is None and (field.optional or (lenient and field.lenient == "whole" and is_whole)):
                continue
            problem = _problem(field, value, find, today)
            if problem:
                report(place, problem, "required" if value is None else "value")
    for place, key, value in _walk(resource):
        problem = _general_problem(key, value, find)
        if problem:
            report(place, problem)
    for place, problem in _type_problems(kind, resource):
        report(place, problem)
    return list(found.values())


def check_bundle(resources: list[Resource], find: Find) -> list[Issue]:
    """Return the issues between the resources of one transaction, each of which has passed `check`."""
    by_type: dict[str, list[Resource]] = {}
    for resource in resources:
        by_type.setdefault(resource["resourceType"], []).append(resource)
    tasks = by_type.get("Task", [])
    if len(tasks) != 1:
        return [Issue("invariant", f"Bundle: ожидается ровно один Task, передано {len(tasks)}", "Bundle.entry")]
    [task] = tasks
    focus_type = "ServiceRequest" if task["intent"] == "original-order" else "DiagnosticReport"
    focus = find(task["focus"]["reference"])
    if len(by_type.get(focus_type, [])) != 1 or focus is not by_type[focus_type][0]:
        return [Issue("invariant", f"Task.focus: ожидается единственный {focus_type} этого же Bundle", "Task.focus")]
    issues = []
    subjects = {_text(_member(resource, "subject"), "reference") for resource in resources} - {""}
    if any(find(subject) is not find(task["for"]["reference"]) for subject in subjects):
        issues.append(Issue("invariant", "Bundle: ресурсы относятся к разным пациентам", "Task.for"))
    if focus_type == "DiagnosticReport":
        issues += _result_issues(task, focus, find)
    return issues


def _result_issues(task: Resource, report: Resource, find: Find) -> Iterator[Issue]:
    """Yield what is wrong between a result's Task, its report and the order they answer."""
    phases = {"in-progress": ("partial",), "completed": ("final", "appended")}
    if report["status"] not in phases[task["status"]]:
        text = f"DiagnosticReport.status: {report['status']} не соответствует Task.status {task['status']}"
        yield Issue("invariant", text, "DiagnosticReport.status")
    if task["status"] == "completed" and not report.get("result") and not _has_document(report):
        yield Issue("required", "DiagnosticReport.result: не заполнено", "DiagnosticReport.result")
    originals = [find(item["reference"]) or {} for item in task.get("basedOn", [])]
    if any(original.get("intent") != "original-order" for original in originals):
        yield Issue("value", "Task.basedOn: указан не исходный Task (original-order)", "Task.basedOn")
    if not originals:
        return
    if not report.get("basedOn"):
        yield Issue("required", "DiagnosticReport.basedOn: не заполнено", "DiagnosticReport.basedOn")
    for item in report.get("imagingStudy", []):
        study = find(item["reference"]) or {}
        if not any(_is_accession_number(identifier) for identifier in study.get("identifier", [])):
            yield Issue("required", "ImagingStudy.identifier: нет номера ACSN", "ImagingStudy.identifier")


def _has_document(report: Resource) -> bool:
    """Return True if a report has a document: what no Observation says may stand there."""
    return any(_text(form, "contentType") in PDF_AND_CDA for form in children(report.get("presentedForm")))


def snils_valid(value: str) -> bool:
    """Return True if these are 11 digits whose last two are the check number; one digit repeated is a placeholder."""
    if not re.fullmatch(r"[0-9]{11}", value) or len(set(value[:9])) == 1:
        return False
    if value[:9] <= "001001998":  # numbers up to here were issued without a check number
        return True
    total = sum(int(digit) * weight for digit, weight in zip(value[:9], range(9, 0, -1), strict=True))
    return total % 101 % 100 == int(value[9:])


_NOT_ARRAY = object()
_NOT_SINGLE = object()


def _values(node: Any, path: str, at: str = "") -> Iterator[tuple[str, Any]]:
    """Yield every (place, value) a path leads to; None if missing, a mark if array and single differ."""
    head, _, rest = path.partition(".")
    key = head.removesuffix("[]")
    place = f"{at}.{key}"
    child = node.get(key) if isinstance(node, dict) else None
    if child is None or child in ([], {}, ""):
        yield place, None
    elif isinstance(child, list) != head.endswith("[]"):
        yield place, _NOT_SINGLE if isinstance(child, list) else _NOT_ARRAY
    else:
        items = enumerate(child) if isinstance(child, list) else ()
        for where, item in [(f"{place}[{i}]", item) for i, item in items] or [(place, child)]:
            if rest:
                yield from _values(item, rest, where)
            else:
                yield where, item


def _relaxed(field: Requirement) -> Requirement:
    """Return a requirement as a lenient bus checks it."""
    return field._replace(allowed=(), optional=field.lenient == "absent")


def _problem(field: Requirement, value: Any, find: Find, today: date) -> str:
    """Return in Russian what is wrong with a required member; empty if nothing."""
    if value is None or (isinstance(value, str) and not value.strip()):
        return "не заполнено обязательное поле"
    if value in (_NOT_ARRAY, _NOT_SINGLE):
        return "ожидается массив" if value is _NOT_ARRAY else "ожидается одно значение, а не массив"
    match field.kind:
        case "bool":
            return "" if isinstance(value, bool) else "ожидается true или false"
        case "coding":
            return _coding_problem([value], field.allowed)
        case "concept":
            return _concept_problem(value, field.allowed)
        case "ref":
            return _target_problem(value, field.allowed, find)
    return _text_problem(field, value, today) if isinstance(value, str) else "ожидается строка"


def _text_problem(field: Requirement, value: str, today: date) -> str:
    match field.kind:
        case "code":
            return "" if value in field.allowed else f"недопустимое значение, ожидается {', '.join(field.allowed)}"
        case "date":
            return _birth_date_problem(value, today)
        case "part of date":  # FHIR R4 date: a year, a year and a month, or a day
            return "" if re.fullmatch(r"\d{4}(-\d\d)?", value) else _birth_date_problem(value, today)
        case "instant":
            return _instant_problem(value)
    return ""


def _concept_problem(concept: Any, systems: tuple[str, ...]) -> str:
    """Return what is wrong with a CodeableConcept; one without codes may be in words, unless codifiers are named."""
    in_words = isinstance(concept, dict) and "coding" not in concept and not systems
    return "" if in_words and _text(concept, "text") else _coding_problem(_member(concept, "coding"), systems)


def _target_problem(node: Any, types: tuple[str, ...], find: Find) -> str:
    """Return what is wrong with what a Reference leads to; an unknown target is found by `_reference_problem`."""
    reference = _text(node, "reference")
    if not reference:
        return "не заполнена ссылка"
    target = find(node["reference"])
    if target is not None and types and target["resourceType"] not in types:
        return f"ссылка ведёт на {target['resourceType']}, ожидается {' или '.join(types)}"
    return ""


def _coding_problem(codings: Any, systems: tuple[str, ...]) -> str:
    """Return what is wrong with Codings of which one must come from one of these codifiers, if any are named."""
    if not isinstance(codings, list) or not codings or not all(isinstance(c, dict) for c in codings):
        return "ожидается coding"
    if systems and not any(coding.get("system") in systems for coding in codings):
        return f"ожидается код справочника {' или '.join(systems)}"
    return ""


def _birth_date_problem(value: str, today: date) -> str:
    """Return why the patient index refuses this date of birth."""
    if not re.fullmatch(r"\d{4}-\d\d-\d\d", value):
        return "ожидается дата ГГГГ-ММ-ДД"
    try:
        born = date.fromisoformat(value)
    except ValueError:
        return "такой даты нет"
    if born == date(1900, 1, 1):
        return "дата рождения 1900-01-01 не принимается"
    return "дата рождения в будущем" if born > today else ""


def _instant_problem(value: str) -> str:
    """Return what is wrong with a FHIR dateTime; a time needs its zone."""
    if re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?", value):
        return "не указан часовой пояс"
    try:
        if not re.fullmatch(r"\d{4}-\d\d-\d\d(T\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d))?", value):
            raise ValueError(value)
        moment = datetime.fromisoformat(value)
        _ = moment.astimezone(UTC) if moment.tzinfo else moment
    except ValueError:
        return "ожидается дата и время ISO 8601"
    except OverflowError:
        return "такого времени в UTC нет"
    return ""


def children(node: Any) -> list[Any]:
    """List the values inside an object or array."""
    if isinstance(node, dict):
        return list(node.values())
    return node if isinstance(node, list) else []


def _walk(node: Any, at: str = "", key: str = "") -> Iterator[tuple[str, str, Any]]:
    """Yield (place, key, value) of everything inside a resource; an array's items have the array's key."""
    if isinstance(node, dict):
        for name, value in node.items():
            yield f"{at}.{name}", name, value
            yield from _walk(value, f"{at}.{name}", name)
    elif isinstance(node, list):
        for i, value in enumerate(node):
            yield f"{at}[{i}]", key, value
            yield from _walk(value, f"{at}[{i}]", key)


def _general_problem(key: str, value: Any, find: Find) -> str:
    """Return what is wrong with a value by the rules for all resources."""
    if value in ("", [], {}) or value is None:
        return "пустое значение не допускается"  # FHIR R4 JSON: properties can never be empty
    # FHIR R4, "Is Modifier": what changes the meaning of a resource and is not understood must not be overlooked.
    if key in ("modifierExtension", "implicitRules"):
        return f"{key} меняет смысл ресурса и не поддерживается"
    if key == "doNotPerform" and value is not False:
        return "направления «не выполнять» не принимаются"
    if _is_reference(key, value):
        return _reference_problem(value, find)
    if isinstance(value, dict):
        if key in _CODING_KEYS:
            return _code_problem(value)
        if key == "identifier":
            return _identifier_problem(value)
    return ""


def _code_problem(coding: Resource) -> str:
    for name in ("system", "version", "code"):
        if not _text(coding, name):
            return f"в coding не заполнено {name}"
    return "" if coding["system"].startswith("urn:oid:") else "system должен начинаться с urn:oid:"


def _reference_problem(reference: Any, find: Find) -> str:
    if isinstance(reference, str) and find(reference) is not None:
        return ""
    if str(reference).startswith("Organization/"):
        return f"организация {reference} не зарегистрирована"
    return f"ссылка {reference} не найдена ни в Bundle, ни в сервисе"


def _identifier_problem(identifier: Resource) -> str:
    system, number = identifier.get("system"), str(identifier.get("value"))
    if system == SNILS and not snils_valid(number):
        return "некорректный СНИЛС: ожидается 11 цифр с верным контрольным числом"
    if system == POLICY and not re.fullmatch(r"(?!(.)\1*$)[0-9]{16}", number):
        return "некорректный полис ОМС: ожидается 16 цифр"
    if system == OWN_ID and not _text(identifier.get("assigner"), "display"):
        return "не заполнен assigner.display (OID МИС)"
    return ""


def _type_problems(kind: str, resource: Resource) -> Iterator[tuple[str, str]]:
    """Yield (place, problem) by the rules for one resource type."""
    match kind:
        case "Observation":
            yield from _observation_problems(resource)
            yield from _report_part(resource)
        case "Binary":
            try:
                base64.b64decode(str(resource.get("data")), validate=True)
            except binascii.Error:
                yield ".data", "ожидается base64"
        case "ImagingStudy":
            yield from _study_number_problems(resource)


def _observation_problems(observation: Resource) -> Iterator[tuple[str, str]]:
    if "valueQuantity" in observation:
        if not isinstance(_member(observation["valueQuantity"], "value"), int | float):
            yield ".valueQuantity", "не заполнено значение"
    elif "valueString" not in observation:
        yield ".value", "не заполнено обязательное поле"


def _study_number_problems(study: Resource) -> Iterator[tuple[str, str]]:
    identifiers = [each for each in children(study.get("identifier")) if isinstance(each, dict)]
    uids = [str(each.get("value")) for each in identifiers if each.get("system") == DICOM_UID]
    if len(uids) != 1:
        yield ".identifier", f"ожидается один идентификатор {DICOM_UID}"
    # PS3.5 9.1: at most 64 characters, no component with a leading zero
    elif not re.fullmatch(r"urn:oid:(?=[0-9.]{1,64}$)(0|[1-9]\d*)(\.(0|[1-9]\d*))+", uids[0], re.ASCII):
        yield ".identifier", "некорректный StudyInstanceUID, ожидается urn:oid:<UID>"
    if any(
        _is_accession_number(each) and len(str(each.get("value"))) > ACCESSION_NUMBER_LENGTH for each in identifiers
    ):
        yield ".identifier", f"номер ACSN длиннее {ACCESSION_NUMBER_LENGTH} символов"


def _report_part(observation: Resource) -> Iterator[tuple[str, str]]:
    """Yield what is wrong with an Observation of a report, by its code: 1 to 3 are texts, 5 is the effective dose.

    N3.119 has further codes, which some regions want.
    """
    codings = children(_member(observation.get("code"), "coding"))
    codes = [_text(coding, "code") for coding in codings if _text(coding, "system") == N3 + "119"]
    if "5" in codes:
        quantity = observation.get("valueQuantity")
        if "valueQuantity" not in observation or not {_text(quantity, "code"), _text(quantity, "unit")} & _MSV:
            yield ".valueQuantity", "эффективная доза: ожидается значение в мЗв (mSv)"
    elif {"1", "2", "3"} & set(codes) and "valueString" not in observation:
        yield ".valueString", "не заполнено обязательное поле"


def _is_accession_number(identifier: Any) -> bool:
    """Return True if an identifier is the one the bus gave a study."""
    codings = _member(_member(identifier, "type"), "coding")
    return any(_member(coding, "code") == "ACSN" for coding in children(codings))


def _is_reference(key: str, value: Any) -> bool:
    """Return True if a member points to a resource: every `reference`, and an attachment's `url` of a Binary."""
    return key == "reference" or (key == "url" and str(value).startswith(("urn:uuid:", "Binary/")))


def _member(node: Any, key: str) -> Any:
    """Take a member of what may not be an object."""
    return node.get(key) if isinstance(node, dict) else None


def _text(node: Any, key: str) -> str:
    """Take a member that should be text, empty if it is not."""
    value = _member(node, key)
    return value.strip() if isinstance(value, str) else ""
