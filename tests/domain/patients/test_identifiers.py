"""Numbers are unique, fit their VR, and bear right check digits."""

from __future__ import annotations

import secrets
from datetime import UTC, date, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.domain.patients import identifiers as ids
from tests.support.clock import NOW


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ("11223344595", ""),
        ("11223344594", "check_digit"),
        ("08765430300", ""),  # the sum is 101, which counts as 00
        ("00100199899", ""),  # numbers up to 001-001-998 bear no check digits
        ("1122334459", "length"),
        ("112233445950", "length"),
        ("1122334459a", "length"),
        ("1122334459٥", "length"),
        ("", "length"),
    ],
)
def test_a_snils_is_judged_by_its_check_digits(value: str, problem: str) -> None:
    assert ids.snils_problem(value) == problem


@pytest.mark.parametrize(
    ("value", "problem"),
    [("7800000012345671", ""), ("7800000012345670", "check_digit"), ("780000001234567", "length"), ("", "length")],
)
def test_a_policy_is_judged_by_luhn(value: str, problem: str) -> None:
    assert ids.policy_problem(value) == problem


@pytest.mark.parametrize("digit", "0123456789")
def test_one_digit_repeated_is_nobodys_number(digit: str) -> None:
    assert ids.policy_problem(digit * 16) == "placeholder"
    for check in range(100):
        assert ids.snils_problem(f"{digit * 9}{check:02d}") == "placeholder"
        assert ids.is_placeholder(f"{digit * 9}{check:02d}")


@given(st.from_regex(r"[0-9]{11}|[0-9]{16}", fullmatch=True))
def test_only_one_digit_repeated_is_a_placeholder(number: str) -> None:
    alike = len(set(number[: 9 if len(number) == 11 else 16])) == 1
    assert ids.is_placeholder(number) == alike


_DASHES = "-\u2010\u2011\u2012\u2013\u2014\u2015\u2212\u2043\u207b\u2500\u301c\ufe63\uff0d"
_BLANKS = "\u00ad\u200b\u200e\u2060\ufeff\u00a0\u2007\u202f\u3000"


@pytest.mark.parametrize("dash", [*_DASHES, *_BLANKS])
def test_a_number_is_read_with_whatever_dashes_a_document_has(dash: str) -> None:
    assert ids.digits(f"112{dash}233{dash}445 95") == "11223344595"


@given(st.integers(0, 999_999_999), st.integers(0, 8), st.integers(1, 9))
def test_one_wrong_digit_of_a_snils_is_always_noticed(number: int, place: int, shift: int) -> None:
    if number <= 1_001_998 or len(set(f"{number:09d}")) == 1:
        return
    total = sum(int(digit) * (9 - at) for at, digit in enumerate(f"{number:09d}")) % 101 % 100
    right = f"{number:09d}{total:02d}"
    assert ids.snils_problem(right) == ""
    wrong = right[:place] + str((int(right[place]) + shift) % 10) + right[place + 1 :]
    # 100 and 101 both count as 00, so the guard is not perfect: only such pairs may pass.
    assert ids.snils_problem(wrong) != "" or right.endswith("00") or int(wrong[:9]) <= 1_001_998


def test_accession_numbers_fit_sh_or_are_refused() -> None:
    assert ids.accession_number("K", date(2026, 11, 24), 94) == "K2611-0094"
    assert len(ids.accession_number("ABCDE", date(2026, 11, 24), 999_999)) == 16
    with pytest.raises(ValueError, match="longer than 16"):
        ids.accession_number("ABCDE", date(2026, 11, 24), 9_999_999)


@pytest.mark.parametrize("root", ["", "1.2.643.5.1.13.13.12.2.99", "1.2.826.0.1.3680043.10.1234567890.1234"])
def test_uids_are_valid_and_unique(root: str) -> None:
    now = datetime(2026, 11, 24, 9, 30, tzinfo=UTC)
    made = {ids.new_uid(root, now, secrets.randbits(128)) for _ in range(1000)}
    assert len(made) == 1000
    assert all(ids.valid_uid(uid) and uid.startswith(root or "2.25") for uid in made)


def test_a_root_that_leaves_no_room_is_refused() -> None:
    with pytest.raises(ValueError, match="makes no valid UID"):
        ids.new_uid("1." * 30 + "1", NOW, 1)


@pytest.mark.parametrize("uid", ["1.02.3", "1..2", "1.2.", "", "1." + "2" * 64, "1.a"])
def test_malformed_uids_are_reported(uid: str) -> None:
    assert not ids.valid_uid(uid)


def test_numbers_are_shown_as_people_write_them() -> None:
    assert ids.show_snils("11223344595") == "112-233-445 95"
    assert ids.show_policy("7800000012345671") == "7800 0000 1234 5671"
    assert ids.digits("112-233-445 95") == "11223344595"


@pytest.mark.parametrize(
    ("stated", "insurer"),
    [
        ("78007", "78007"),
        (" 78007  Городская страховая ", "78007"),
        ("1.2.643.5.1.13.2.1.1.635.77001", "77001"),
        ("urn:oid:1.2.643.5.1.13.2.1.1.635.77001", "77001"),
        ("Городская  страховая", "Городская страховая"),
        ("1.2.643.5.1.13.2.1.1.635", "1.2.643.5.1.13.2.1.1.635"),
        ("78007 12", "78007 12"),  # whatever it is, it is no code with a name
        ("7800712", "7800712"),
        ("", ""),
    ],
)
def test_an_insurer_is_its_code_where_one_is_stated_and_else_the_words(stated: str, insurer: str) -> None:
    assert ids.insurer(stated) == insurer
