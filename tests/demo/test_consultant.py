"""The demonstration's region asks the clinic, and its centre answers what the clinic asks."""

from __future__ import annotations

from dataclasses import replace

from broker.bus.outbound.orders import order_bundle
from broker.bus.practice import PRACTICE_ORGANISATION, PRACTICE_ORGANISATION_3
from broker.bus.transport.dialect import bundle_references, n3
from broker.demo import region
from broker.demo.consultant import Consultant
from broker.domain.opinions.requests import is_request, number_of
from tests.bus import samples
from tests.support.clock import ZONE, Clock
from tests.support.factory import KUZNETSOVA
from tests.support.practice import practice_bus

DELAY = 20.0  # seconds


def test_the_hospital_asks_the_clinic_about_a_study_that_it_has_made() -> None:
    bus, clock = practice_bus(lenient=True), Clock()
    region.fill(bus, (KUZNETSOVA,), KUZNETSOVA, clock(), ZONE)
    to_us = [each for each in bus.tasks() if each["owner"]["reference"] == f"Organization/{PRACTICE_ORGANISATION}"]
    focus = {each["focus"]["reference"].partition("/")[2] for each in to_us}
    asked = [each for each in bus.resources("ServiceRequest") if each["id"] in focus]
    notes = [note["text"] for each in asked for note in each.get("note", [])]
    assert [is_request(note) for note in notes] == [False, True]  # a referral, and a question


def test_the_centre_answers_once_after_a_while() -> None:
    bus, clock = practice_bus(lenient=True), Clock()
    centre = Consultant(bus, clock, DELAY)
    asked = samples.order(accession_number=number_of("K2611-0001", 1), owner=PRACTICE_ORGANISATION_3)
    task = bundle_references(bus.transaction(n3(order_bundle(asked, samples.PROFILE)), PRACTICE_ORGANISATION)).task
    other = replace(asked, accession_number="K2611-0002", owner=None)
    bus.transaction(n3(order_bundle(other, samples.PROFILE)), PRACTICE_ORGANISATION)
    assert centre.answer_due() == 0
    clock.advance(seconds=DELAY)
    assert centre.answer_due() == 1
    assert centre.answer_due() == 0
    [answer] = [each for each in bus.tasks() if each["intent"] == "reflex-order"]
    assert answer["basedOn"] == [{"reference": f"Task/{task}"}]
    assert answer["requester"]["reference"] == f"Organization/{PRACTICE_ORGANISATION}"
