"""The side of the body in a referral: from codes and words, and never chosen between two."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.bus.inbound.parse_side import Side, side_of, sides_in

SCT = "http://snomed.info/sct"
DCM = "urn:oid:1.2.840.10008.2.16.4"
QUESTION = Side("", contradicts=True)


def site(text: str = "", code: str = "", system: str = SCT, display: str = "") -> dict[str, Any]:
    coding = {"system": system, "code": code} | ({"display": display} if display else {})
    return ({"coding": [coding]} if code else {}) | ({"text": text} if text else {})


@pytest.mark.parametrize(
    ("text", "sides"),
    [
        ("правая кисть", {"R"}),
        ("Левый коленный сустав", {"L"}),
        ("ЛЕВОГО КОЛЕНА", {"L"}),
        ("плечо справа", {"R"}),
        ("правосторонняя пневмония", {"R"}),
        ("Левосторонний", {"L"}),
        ("обе кисти", {"B"}),
        ("двусторонняя", {"B"}),
        ("кисть прав.", {"R"}),
        ("правая и левая кисть", {"R", "L"}),
        ("справка о прививках", set()),
        ("по правилам, проверить право", set()),
        ("левофлоксацин с утра", set()),
        ("управление, направление", set()),
        ("оправа", set()),
        ("", set()),
    ],
)
def test_whole_words_name_a_side(text: str, sides: set[str]) -> None:
    assert sides_in(text) == sides


@pytest.mark.parametrize(
    ("sites", "found"),
    [
        ([site("правая кисть")], Side("R")),
        ([site(code="7771000")], Side("L")),
        ([site("кисть", "G-A101", DCM)], Side("L")),
        ([site("правая кисть", "24028007")], Side("R")),
        ([site(code="2500", system="urn:oid:1.2.643.5.1.13.13.11.1477", display="Левая кисть")], Side("L")),
        ([site(code="51440002")], Side("B")),
        ([site("правая и левая кисть")], QUESTION),
        ([site("правая кисть", "7771000")], QUESTION),
        ([site("правая кисть"), site("левая стопа")], QUESTION),
        ([site("кисть")], Side("")),
        ([site(code="R", system="urn:oid:1.2.643.5.1.13.13.11.1477")], Side("")),  # no code of a side
        ([], Side("")),
        ("rubbish", Side("")),
    ],
)
def test_codes_and_words_of_the_body_site_agree_or_ask(sites: Any, found: Side) -> None:
    assert side_of({"bodySite": sites}) == found


def test_a_qualifier_beside_the_site_counts() -> None:
    extension = {
        "url": "http://example.org/laterality",
        "valueCodeableConcept": site(code="7771000"),
    }
    assert side_of({"bodySite": [site("кисть") | {"extension": [extension]}]}) == Side("L")


def test_the_procedures_name_counts_where_nothing_else_does_and_contradicts_where_it_differs() -> None:
    left = {"text": "Рентгенография левой кисти"}
    assert side_of({"code": left}) == Side("L")
    assert side_of({"code": {"text": "Рентгенография правой и левой кисти"}}) == Side("")
    assert side_of({"code": left, "bodySite": [site("правая кисть")]}) == QUESTION
    assert side_of({"code": left, "bodySite": [site("левая кисть")]}) == Side("L")


def test_our_own_note_is_held_against_the_rest() -> None:
    assert side_of({}, "R") == Side("R")
    assert side_of({"bodySite": [site("левая кисть")]}, "R") == QUESTION


MEMBERS = ("bodySite", "coding", "text", "code", "system", "extension", "valueCodeableConcept", "display")


@given(
    st.recursive(
        st.none() | st.text() | st.integers(),
        lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(MEMBERS), inner),
    )
)
def test_rubbish_names_no_side_and_stops_nothing(node: Any) -> None:
    assert side_of(node if isinstance(node, dict) else {"bodySite": node}).laterality in ("", "R", "L", "B")
