"""What the fields of a referral hold for a patient, an order, another clinic's referral, a draft. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from datetime import date
from typing import Any

from broker.domain.identifiers import icd10_code, show_policy, show_snils
from broker.domain.orders import Order, Priority, ReferralDraft
from broker.domain.people import Patient, PersonName, Sex
from ui.desk.referral.options import name_and_position
from ui.text import typed_values, words

# Field by field in reading order, under the names that `domain.validation` uses.
PATIENT = ("family", "given", "middle", "birth_date", "sex", "phone", "snils", "policy")
RARE = ("weight", "height", "allergies", "pregnancy")
STUDY = (
    *("procedure", "device", "owner", "date", "time", "laterality", "finance"),
    *("referrer", "diagnosis", "comment", "urgent"),
)
EMPTY: dict[str, Any] = {
    **dict.fromkeys((*PATIENT, *RARE, *STUDY), ""),
    "sex": None,
    "procedure": None,
    "date": "сегодня",
    "finance": "1",
    "urgent": False,
}


def of_patient(patient: Patient) -> dict[str, Any]:
    """Return the fields of a known patient; pregnancy is asked again each time."""
    return {
        "family": patient.name.family,
        "given": patient.name.given,
        "middle": patient.name.middle,
        "birth_date": words.born(patient.birth_date) if patient.birth_date else "",
        "sex": patient.sex,
        "phone": patient.phone,
        "snils": show_snils(patient.snils),
        "policy": show_policy(patient.policy),
        "weight": _number(patient.weight),
        "height": _number(patient.height),
        "allergies": patient.allergies,
        "pregnancy": "",
    }


def of_referral(referral: Order | ReferralDraft) -> dict[str, Any]:
    """Return the fields of what is referred for and why; where and when is not among them."""
    return {
        "laterality": referral.laterality,
        "finance": referral.finance,
        "referrer": referrer(referral.referrer, referral.referrer_position),
        "diagnosis": f"{referral.diagnosis_code} {referral.diagnosis_text}".strip(),
        "comment": referral.comment,
        "urgent": referral.priority is Priority.URGENT,
    }


def referrer(name: PersonName, position: str) -> str:
    """Return a referring doctor as the field shows one."""
    return name_and_position(str(name), position)


def patient_to_draft(patient: Patient | None) -> dict[str, Any] | None:
    """Return a chosen patient as a draft stores one.

    With the revision that was shown: what somebody changes meanwhile must not be overwritten unseen.
    """
    if patient is None:
        return None
    born = patient.birth_date
    return asdict(patient) | {"birth_date": born.isoformat() if born else ""}


def patient_from_draft(stored: Mapping[str, Any]) -> Patient:
    """Return the patient that `patient_to_draft` stored."""
    parts = {
        "name": PersonName(**stored["name"]),
        "birth_date": date.fromisoformat(stored["birth_date"]) if stored["birth_date"] else None,
        "sex": Sex(stored["sex"]),
    }
    return Patient(**{**stored, **parts})


def day_from_draft(kept: object, today: date) -> tuple[str, bool]:
    """Return what the date field shows for a draft's day, and whether that day has passed and became today."""
    try:
        day = date.fromisoformat(str(kept))
    except ValueError:
        return str(kept), False  # what was not a date when it was typed is shown as it was
    return words.day(max(day, today), today), day < today


def usual_form(key: str, typed: str, today: date) -> str:
    """Return what was typed into a field the way it is always shown; what cannot be read stays as it is."""
    if key in ("family", "given", "middle"):
        return typed_values.tidy_name(typed)
    if key == "birth_date" and (born := typed_values.parse_birth_date(typed)):
        return f"{born:%d.%m.%Y}"
    if key == "date" and (day := typed_values.parse_day(typed, today)):
        return words.day(day, today)
    if key == "time" and (at := typed_values.parse_time(typed)):
        return f"{at:%H:%M}"
    if key == "diagnosis":
        code, _, diagnosis = typed.partition(" ")
        return f"{icd10_code(code)} {diagnosis}".strip()
    return typed


def blank(values: Mapping[str, Any]) -> bool:
    """Return True if nothing worth keeping was typed."""
    by_themselves = {"date", "time", "device", "sex"}
    return not any((value or EMPTY[key]) != EMPTY[key] for key, value in values.items() if key not in by_themselves)


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:g}".replace(".", ",")
