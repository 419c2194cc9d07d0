"""As whose a report is stored is never guessed; it is one instance however often it is sent."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from broker.domain.reading.reports import Report
from broker.domain.studies.archived_reports import (
    instance_uid,
    is_reliable_id,
    is_whole_name,
    series_uid,
    wait_after,
)

SIGNED = Report(1, signed_at=datetime(2026, 11, 30, 9, tzinfo=UTC), id=5)


@pytest.mark.parametrize(
    ("answered", "own", "name", "cyrillic", "reliable"),
    [
        ("17", {"17"}, "^^", False, True),  # what Orthanc answers by default, the letters of the name lost
        ("-17", {"К-17"}, "^^", False, False),
        ("-17", {"К-17"}, "IVANOV^IVAN", False, False),
        ("", {"К"}, "IVANOV^IVAN", False, False),
        ("К-17", {"К-17"}, "Иванов^Иван", True, True),
        ("555", {"17"}, "^^", False, False),  # perhaps К555
        ("555", {"17"}, "IVANOV^IVAN", False, True),  # a device's own number, which a person has accepted
        ("Ê-17", {"К-17"}, "Èâàíîâ", False, False),
        ("\ufffd-17", {"К-17"}, "Иванов^Иван", True, False),
        ("?-17", {"К-17"}, "Иванов^Иван", True, False),
        ("?17", {"?17"}, "", False, True),
    ],
)
def test_a_patient_id_that_may_have_lost_letters_is_not_taken(
    answered: str, own: set[str], name: str, cyrillic: bool, reliable: bool
) -> None:
    assert is_reliable_id(answered, own, name, carries_cyrillic=cyrillic) is reliable


def test_a_name_without_its_letters_is_none() -> None:
    assert is_whole_name("Иванов^Иван", carries_cyrillic=True)
    assert is_whole_name("IVANOV^IVAN", carries_cyrillic=False)
    assert not is_whole_name("^^", carries_cyrillic=False)
    assert not is_whole_name("Èâàíîâ", carries_cyrillic=False)
    assert not is_whole_name("", carries_cyrillic=True)


def test_a_version_is_one_instance_and_all_are_one_series() -> None:
    first = instance_uid("1.2.3", "K1", SIGNED)
    assert first == instance_uid("1.2.3", "K1", replace(SIGNED, conclusion="other"))
    assert first.startswith("2.25.")
    assert len(first) <= 64
    others = {
        instance_uid("1.2.3", "K1", replace(SIGNED, version=2)),
        instance_uid("1.2.4", "K1", SIGNED),
        instance_uid("1.2.3", "K1", replace(SIGNED, id=6)),
        series_uid("1.2.3", "K1"),
    }
    assert len(others | {first}) == 5


def test_waits_grow_to_an_hour_and_then_to_a_day() -> None:
    waits = [wait_after(attempts, timedelta(hours=1)) for attempts in range(1, 8)]
    assert [wait.total_seconds() / 60 for wait in waits] == [1, 2, 5, 15, 60, 60, 60]
    assert wait_after(80, timedelta(days=4)) == timedelta(days=1)
