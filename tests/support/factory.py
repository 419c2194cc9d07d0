"""Invented patients, devices and referrals for tests. Nobody here exists."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import date, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

from broker.domain.actors import Actor, ActorKind, Role
from broker.domain.clinic.default_procedures import PROCEDURES
from broker.domain.clinic.devices import Device
from broker.domain.clinic.settings import Clinic
from broker.domain.orders import ReferralDraft
from broker.domain.patients.people import Patient, PersonName, Sex
from broker.domain.studies.performed import Message, PerformedState, PerformedStep, StepReference
from broker.store.database import Store, Tx
from broker.store.tables import devices
from tests.support.clock import NOW, ZONE, Clock

CLINIC = Clinic(zone=ZONE, uid_root="1.2.643.5.1.13.13.12.2.99", accession_prefix="K", sends_to_bus=True)
SYSTEM = Actor(ActorKind.SYSTEM, "test")
REGISTRAR = Actor(ActorKind.PERSON, "orlova", "Орлова Н. В.", frozenset({Role.REGISTRAR}))
XRAY = Actor(ActorKind.DEVICE, "XRAY_14", "Рентген, каб. 14")
DEVICES = (
    Device("XRAY_14", "Рентген", "DX", "каб. 14"),
    Device("FLG_12", "Флюорограф", "DX", "каб. 12", charset="ISO_IR 144"),
    Device("MAMMO_9", "Маммограф", "MG", "каб. 9"),
)
KUZNETSOVA = Patient(
    PersonName("Кузнецова", "Марина", "Петровна"),
    date(1961, 3, 12),
    Sex.FEMALE,
    snils="11223344595",
    policy="7800000012345671",
)


def open_store(path: Path, clock: Callable[[], datetime] | None = None) -> Store:
    """Open a database with the default procedures and three devices; without a clock, time stands still."""
    store = Store(path, clock=clock or Clock())
    store.write(lambda tx: devices.fill_procedures(tx, PROCEDURES))
    for device in DEVICES:
        store.write(partial(_put, device))
    return store


def _put(device: Device, tx: Tx) -> None:
    devices.put(tx, device)


def soon(**delta: float) -> datetime:
    """Return the tests' local time or a little later (by what `timedelta` takes), whole minutes."""
    return (NOW.astimezone(ZONE) + timedelta(**delta)).replace(tzinfo=None)


def draft(**changes: Any) -> ReferralDraft:
    """Make a referral for a knee, on the X-ray, now."""
    base = ReferralDraft(
        patient=KUZNETSOVA,
        procedure_code="WLB-KNEE",
        station_ae_titles=("XRAY_14",),
        start=soon(),
        laterality="R",
        referrer=PersonName("Зимин", "Андрей", "Павлович"),
        referrer_position="терапевт",
        diagnosis_code="M17.1",
        diagnosis_text="Первичный гонартроз",
    )
    return replace(base, **changes)


def performed(uid: str = "1.2.3.4", *references: StepReference, **changes: Any) -> PerformedStep:
    """Make a step that has just begun on the X-ray."""
    base = PerformedStep(
        sop_instance_uid=uid,
        ae_title="XRAY_14",
        state=PerformedState.IN_PROGRESS,
        start=soon(),
        modality="DX",
        references=references,
    )
    return replace(base, **changes)


def message(digest: str = "1", **attributes: Any) -> Message:
    """Make a modality's message."""
    return Message(attributes, digest)
