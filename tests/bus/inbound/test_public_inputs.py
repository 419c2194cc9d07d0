"""What other programs were reported to stumble over, as it came: each input with the right answer."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from broker.bus.fhir import Resource
from broker.bus.inbound.parse_referral import parse_referral
from broker.bus.inbound.resolver import Unusable, names_of_the_bus
from broker.bus.practice import PRACTICE_ORGANISATION
from broker.domain.incoming import IncomingReferral
from broker.domain.patients.people import PersonName
from tests.bus import referrals, samples
from ui.text import bus

INPUTS = Path(__file__).parent.parent / "inputs"


def read(name: str) -> IncomingReferral:
    entries: list[Any] = json.loads((INPUTS / f"{name}.json").read_text(encoding="utf-8"))["entry"]
    resources: dict[str, Resource] = {
        f"{each['resource']['resourceType']}/{each['resource']['id']}": each["resource"] for each in entries
    }
    task = entries[0]["resource"]
    find = referrals.resolver(resources)
    find.begin(names_of_the_bus(task, PRACTICE_ORGANISATION))
    return parse_referral(task, find.resource, samples.PROFILE, date(2026, 11, 30))


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("bus_request_revoked", "not active"),
        ("bus_do_not_perform", "not to be done"),
        ("bus_modifier_extension", "changes its meaning"),
    ],
)
def test_what_must_not_be_performed_is_no_referral(name: str, why: str) -> None:
    with pytest.raises(Unusable, match=why):
        read(name)


def test_what_a_message_contains_is_read() -> None:
    got = read("bus_contained_patient")
    assert (got.patient.name.family, got.patient.birth_date, got.bus_patient) == ("Кейсова", date(1970, 5, 6), "")
    assert "patient" not in got.problems
    got = read("bus_contained_requester")
    assert (got.referrer, "referrer" in got.problems) == (PersonName("Зимин", "Антон"), False)


def test_the_inner_address_of_a_bus_is_the_bus() -> None:
    got = read("bus_absolute_internal_host")
    assert (got.patient.name.family, got.bus_patient, got.service_request) == ("Кейсова", "p008", "s008")


def test_the_side_in_words_is_the_side() -> None:
    got = read("bus_body_site_lateral")
    assert (got.laterality, got.body_site) == ("R", "правая кисть")
    assert "laterality" not in got.problems


def test_a_patient_whose_record_was_replaced_is_checked_by_a_person() -> None:
    assert read("bus_patient_replaced_by").problems["patient"] == "replaced"


def test_a_number_of_former_times_is_shown_and_not_taken() -> None:
    got = read("bus_snils_old_period")
    assert (got.patient.snils, got.former_snils) == ("", "11223344595")
    assert bus.former(got) == {"snils": "Прежний СНИЛС, уже не действует: 112-233-445 95"}
