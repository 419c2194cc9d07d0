"""The rules of PS3.4 C.2.2.2: what matches, what does not, and what is refused instead of widened."""

from __future__ import annotations

from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.dicom.codec import dates
from broker.dicom.codec.dates import MalformedKey
from broker.dicom.worklist import matching, name_matching
from broker.dicom.worklist.name_matching import wildcard
from tests.support.waiting import at_most

NAME = "Кузнецова^Марина^Петровна"


@pytest.mark.parametrize(
    ("date_key", "time_key", "inside", "outside"),
    [
        ("20260124", "", "2026-01-24 23:59", "2026-01-25 00:00"),
        ("20260124-", "", "2030-01-01 00:00", "2026-01-23 23:59"),
        ("-20260124", "", "2026-01-24 23:59", "2026-01-25 00:00"),
        ("20260123-20260124", "", "2026-01-23 00:00", "2026-01-22 23:59"),
        # Both ranges together are ONE interval, not a window of every day.
        ("20260123-20260125", "2000-0600", "2026-01-24 12:00", "2026-01-23 19:59"),
        ("20260123-20260125", "2000-0600", "2026-01-25 06:00", "2026-01-25 06:01"),
        # A single time beside a range of dates is that time on each day (as wlmscpfs has it), never a wider interval.
        ("20260123-20260125", "0900", "2026-01-24 09:00", "2026-01-24 12:00"),
        ("20260123-", "0900", "2026-01-30 09:00", "2026-01-30 12:00"),
        ("20260124", "0900-1000", "2026-01-24 10:00", "2026-01-24 10:01"),
        ("20260124", "09", "2026-01-24 09:59", "2026-01-24 10:00"),
        ("", "0900-1000", "2031-05-05 09:30", "2031-05-05 10:01"),
        ("2026.01.24", "09:00-10:00", "2026-01-24 09:30", "2026-01-24 11:00"),
        ("2026-01-24", "", "2026-01-24 09:30", "2026-01-25 00:00"),
        (" 20260124 ", "", "2026-01-24 09:30", "2026-01-25 00:00"),
    ],
)
def test_date_and_time_keys(date_key: str, time_key: str, inside: str, outside: str) -> None:
    window = dates.window(date_key, time_key)
    assert window.holds(datetime.fromisoformat(inside))
    assert not window.holds(datetime.fromisoformat(outside))


@pytest.mark.parametrize("key", ["", "*", " "])
def test_an_empty_date_asks_for_everything(key: str) -> None:
    assert dates.window(key, "").holds(datetime(1999, 1, 1))


@pytest.mark.parametrize(
    ("date_key", "time_key"),
    [
        ("20260230", ""),
        ("today", ""),
        ("-", ""),
        ("2026", ""),
        ("202601", ""),
        ("20260124-2026", ""),
        ("20260101-20260102-20260103", ""),
        ("2026*", ""),
        ("", "25"),
        ("", "9"),
        ("", "10:7"),
        ("", "-"),
        ("", "abc-1000"),
    ],
)
def test_a_malformed_date_or_time_is_refused(date_key: str, time_key: str) -> None:
    with pytest.raises(MalformedKey):
        dates.window(date_key, time_key)


@pytest.mark.parametrize(
    ("key", "matches"),
    [
        ("Кузнецова^Марина^Петровна", True),
        ("КУЗНЕЦОВА^МАРИНА", True),
        ("кузнецова", True),
        ("Кузнецова Марина Петровна", True),
        ("Кузн*", True),
        ("*марина*", True),
        ("Кузнецова^М*", True),
        ("Кузнецов?^*", True),
        ("", True),
        ("*", True),
        ("Кузнецов", False),
        ("Марина", False),
        ("Кузнецова^Анна", False),
        ("^Марина", True),
        ("Кузнецов^Марина", False),
        ("?????????", False),  # what a device sends that cannot write Cyrillic
        ("?????????^??????^*", False),
        ("%", False),
    ],
)
def test_person_names(key: str, matches: bool) -> None:
    assert name_matching.matches(key, NAME) is matches


def test_yo_and_ye_are_one_letter() -> None:
    assert name_matching.matches("Елкина*", "Ёлкина^Ольга")
    assert name_matching.matches("ЁЛКИНА", "Елкина^Ольга")


@pytest.mark.parametrize(
    ("key", "value", "matches"),
    [
        ("??????", "000001", False),
        ("0000?1", "000001", True),
        ("A*", "", False),
        ("?", "", False),
        ("", "", True),
        ("*", "", True),
        ("A_1", "A_1", True),
        ("A_1", "AB1", False),
    ],
)
def test_a_stored_empty_value_fails_every_key_that_asks_for_something(key: str, value: str, matches: bool) -> None:
    assert matching.text_matches(key, value) is matches


@given(st.text("аб*?", max_size=12), st.text("аб", max_size=12))
def test_wildcards_agree_with_a_plain_definition(pattern: str, value: str) -> None:
    def plain(pattern: str, value: str) -> bool:
        if not pattern:
            return not value
        if pattern[0] == "*":
            return any(plain(pattern[1:], value[at:]) for at in range(len(value) + 1))
        return bool(value) and pattern[0] in ("?", value[0]) and plain(pattern[1:], value[1:])

    assert wildcard(pattern, value) is plain(pattern, value)


def test_wildcards_take_linear_time() -> None:
    with at_most():
        assert not wildcard("**а*" * 30 + "!", "а" * 64)
