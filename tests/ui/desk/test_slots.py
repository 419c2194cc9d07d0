"""The free times that the registrar's form offers."""

from __future__ import annotations

from datetime import date, datetime, timedelta

import pytest

from broker.domain.clinic.settings import OpeningHours
from ui.desk.slots import DeviceDay

TODAY, TOMORROW = date(2026, 11, 24), date(2026, 11, 25)
NOW = datetime(2026, 11, 24, 18, 47)


def offered(hours: OpeningHours, on: date) -> list[str]:
    _, slots, _ = DeviceDay((), {}, hours).rows(on, 30, NOW)
    return [f"{slot.start:%H:%M}" for slot in slots]


@pytest.mark.parametrize(
    ("opens", "closes", "today", "tomorrow"),
    [
        (8, 20, ["18:50", "19:20", "19:50"], ["08:00", "08:30"]),
        (9, 19, ["18:50"], ["09:00", "09:30"]),
        (7, 18, [], ["07:00", "07:30"]),
        (0, 24, ["18:50", "19:20"], ["00:00", "00:30"]),
    ],
)
def test_free_times_are_offered_within_the_opening_hours(
    opens: int, closes: int, today: list[str], tomorrow: list[str]
) -> None:
    hours = OpeningHours(timedelta(hours=opens), timedelta(hours=closes))
    found = offered(hours, TODAY)
    assert found == today if closes < 24 else found[:2] == today
    assert offered(hours, TOMORROW)[:2] == tomorrow


def test_round_the_clock_ends_with_the_day() -> None:
    hours = OpeningHours(timedelta(0), timedelta(hours=24))
    assert offered(hours, TODAY)[-1] == "23:50"


def test_the_first_free_time_of_a_later_day_is_the_opening() -> None:
    hours = OpeningHours(timedelta(hours=7, minutes=30), timedelta(hours=18))
    assert DeviceDay((), {}, hours).first_free(TOMORROW, 15, NOW) == datetime(2026, 11, 25, 7, 30)
