"""Opinions are compared, and reads come to something, as the rules of double reading say."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.domain.reading.opinions import (
    Arbitration,
    Finding,
    Opinion,
    OpinionForm,
    Read,
    ReadingRules,
    ReadingStage,
    agree,
    case,
    form_of,
    problems,
)
from tests.support.clock import NOW

NORM, KNOWN, RECALL, TECHNICAL = map(Opinion, Finding)
RULES = ReadingRules()
LONG_AGO = NOW - timedelta(hours=1)

breasts = st.builds(Opinion.of_breasts, st.integers(0, 6), st.integers(0, 6))
findings = st.builds(Opinion, st.sampled_from(Finding), st.sampled_from(["", "R", "L", "B"]))
opinions = st.one_of(findings, breasts)


def read(reader: str, opinion: Opinion = NORM, given_at: datetime = LONG_AGO, **more: object) -> Read:
    return Read(1, reader, opinion=opinion, given_at=given_at, stands_at=given_at + timedelta(minutes=10), **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        (NORM, NORM, True),
        (NORM, KNOWN, True),
        (NORM, RECALL, False),
        (RECALL, TECHNICAL, False),
        (TECHNICAL, TECHNICAL, True),
        (RECALL, RECALL, True),
        (Opinion(Finding.RECALL, "R"), Opinion(Finding.RECALL, "L"), False),
        (Opinion(Finding.RECALL, "R"), RECALL, True),
        (Opinion.of_breasts(1, 2), Opinion.of_breasts(2, 1), True),
        (Opinion.of_breasts(1, 4), Opinion.of_breasts(1, 5), True),
        (Opinion.of_breasts(1, 4), Opinion.of_breasts(4, 1), False),
        (Opinion.of_breasts(0, 1), Opinion.of_breasts(1, 1), False),
    ],
)
def test_opinions_agree_by_what_follows_from_them(one: Opinion, other: Opinion, same: bool) -> None:
    assert agree(one, other) is agree(other, one) is same


def test_strictly_the_numbers_of_categories_are_compared() -> None:
    assert agree(Opinion.of_breasts(1, 4), Opinion.of_breasts(1, 5))
    assert not agree(Opinion.of_breasts(1, 4), Opinion.of_breasts(1, 5), strict=True)


@given(opinions, opinions, st.booleans())
def test_agreement_is_the_same_whoever_reads_first(one: Opinion, other: Opinion, strict: bool) -> None:
    assert agree(one, other, strict=strict) == agree(other, one, strict=strict)
    assert agree(one, one, strict=strict)


@given(opinions, opinions)
def test_whoever_finds_something_that_the_other_does_not_is_never_outvoted(one: Opinion, other: Opinion) -> None:
    if one.is_routine != other.is_routine:
        assert not agree(one, other)


def test_a_mammogram_needs_a_category_of_each_breast() -> None:
    assert form_of("MG") is OpinionForm.BI_RADS
    assert problems(NORM, OpinionForm.BI_RADS) == {"opinion": "required"}
    assert problems(Opinion(Finding.NORM, right=4, left=1), OpinionForm.BI_RADS) == {"opinion": "unknown"}
    assert problems(Opinion.of_breasts(0, 6), OpinionForm.BI_RADS) == {}
    assert problems(TECHNICAL, OpinionForm.BI_RADS) == {}
    assert problems(Opinion.of_breasts(1, 1), form_of("DX")) == {"opinion": "unknown"}


def test_a_study_that_is_read_once_is_concluded_when_its_read_stands() -> None:
    assert case([], 1, RULES, NOW).stage is ReadingStage.FIRST
    held = case([read("a", given_at=NOW)], 1, RULES, NOW)
    assert (held.stage, held.held is not None, held.decisive) == (ReadingStage.FIRST, True, None)
    assert case([read("a", given_at=NOW)], 1, RULES, NOW + timedelta(minutes=10)).stage is ReadingStage.CONCLUDED


def test_two_who_agree_conclude_a_case_in_the_words_of_the_first() -> None:
    second = read("b", KNOWN, LONG_AGO + timedelta(minutes=20))
    found = case([second, read("a")], 2, RULES, NOW)
    assert found.stage is ReadingStage.CONCLUDED
    assert found.decisive is not None
    assert found.decisive.reader == "a"


def test_two_who_differ_wait_for_a_third_who_decides() -> None:
    both = [read("a"), read("b", RECALL)]
    assert case(both, 2, RULES, NOW).stage is ReadingStage.ARBITRATION
    third = case([*both, read("c", RECALL, arbitrates=True)], 2, RULES, NOW)
    assert third.decisive is not None
    assert (third.stage, third.decisive.reader) == (ReadingStage.CONCLUDED, "c")


def test_a_clinic_may_let_a_third_decide_on_every_recall() -> None:
    both = [read("a", RECALL), read("b", RECALL)]
    rules = ReadingRules(arbitration=Arbitration.RECALLS)
    assert case(both, 2, RULES, NOW).stage is ReadingStage.CONCLUDED
    assert case(both, 2, rules, NOW).stage is ReadingStage.ARBITRATION


@given(st.lists(st.tuples(opinions, st.integers(0, 40)), max_size=3), st.sampled_from([1, 2]))
def test_a_case_is_decided_by_standing_reads_only(given_reads: list[tuple[Opinion, int]], needed: int) -> None:
    made = [
        read("abc"[place], opinion, NOW - timedelta(minutes=minutes), id=place)
        for place, (opinion, minutes) in enumerate(given_reads)
    ]
    found = case(made, needed, RULES, NOW)
    assert all(each.stands(NOW) for each in found.standing)
    if found.decisive:
        assert found.decisive in found.standing
        assert len(found.standing) >= needed
    else:
        assert found.stage is not ReadingStage.CONCLUDED
