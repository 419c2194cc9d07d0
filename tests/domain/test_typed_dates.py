"""A birth date is read in every form in which people type it, by the form and by the search alike."""

from __future__ import annotations

from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.domain import typed_dates

TODAY = date(2026, 11, 24)
FORMS = (
    "{:%d.%m.%Y}", "{:%d%m%Y}", "{:%d/%m/%Y}", "{:%d,%m,%Y}", "{:%d-%m-%Y}", "{:%d %m %Y}", "{:%Y-%m-%d}",
    " {:%d.%m.%Y} ", "{:%d.%m,%Y}",
)  # fmt: skip


@given(st.dates(date(1900, 1, 2), TODAY), st.sampled_from(FORMS))
def test_every_form_of_a_date_is_read_alone_and_within_a_line(born: date, form: str) -> None:
    typed = form.format(born)
    assert typed_dates.birth_date(typed, TODAY) == born
    for line in (f"иванов {typed} иван", f"иванов иван {typed}", f"{typed} иванов иван"):
        rest, found = typed_dates.take_birth_dates(line)
        assert found == (born,)
        assert rest.split() == ["иванов", "иван"]


@given(st.dates(date(1927, 1, 1), TODAY))
def test_a_year_of_two_digits_is_the_latest_that_is_not_to_come(born: date) -> None:
    assert typed_dates.birth_date(f"{born:%d.%m.%y}", TODAY) == born
    assert born in typed_dates.birth_dates(f"{born.day}.{born.month}.{born:%y}")


@pytest.mark.parametrize("typed", ["1.2.1961", "1/2/1961", "01.2.1961", "1 2 1961"])
def test_a_day_and_a_month_may_lack_their_zeros(typed: str) -> None:
    assert typed_dates.birth_date(typed, TODAY) == date(1961, 2, 1)


@pytest.mark.parametrize(
    "typed",
    ["", "31.02.1961", "99.99.1961", "1961", "12.03", "112-233-445 95", "7800 0000 1234 5671", "8 903 123-45-67",
     "K2611-0094", "12.03.19611", "1.2.3.4", "1203196112"],
)  # fmt: skip
def test_what_is_no_date_is_left_alone(typed: str) -> None:
    assert typed_dates.birth_dates(typed) == ()
    assert typed_dates.take_birth_dates(typed) == (typed, ())
