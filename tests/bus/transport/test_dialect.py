"""What each dialect leaves out, how it makes its calls, and how ids are read from answers that may hold anything."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qsl

import pytest
from hypothesis import given, settings

from broker.bus.fhir import Resource, encode
from broker.bus.outbound.orders import amendment_bundle, order_bundle
from broker.bus.outbound.results import images_bundle, report_bundle
from broker.bus.profile import Profile
from broker.bus.transport.dialect import (
    DIALECTS,
    OMITTED,
    Call,
    Dialect,
    bundle_references,
    found_tasks,
    has_number,
    n3,
    next_link,
    r4,
    task_references,
)
from broker.domain.messages import BusReferences
from broker.domain.orders import BusRole, Order
from broker.domain.reading.reports import Report
from broker.domain.studies.performed import PerformedStep
from tests.bus import made_orders as made
from tests.bus.samples import AUTHORED, MIS, PROFILE, STUDY_UID, completed, of, order, report, url_of
from tests.support.practice import practice_bus

REFERENCES = BusReferences(task="t-1", service_request="s-1", patient="p-1", acsn="ODII0000000001")


def leaves(node: Any, at: str = "") -> Iterator[tuple[str, Any]]:
    """Yield every (path, value), entries named by the type of their resource."""
    if isinstance(node, dict):
        for name, value in node.items():
            yield from leaves(value, f"{at}.{name}")
    elif isinstance(node, list):
        for number, item in enumerate(node):
            resource = item.get("resource", {}) if isinstance(item, dict) else {}
            mark = item.get("use", "") if isinstance(item, dict) else ""
            yield from leaves(item, f"{at}[{resource.get('resourceType') or mark or number}]")
    else:
        yield at, node


def left_out(dialect: Dialect, bundle: Resource) -> set[str]:
    """Name the paths that a dialect takes away; fail where it adds or changes anything."""
    before, after = sorted(leaves(bundle), key=repr), sorted(leaves(dialect(bundle)), key=repr)
    for leaf in after:
        before.remove(leaf)  # ValueError: it was not there
    return {re.sub(r"\[\d+\]", "", path) for path, _ in before}


ORDER = order_bundle(order(), PROFILE)
AMENDMENT = amendment_bundle(order(), REFERENCES, PROFILE)
IMAGES = images_bundle(order(), [completed()], REFERENCES, PROFILE, AUTHORED)
WALK_IN = images_bundle(order(bus_role=BusRole.WALK_IN), [completed()], BusReferences(), PROFILE, AUTHORED)
REPORT = report_bundle(order(), report(), [completed()], REFERENCES, PROFILE, b"%PDF-1.7", AUTHORED)
FINDABLE = {"Patient", "PractitionerRole", "Condition", "Observation", "ServiceRequest", "DiagnosticReport", "Endpoint"}


def requests(bundle: Resource) -> set[str]:
    return {
        f".entry[{entry['resource']['resourceType']}].request.{member}"
        for entry in bundle["entry"]
        for member in entry["request"]
    }


def found_again(bundle: Resource) -> set[str]:
    kinds = {entry["resource"]["resourceType"] for entry in bundle["entry"]} & FINDABLE
    members = ("use", "system", "value")
    return {f".entry[{kind}].resource.identifier[secondary].{member}" for kind in kinds for member in members}


def test_n3_leaves_out_of_an_order_the_requests_the_initial_statuses_and_what_only_finds_it_again() -> None:
    statuses = {".entry[ServiceRequest].resource.status", ".entry[Task].resource.status"}
    assert left_out(n3, ORDER) == requests(ORDER) | found_again(ORDER) | statuses


@pytest.mark.parametrize("bundle", [IMAGES, WALK_IN], ids=["images", "walk-in"])
def test_n3_leaves_out_of_images_the_requests_and_what_only_finds_them_again(bundle: Resource) -> None:
    assert left_out(n3, bundle) == requests(bundle) | found_again(bundle)
    assert of(n3(bundle), "Task")[0]["status"] == "in-progress"
    assert of(n3(bundle), "DiagnosticReport")[0]["status"] == "partial"


def test_n3_sends_the_document_as_an_entry_and_r4_within_the_report() -> None:
    data = ".entry[DiagnosticReport].resource.presentedForm.data"
    assert left_out(n3, REPORT) == requests(REPORT) | found_again(REPORT) | {data}
    binary = {f".entry[Binary].{path}" for path in ("fullUrl", *(f"resource.{m}" for m in of(REPORT, "Binary")[0]))}
    url = ".entry[DiagnosticReport].resource.presentedForm.url"
    assert left_out(r4, REPORT) == binary | {url, ".entry[Binary].request.method", ".entry[Binary].request.url"}
    [form] = of(n3(REPORT), "DiagnosticReport")[0]["presentedForm"]
    assert form == {"contentType": "application/pdf", "url": url_of(REPORT, "Binary")["reference"]}
    [form] = of(r4(REPORT), "DiagnosticReport")[0]["presentedForm"]
    assert form == {"contentType": "application/pdf", "data": of(REPORT, "Binary")[0]["data"]}


@pytest.mark.parametrize("bundle", [ORDER, AMENDMENT, IMAGES, WALK_IN], ids=["order", "amendment", "images", "walk-in"])
def test_r4_leaves_out_nothing_without_a_document(bundle: Resource) -> None:
    assert r4(bundle) == bundle


MEMBERS_LEFT_OUT = {
    "n3": r"request\..*|resource\.(identifier\[secondary\]\..*|status|presentedForm\.data)",
    "r4": r"(?<=\[Binary\]\.).*|resource\.presentedForm\.url",
}


@pytest.mark.slow
@pytest.mark.parametrize("name", DIALECTS)
@settings(deadline=None, max_examples=30)
@given(order=made.orders, report=made.reports, steps=made.performed_steps, profile=made.profiles, pdf=made.documents)
def test_whatever_is_made_nothing_else_is_left_out_and_nothing_is_changed(
    name: str, order: Order, report: Report, steps: list[PerformedStep], profile: Profile, pdf: bytes
) -> None:
    order = made.numbered(order, 1)
    for bundle in (
        order_bundle(order, profile),
        images_bundle(order, steps, BusReferences(), profile, AUTHORED),
        report_bundle(order, report, steps, REFERENCES, profile, pdf, AUTHORED),
    ):
        for path in left_out(DIALECTS[name], bundle):
            assert re.search(rf"^\.entry\[\w+\]\.(?:{MEMBERS_LEFT_OUT[name]})$", path)


@pytest.mark.parametrize("bundle", [ORDER, AMENDMENT, IMAGES, WALK_IN, REPORT])
def test_what_was_made_is_not_changed(bundle: Resource) -> None:
    before = json.dumps(bundle)
    for dialect in DIALECTS.values():
        dialect(bundle)
    assert json.dumps(bundle) == before


def test_all_that_is_left_out_stands_in_one_table() -> None:
    assert set(OMITTED) == set(DIALECTS)
    assert [(omission.kind, omission.path) for omission in OMITTED["n3"]] == [
        ("*", "request"),
        ("ServiceRequest", "resource.status"),
        ("Task", "resource.status"),
        ("*", "resource.identifier[]"),
        ("DiagnosticReport", "resource.presentedForm.data"),
    ]
    assert [(omission.kind, omission.path) for omission in OMITTED["r4"]] == [
        ("Binary", ""),
        ("DiagnosticReport", "resource.presentedForm.url"),
    ]


def test_parameters_go_as_they_are() -> None:
    parameters = {"resourceType": "Parameters", "parameter": []}
    assert n3(parameters) == r4(parameters) == parameters
    assert [DIALECTS["n3"], DIALECTS["r4"]] == [n3, r4]
    assert (n3.amends, r4.amends) == (False, True)


# ---- calls ----

FHIR_JSON = "application/fhir+json"
ACCEPTED = "application/fhir+json, application/json;q=0.9"
ACCEPTS = {"n3": "application/json", "r4": ACCEPTED}


def test_a_transaction_is_posted_to_the_base_and_answered_by_a_bundle() -> None:
    assert n3.transaction(ORDER) == Call("POST", "?_format=json", encode(n3(ORDER)), "Bundle")
    assert r4.transaction(ORDER) == Call("POST", "?_format=json", encode(ORDER), "Bundle", FHIR_JSON, ACCEPTED)


def test_a_status_is_changed_by_an_operation_or_by_a_patch() -> None:
    given = [{"name": "_id", "valueString": "t-1"}, {"name": "status", "valueString": "cancelled"}]
    body = {"resourceType": "Parameters", "parameter": given}
    assert n3.set_status("t-1", "cancelled") == Call("POST", "/$updatestatus?_format=json", encode(body))
    patch: list[Any] = [{"op": "replace", "path": "/status", "value": "cancelled"}]
    assert r4.set_status("t-1", "cancelled") == Call(
        "PATCH", "/Task/t-1", encode(patch), "Task", "application/json-patch+json", ACCEPTED
    )


def test_n3_searches_by_parameters_with_the_bare_number() -> None:
    asked = {"identifier": f"urn:oid:{MIS}|K|1", "requester": "Organization/0b1c", "_count": "500"}
    call = n3.search("Task", asked)
    assert (call.method, call.path, call.expect) == ("POST", "/Task/_search?_format=json", "Bundle")
    named = {item["name"]: item["valueString"] for item in json.loads(call.body)["parameter"]}
    assert named == asked | {"identifier": "K|1"}


def test_r4_searches_by_a_query_with_the_whole_identifier() -> None:
    call = r4.search(
        "Task",
        {
            "identifier": f"urn:oid:{MIS}|K2611,1|$\\ё&x=1",
            "based-on": "Task/a,Task/b",
            "_lastUpdated": "ge2026-08-18T10:00:00+03:00",
        },
    )
    assert (call.method, call.body, call.expect) == ("GET", b"", "Bundle")
    path, _, asked = call.path.partition("?")
    assert path == "/Task"
    assert dict(parse_qsl(asked, strict_parsing=True)) == {
        "identifier": f"urn:oid:{MIS}|K2611\\,1\\|\\$\\\\ё&x=1",
        "based-on": "Task/a,Task/b",
        "_lastUpdated": "ge2026-08-18T10:00:00+03:00",
    }
    assert re.fullmatch(r"[!-~]+", asked)
    assert r4.search("Task", {"identifier": "K|1"}).path == "/Task?identifier=K|1"


@pytest.mark.parametrize("dialect", [n3, r4], ids=["n3", "r4"])
def test_a_resource_is_read_by_type_and_id(dialect: Dialect) -> None:
    assert dialect.read("Task", "t-1") == Call("GET", "/Task/t-1", expect="Task", accept=ACCEPTS[dialect.name])
    assert dialect.read("Task", "../x?y").path == "/Task/..%2Fx%3Fy"


BASE = "https://bus.example.org/imaging/api/fhir"


def page(url: Any, relation: str = "next") -> Resource:
    links = [{"relation": "self", "url": f"{BASE}/Task"}, {"relation": relation, "url": url}]
    return {"resourceType": "Bundle", "type": "searchset", "link": links}


@pytest.mark.parametrize(
    ("url", "path"),
    [
        (f"{BASE}/Task?_count=1&_offset=1", "/Task?_count=1&_offset=1"),
        (f"{BASE}?_getpages=1b-2", "?_getpages=1b-2"),
        ("Task?page=2", "/Task?page=2"),
        ("/imaging/api/fhir/Task?page=2", "/Task?page=2"),
        (f"{BASE}/Task?next=../..", "/Task?next=../.."),
    ],
)
def test_the_next_page_below_the_base_is_asked_for(url: str, path: str) -> None:
    for dialect in (n3, r4):
        expected = Call("GET", path, expect="Bundle", accept=ACCEPTS[dialect.name])
        assert dialect.next_page(page(url), BASE) == expected
        assert dialect.next_page(page(url), f"{BASE}/") == expected


@pytest.mark.parametrize(
    "url",
    [
        "https://evil.example.org/imaging/api/fhir/Task?page=2",
        "//evil.example.org/imaging/api/fhir/Task",
        "http://bus.example.org/imaging/api/fhir/Task?page=2",
        "https://bus.example.org:444/imaging/api/fhir/Task",
        "https://bus.example.org/imaging/api/fhir@evil.example.org/Task",
        "https://bus.example.org/imaging/api/fhirs/Task",
        "https://bus.example.org/other/Task",
        f"{BASE}/../admin",
        f"{BASE}/%2e%2E/admin",
        f"{BASE}/Task/..",
        f"{BASE}/Task?x=1#y",
        f"{BASE}/Task\\x",
        f"{BASE}/Task?x=1\r\nHost: y",
        f"{BASE}/Task?x=ё",
        "https://[::1",
        "javascript:alert(1)",
        BASE,
        "",
        None,
        5,
        [],
    ],
)
def test_a_next_page_on_another_server_never_gets_the_token(url: Any) -> None:
    assert r4.next_page(page(url), BASE) is None
    assert next_link(page(url)) == (url if isinstance(url, str) else "")


@pytest.mark.parametrize("link", [None, 5, "x", [], [None], [{}], [{"relation": "previous", "url": f"{BASE}/Task"}]])
def test_without_a_link_there_is_no_next_page(link: Any) -> None:
    assert r4.next_page({"link": link}, BASE) is None
    assert next_link({"link": link}) == ""


# ---- answers ----


@pytest.mark.parametrize("answer_urn", [False, True])
def test_ids_and_the_accession_number_are_read_from_both_kinds_of_answer(answer_urn: bool) -> None:
    bus = practice_bus(answer_urn=answer_urn)
    read = bundle_references(bus.transaction(n3(order_bundle(order(), PROFILE))))
    [task] = bus.tasks()
    assert read.task == task["id"]
    assert read.service_request == bus.resources("ServiceRequest")[0]["id"]
    assert read.patient == bus.resources("Patient")[0]["id"]
    assert read.acsn == "ODII0000000001"
    assert read.extra["Encounter"] == bus.resources("Encounter")[0]["id"]
    assert task_references(task) == BusReferences(read.task, read.service_request, read.patient, read.acsn)


def test_studies_are_read_by_the_uid_that_their_images_bear() -> None:
    bus = practice_bus()
    ids = bundle_references(bus.transaction(n3(ORDER)))
    read = bundle_references(bus.transaction(n3(images_bundle(order(), [completed()], ids, PROFILE, AUTHORED))))
    [study] = bus.resources("ImagingStudy")
    assert read.extra[f"study/{STUDY_UID}"] == read.extra["ImagingStudy"] == study["id"]


@pytest.mark.parametrize(
    "entry",
    [
        {"response": {"location": "Task/t-1/_history/3"}},
        {"response": {"location": "https://bus.example/fhir/Task/t-1/_history/3"}},
        {"fullUrl": "Task/t-1"},
        {"fullUrl": "http://bus.example/imaging/api/fhir/Task/t-1"},
        {"fullUrl": "urn:uuid:5", "resource": {"resourceType": "Task", "id": "t-1"}},
        {"fullUrl": "urn:uuid:5", "response": {"location": "Task/t-1"}},
    ],
)
def test_an_id_is_read_from_resource_location_or_full_url(entry: Resource) -> None:
    assert bundle_references({"resourceType": "Bundle", "entry": [entry]}) == BusReferences(task="t-1")


def test_a_urn_alone_is_no_id_for_it_may_be_our_own() -> None:
    entry = {"fullUrl": "urn:uuid:5b0c6c0e-3f7a-5d0b-9d53-6a1f4e0c8b27", "resource": {"resourceType": "Task"}}
    assert bundle_references({"entry": [entry]}) == BusReferences()


def test_a_task_gives_the_ids_of_order_and_patient_if_their_entries_are_missing() -> None:
    task = {
        "resourceType": "Task",
        "id": "t-1",
        "focus": {"reference": "https://bus.example/fhir/ServiceRequest/s-1"},
        "for": {"reference": "Patient/p-1"},
        "identifier": [{"type": {"coding": [{"code": "OTHER"}, {"code": "ACSN"}]}, "value": " 77\n"}],
    }
    assert bundle_references({"entry": [{"resource": task}]}) == BusReferences("t-1", "s-1", "p-1", "77")
    result = task | {"focus": {"reference": "DiagnosticReport/r-1"}}
    assert task_references(result) == BusReferences("t-1", "", "p-1", "77", {"DiagnosticReport": "r-1"})


@pytest.mark.parametrize(
    "node", [None, 5, "x", [], [None], [[]], {}, {"reference": 5}, {"coding": "x"}, [{"type": []}]]
)
@pytest.mark.parametrize("member", ["entry", "resource", "response", "fullUrl", "id", "focus", "for", "identifier"])
def test_members_of_any_type_are_survived(member: str, node: Any) -> None:
    task = {"resourceType": "Task", "id": "t-1", member: node}
    task_references(task)
    found_tasks({"entry": [{"resource": task}, node]}, "1", PROFILE)
    bundle_references({"entry": [{"resource": task, member: node}, node]} | ({"entry": node} if node else {}))


@pytest.mark.parametrize("id", ["..", ".", "a/b", "a?b", "", "x" * 65, "ё", "a b", "a\n"])
def test_an_id_that_would_lead_a_path_astray_is_none(id: str) -> None:
    task = {"resourceType": "Task", "id": id, "focus": {"reference": f"ServiceRequest/{id}"}}
    assert task_references(task) == BusReferences()


def test_only_our_own_task_with_the_number_is_found() -> None:
    ours = {
        "resourceType": "Task",
        "id": "t-1",
        "identifier": [{"system": f"urn:oid:{MIS}", "value": "K2611-0001"}],
    }
    foreign = ours | {"id": "t-2", "identifier": [{"system": "urn:oid:1.2.3", "value": "K2611-0001"}]}
    other = ours | {"id": "t-3", "identifier": [{"system": f"urn:oid:{MIS}", "value": "K2611-00011"}]}
    report = ours | {"resourceType": "DiagnosticReport"}
    searchset = {"entry": [{"resource": one} for one in (foreign, other, report, ours)]}
    assert found_tasks(searchset, "K2611-0001", PROFILE) == [ours]
    assert [has_number(one, "K2611-0001", PROFILE) for one in (ours, foreign, other)] == [True, False, False]
