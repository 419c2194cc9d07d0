"""Whether a modality's patient can be the order's: what contradicts, and what only looks different."""

from __future__ import annotations

from dataclasses import replace

import pytest

from broker.domain.patients import identity
from tests.support.factory import KUZNETSOVA


@pytest.mark.parametrize(
    ("name", "patient_id", "birth_date", "found"),
    [
        ("Кузнецова^Марина^Петровна", "000001", "19610312", []),
        ("", "", "", []),
        ("КУЗНЕЦОВА^М", "", "", []),
        ("Кузнецов", "", "", []),  # cut by the device
        ("Кузнецова^Марина", "DEV77", "", []),  # the same name: the device has a number of its own
        ("Сидоров^Олег", "000001", "", ["patient_name"]),
        ("Кузнецова^Анна", "", "", ["patient_name"]),
        ("", "999999", "", ["patient_id"]),
        ("KUZNETSOVA^MARINA", "000001", "", []),
        ("X^Y", "WRONG", "", ["patient_id"]),
        ("?????????^??????", "", "", []),
        ("Кузнецова^Марина", "", "19610313", ["patient_birth_date"]),
        ("Сидоров^Олег", "999999", "19900101", ["patient_name", "patient_birth_date", "patient_id"]),
    ],
)
def test_contradictions(name: str, patient_id: str, birth_date: str, found: list[str]) -> None:
    patient = replace(KUZNETSOVA, patient_id="000001")
    assert identity.contradictions(patient, name, patient_id, birth_date) == found
