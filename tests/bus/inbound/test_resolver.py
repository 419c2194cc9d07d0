"""References of the bus are followed within limits, and never away from it."""

from __future__ import annotations

from typing import Any

import pytest

from broker.bus.fhir import Resource
from broker.bus.inbound.resolver import (
    MAX_DEPTH,
    MAX_SHARED,
    SHARED_LIFETIME,
    BusUnavailable,
    ChangedMeaning,
    ContainedResources,
    ReferenceResolver,
    Unusable,
    check_size,
    names_of_the_bus,
)
from broker.bus.transport.answers import Answer, Delivered, Paused, Rejected, Retry

BASE = "http://bus.example/imaging/api/fhir"


class Bus:
    """Answers with what a test gives, and counts what it was asked for."""

    def __init__(self, **answers: Answer) -> None:
        self.answers = answers
        self.asked: list[str] = []

    def read(self, kind: str, id: str) -> Answer:
        self.asked.append(f"{kind}/{id}")
        return self.answers.get(id, Delivered({"resourceType": kind, "id": id}))


def test_a_reference_is_followed_once_for_an_item_and_again_for_the_next() -> None:
    bus = Bus()
    resolver = ReferenceResolver(bus.read, BASE)
    for _ in range(2):
        resolver.begin()
        for _ in range(3):
            assert resolver.resource({"reference": "Patient/1"}, "Patient")["id"] == "1"
    assert bus.asked == ["Patient/1"] * 2
    assert [resource["id"] for resource in resolver.seen] == ["1"]


def test_doctors_are_remembered_between_items_for_a_while() -> None:
    bus, now = Bus(), [0.0]
    resolver = ReferenceResolver(bus.read, BASE, monotonic=lambda: now[0])
    for moment in (0.0, SHARED_LIFETIME - 1, SHARED_LIFETIME + 1):
        now[0] = moment
        resolver.begin()
        resolver.resource("Practitioner/1", "Practitioner")
    assert bus.asked == ["Practitioner/1"] * 2


def test_what_is_remembered_has_an_end() -> None:
    resolver = ReferenceResolver(Bus().read, BASE)
    for number in range(MAX_SHARED + 50):
        resolver.begin()
        resolver.resource(f"Practitioner/{number}")
    assert len(resolver._shared) == MAX_SHARED


@pytest.mark.parametrize("text", ["Patient/a-1.b", "Patient/1/_history/2", f"{BASE}/Patient/1"])
def test_references_of_the_bus_itself_are_followed(text: str) -> None:
    assert ReferenceResolver(Bus().read, BASE).resource({"reference": text}, "Patient")["resourceType"] == "Patient"


GUID = "0b7c1f4e-3a52-4d0e-9c1b-2f6a7d8e9b01"
INNER = "http://bus-internal:8080/fhir"


@pytest.mark.parametrize(
    "text", [f"https://elsewhere.example/Patient/{GUID}", f"{INNER}/Patient/17", f"{INNER}/Patient/17/_history/2"]
)
def test_a_foreign_address_is_not_asked_and_this_bus_is(text: str) -> None:
    bus = Bus()
    resolver = ReferenceResolver(bus.read, BASE)
    resolver.begin(frozenset({INNER}))
    assert resolver.resource({"reference": text}, "Patient")["id"] in (GUID, "17")
    assert bus.asked in ([f"Patient/{GUID}"], ["Patient/17"])
    resolver.begin()
    if GUID not in text:
        with pytest.raises(Unusable, match="leads away"):
            resolver.resource({"reference": text}, "Patient")


def test_an_address_that_has_our_own_organisation_is_another_name_of_the_bus() -> None:
    task = {
        "owner": {"reference": f"{INNER}/Organization/{GUID.upper()}"},
        "requester": {"reference": "https://clinic-b.example/fhir/Organization/c84e7f12-0d39-4b6e-9c7a-5f6e7d8c9b02"},
    }
    assert names_of_the_bus(task, GUID) == {INNER}
    assert names_of_the_bus({"owner": {"reference": f"Organization/{GUID}"}}, GUID) == frozenset()
    assert names_of_the_bus({}, "") == frozenset()


# ---- contained resources ----


def contents(**resources: Any) -> ContainedResources:
    return ContainedResources(ReferenceResolver(Bus(**resources).read, BASE).resource)


def holding(id: str, **contained: str) -> Resource:
    """Make a resource that contains people of these names and refers to all of them."""
    people = [{"resourceType": "Patient", "id": key, "name": name} for key, name in contained.items()]
    members = {key: {"reference": f"#{key}"} for key in contained}
    return {"resourceType": "Task", "id": id, "contained": people, **members}


def test_what_two_resources_contain_under_one_id_stays_apart() -> None:
    find = contents()
    one, other = find.open(holding("1", p="Анна")), find.open(holding("2", p="Белла"))
    assert find(one["p"], "Patient") == {"resourceType": "Patient", "name": "Анна"}
    assert find(other["p"])["name"] == "Белла"
    assert find.open(holding("3", q="Вера"))["q"] != one["p"]


