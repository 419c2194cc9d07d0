"""What other programs were reported to stumble over, sent to our own /fhir: refused, with a reason that says why."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.bus.api.clinic import ApiClinic
from tests.bus.bundles import call

INPUTS = Path(__file__).parent.parent / "inputs"


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("fhir_do_not_perform", "направления «не выполнять» не принимаются"),
        ("fhir_zero_snils_1", "некорректный СНИЛС"),
        ("fhir_zero_snils_2", "некорректный СНИЛС"),
    ],
)
def test_it_is_refused_and_makes_nobody_a_patient(clinic: ApiClinic, name: str, why: str) -> None:
    answer = call(clinic.server, "POST", "?_format=json", (INPUTS / f"{name}.json").read_bytes())
    assert answer.status_code == 422
    assert why in answer.text
    assert clinic.waiting() == []


def test_patients_of_a_local_client_are_not_searched_by_name(clinic: ApiClinic) -> None:
    asked = {"family": "Ёлкина", "given": "Анна", "birthdate": "1961-03-12"}
    parameters = [{"name": name, "valueString": value} for name, value in asked.items()]
    answer = call(clinic.server, "POST", "/Patient/_search", {"resourceType": "Parameters", "parameter": parameters})
    assert (answer.status_code, "не указан параметр identifier" in answer.text) == (422, True)
