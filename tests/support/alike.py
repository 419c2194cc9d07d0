"""People who are like KUZNETSOVA of the factory in all but one trait, and may be she, without a number to say so."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from typing import Any

from broker.domain.patients.patient_match import Similarity
from broker.domain.patients.people import Patient, PersonName, Sex
from tests.support.factory import KUZNETSOVA

HERS = replace(KUZNETSOVA, snils="", policy="")
ALIKE: list[tuple[Similarity, dict[str, Any]]] = [
    (Similarity.MIDDLE, {"name": PersonName("Кузнецова", "Марина")}),
    (Similarity.LETTER, {"name": PersonName("Кузнецва", "Марина", "Петровна")}),
    (Similarity.INITIALS, {"name": PersonName("Кузнецова", "М.", "П.")}),
    (Similarity.EXCHANGED, {"name": PersonName("Марина", "Кузнецова", "Петровна")}),
    (Similarity.SWAPPED_DATE, {"birth_date": date(1961, 12, 3)}),
    (Similarity.DATE, {"birth_date": date(1961, 8, 15)}),
    (Similarity.YEAR, {"birth_date": date(1951, 3, 12)}),
    (Similarity.SEX, {"sex": Sex.MALE}),
    (Similarity.PART_OF_DATE, {"birth_date": None, "birth_year": 1961}),
    (Similarity.GIVEN, {"name": PersonName("Кузнецова")}),
    (Similarity.SPELLING, {"name": PersonName("Kuznetsova", "Marina", "Petrovna")}),
    (Similarity.SPELLING_ALONE, {"name": PersonName("Kuznetsova", "Marina"), "birth_date": None}),
    (Similarity.FAMILY, {"name": PersonName("Зуева", "Марина", "Петровна")}),
    (Similarity.FAMILY_AND_MIDDLE, {"name": PersonName("Зуева", "Марина")}),
]


def alike(index: int) -> Patient:
    """Return one of them."""
    return replace(HERS, **ALIKE[index][1])
