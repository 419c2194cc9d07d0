"""Validates referrals; problems are codes with Russian texts in `ui.text.errors`. Pure."""

from __future__ import annotations

import re
from datetime import date, datetime, timedelta

from broker.domain.orders import ReferralDraft
from broker.domain.patients import names
from broker.domain.patients.identifiers import is_guid, policy_problem, snils_problem
from broker.domain.patients.people import Patient

OLDEST = date(1900, 1, 2)  # the region's patient index reads 1900-01-01 as "unknown" and refuses it
FARTHEST = timedelta(days=366)
# ICD-10: a letter, two digits, and up to two more after a dot.
_ICD10 = re.compile(r"[A-Z]\d{2}(\.\d{1,2})?")
_NAME_LETTERS = re.compile(r"['’‘ʼʻ`´]?[^\W\d_][^\d_\\^=<>@#$%&*+/|~!?;:]*")  # 't Hooft begins with an apostrophe
_DESIGNATION = re.compile(r"[^\\^=<>@$%&*+|~!?;:]*")  # in the place of a name: «№3», «девочка 2»
MAX_INSURER = 200
MAX_MOTHER = 200
FINANCE_CODES = frozenset("123456")  # N3.32
LATERALITIES = frozenset({"", "R", "L", "B"})


def patient_problems(patient: Patient, today: date) -> dict[str, str]:
    """Return the problems of a patient: field -> problem code; empty if it is valid.

    One name may be all that somebody has, and the birth date may be unknown: see `incomplete`. Whether it was forgotten
    is asked where it is typed.
    """
    problems: dict[str, str] = {}
    letters = _NAME_LETTERS if names.identifies(patient.name) else _DESIGNATION
    for field, part in (
        ("family", patient.name.family),
        ("given", patient.name.given),
        ("middle", patient.name.middle),
    ):
        if field == "family" and not part:
            problems[field] = "required"
        elif part and not letters.fullmatch(part):
            problems[field] = "name_letters"
        elif len(part) > 60:
            problems[field] = "too_long"
    if len(str(patient.name)) > 64:
        problems.setdefault("family", "too_long")
    if problem := _birth_problem(patient, today):
        problems["birth_date"] = problem
    if patient.id is None and (problem := _card_number_problem(patient.patient_id)):  # a stored one is what it is
        problems["patient_id"] = problem
    if len(patient.mother) > MAX_MOTHER:
        problems["mother"] = "too_long"
    if patient.snils and (problem := snils_problem(patient.snils)):
        problems["snils"] = problem
    if patient.policy and (problem := policy_problem(patient.policy)):
        problems["policy"] = problem
    if len(patient.insurer) > MAX_INSURER:
        problems["insurer"] = "too_long"
    if patient.weight is not None and not 0.2 <= patient.weight <= 500:
        problems["weight"] = "range"
    if patient.height is not None and not 20 <= patient.height <= 260:
        problems["height"] = "range"
    return problems


def _card_number_problem(number: str) -> str:
    """Return why a device could not be sent a card number, or would find other patients by it; "" if it can."""
    if len(number) > 64:  # PS3.5 6.2, LO
        return "too_long"
    return "card_letters" if re.search(r"[\\*?\x00-\x1f\x7f]", number) else ""


def _birth_problem(patient: Patient, today: date) -> str:
    born, year = patient.birth_date, patient.birth_year
    if (born and born > today) or (year and year > today.year):
        return "future"
    return "too_old" if (born and born < OLDEST) or (year and year < OLDEST.year) else ""


def referral_problems(draft: ReferralDraft, now: datetime) -> dict[str, str]:
    """Return the problems of a referral: field -> problem code; `now` is local clinic time, naive."""
    problems = patient_problems(draft.patient, now.date())
    if not draft.procedure_code:
        problems["procedure"] = "required"
    if not draft.station_ae_titles and not draft.owner:  # another clinic chooses its device itself
        problems["device"] = "required"
    if draft.owner and not is_guid(draft.owner):
        problems["owner"] = "unknown"
    if draft.start.date() < now.date():
        problems["date"] = "past"
    elif draft.start > now + FARTHEST:
        problems["date"] = "too_far"
    if draft.diagnosis_code and not _ICD10.fullmatch(draft.diagnosis_code):
        problems["diagnosis"] = "icd10"
    if draft.referrer_snils and (problem := snils_problem(draft.referrer_snils)):
        problems["referrer_snils"] = problem
    if draft.finance not in FINANCE_CODES:
        problems["finance"] = "unknown"
    if draft.laterality not in LATERALITIES:
        problems["laterality"] = "unknown"
    if len(draft.comment) > 1024:
        problems["comment"] = "too_long"
    return problems