@pytest.mark.parametrize("reference", [{"reference": "#p"}, {"reference": "#0/x"}, {"reference": "#"}])
def test_what_is_contained_nowhere_is_not_found(reference: Resource) -> None:
    find = contents()
    find.open(holding("1", p="Анна"))
    with pytest.raises(Unusable, match="nothing that it contains"):
        find(reference, "Patient")


def test_a_contained_resource_of_another_type_is_not_what_is_asked_for() -> None:
    find = contents()
    task = find.open(holding("1", p="Анна"))
    with pytest.raises(Unusable, match="nothing that it contains"):
        find(task["p"], "Practitioner")


def test_a_resource_without_contents_is_the_one_that_came() -> None:
    task = {"resourceType": "Task", "id": "1"}
    assert contents().open(task) is task


@pytest.mark.parametrize(
    "place",
    [
        {"modifierExtension": [{"url": "urn:x"}]},
        {"implicitRules": "http://rules.example"},
        {"restriction": {"modifierExtension": [{"url": "urn:x"}]}},
        {"contained": [{"resourceType": "Patient", "id": "p", "contact": [{"modifierExtension": [{"url": "urn:x"}]}]}]},
    ],
)
def test_what_changes_the_meaning_of_any_part_stops_the_reading(place: Resource) -> None:
    with pytest.raises(ChangedMeaning):
        contents().open({"resourceType": "Task", "id": "1", **place})
    with pytest.raises(ChangedMeaning):
        contents(p1=Delivered({"resourceType": "Patient", "id": "p1", **place}))({"reference": "Patient/p1"})


@pytest.mark.parametrize(
    "reference",
    [
        None,
        7,
        [],
        {},
        {"reference": ""},
        {"reference": {"reference": "Patient/1"}},
        {"reference": "#contained"},
        {"reference": "urn:uuid:0b7c1f4e-3a52-4d0e-9c1b-2f6a7d8e9b01"},
        {"reference": "http://elsewhere.example/Patient/1"},
        {"reference": BASE + ".evil.example/Patient/1"},
        {"reference": "Patient/../Task/1"},
        {"reference": "Patient/.."},
        {"reference": "Patient/1?_format=json"},
        {"reference": "Patient/1\n"},
        {"reference": "Patient/" + "1" * 65},
        {"reference": "patient/1"},
        {"reference": "Patient/\x00"},
        {"reference": "Observation/1"},
    ],
)
def test_no_other_reference_is_followed(reference: Any) -> None:
    bus = Bus()
    with pytest.raises(Unusable):
        ReferenceResolver(bus.read, BASE).resource(reference, "Patient")
    assert bus.asked == []


def test_an_item_may_refer_to_so_many_resources_only() -> None:
    resolver = ReferenceResolver(Bus().read, BASE, max_references=3)
    for number in range(3):
        resolver.resource(f"Observation/{number}")
    with pytest.raises(Unusable, match="more than 3"):
        resolver.resource("Observation/4")
    assert resolver.resource("Observation/0")["id"] == "0"
    resolver.begin()
    resolver.resource("Observation/4")


def test_what_is_not_there_is_the_items_fault_and_a_bad_line_is_not() -> None:
    resolver = ReferenceResolver(
        Bus(gone=Rejected("HTTP 404"), slow=Retry("time-out"), shut=Paused("token refused")).read, BASE
    )
    with pytest.raises(Unusable, match=r"Patient/gone .*404"):
        resolver.resource("Patient/gone")
    for id, kind in (("slow", Retry), ("shut", Paused)):
        with pytest.raises(BusUnavailable) as raised:
            resolver.resource(f"Patient/{id}")
        assert isinstance(raised.value.answer, kind)


@pytest.mark.parametrize("came", [{"resourceType": "Task", "id": "1"}, {"resourceType": "Patient", "id": "2"}, {}])
def test_something_else_than_was_asked_for_is_not_taken(came: dict[str, Any]) -> None:
    bus = Bus()
    bus.answers["1"] = Delivered(came)
    with pytest.raises(Unusable):
        ReferenceResolver(bus.read, BASE).resource("Patient/1")


def test_what_is_nested_too_deep_or_too_large_is_not_taken() -> None:
    deep: Any = "x"
    for _ in range(MAX_DEPTH):
        deep = [deep]
    check_size({"a": deep[0]})
    with pytest.raises(Unusable, match="deep"):
        check_size({"a": deep})
    check_size({"a": "x" * 90}, 100)
    larges: list[dict[str, Any]] = [{"a": "x" * 101}, {"x" * 101: 1}, {"a": [1] * 101}, {"a": [{}] * 101}]
    for large in larges:
        with pytest.raises(Unusable, match="large"):
            check_size(large, 100)
