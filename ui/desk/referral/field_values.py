"""The fields of a referral: what they hold and offer, and the referral that they mean or what is wrong with it.

Pure: `form` draws them, `suggestions` reads the directories, the use case saves.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import date, datetime, time
from typing import Any, TypeVar

from broker.domain import typed_dates, validation
from broker.domain.clinic.devices import Device, ProcedureType
from broker.domain.clinic.directory import search_key
from broker.domain.orders import Order, Priority, Referral, ReferralDraft
from broker.domain.patients import identifiers, names
from broker.domain.patients.identifiers import show_policy, show_snils
from broker.domain.patients.people import Patient, PersonName, Sex
from ui.text import typed_values, words
from ui.text.typed_values import parse_day, parse_number, parse_time

T = TypeVar("T")

# Under the names that `domain.validation` uses, in reading order.
NAME = ("family", "given", "middle")
PATIENT = (*NAME, "mother", "birth_date", "sex", "phone", "snils", "policy", "insurer")
NO_GIVEN_NAME, NO_BIRTH_DATE = "–", "неизвестна"  # none, or not known, as the fields say it
RARE = ("weight", "height", "allergies", "pregnancy")
# Members of `Referral` that share a field with others, or are held otherwise; `of_referral` and `FormParser` say how.
_SHARED = ("priority", "referrer", "referrer_snils", "referrer_position", "diagnosis_code", "diagnosis_text")
_OWN = {each.name: each.default for each in dataclasses.fields(Referral) if each.name not in _SHARED}
STUDY = ("procedure", "device", "owner", "date", "time", *_OWN, "referrer", "diagnosis", "urgent")
EMPTY: dict[str, Any] = {
    **dict.fromkeys((*PATIENT, *RARE, *STUDY), ""),
    **_OWN,
    "sex": None,
    "procedure": None,
    "date": "сегодня",
    "urgent": False,
}


# ---- what they offer ----


@dataclass(frozen=True)
class ReferralOptions:
    """What the selects offer."""

    procedures: Sequence[ProcedureType]
    devices: Sequence[Device]
    referrers: Sequence[tuple[str, str, str]]  # full name, position, СНИЛС
    usual: Mapping[str, str]  # procedure code -> AE title where it was planned last
    insurers: Mapping[str, str] = field(default_factory=dict)  # code -> name
    organisation: str = ""  # the clinic's own GUID; empty without a bus: patients cannot be referred to other clinics

    def procedure(self, code: str | None) -> ProcedureType | None:
        """Return the procedure with this code, or None."""
        return next((each for each in self.procedures if each.code == code), None)

    def suitable(self, procedure: ProcedureType | None) -> list[Device]:
        """Return the devices of the procedure's modality: the usual one first, then by likeness of names."""
        if procedure is None:
            return list(self.devices)
        fitting = [each for each in self.devices if each.modality == procedure.modality]
        usual = self.usual.get(procedure.code)
        return sorted(fitting, key=lambda each: (each.ae_title != usual, -_likeness(each.name, procedure.name)))

    def device(self, procedure: ProcedureType | None, ae_title: str | None) -> Device | None:
        """Return the device with this AE title if it is suitable, else the likeliest suitable one, or None."""
        suitable = self.suitable(procedure)
        return next((each for each in suitable if each.ae_title == ae_title), None) or next(iter(suitable), None)

    def snils_of(self, referrer: str) -> str:
        """Return the СНИЛС of a doctor who referred before, as `name_and_position` writes one; empty if unknown."""
        return next(
            (snils for name, position, snils in self.referrers if name_and_position(name, position) == referrer), ""
        )


def _likeness(one: str, other: str) -> int:
    """Return the length of the common beginning."""
    count = 0
    for left, right in zip(names.fold(one), names.fold(other), strict=False):
        if left != right:
            break
        count += 1
    return count


# ---- what they hold ----


def of_patient(patient: Patient) -> dict[str, Any]:
    """Return the fields of a known patient; pregnancy is asked again each time."""
    asked = of_described(patient)
    one_name = patient.name.family and not patient.name.given and not names.is_unidentified(patient.name)
    return asked | {
        "given": NO_GIVEN_NAME if one_name else asked["given"],
        "birth_date": asked["birth_date"] or NO_BIRTH_DATE,
    }


def of_described(patient: Patient) -> dict[str, Any]:
    """Return the fields of a patient whom somebody described: what was not said is empty, and asked for."""
    return {
        "family": patient.name.family,
        "given": patient.name.given,
        "middle": patient.name.middle,
        "birth_date": words.born(patient.birth_date) if patient.birth_date else str(patient.birth_year or ""),
        "mother": patient.mother,
        "sex": patient.sex,
        "phone": patient.phone,
        "snils": show_snils(patient.snils),
        "policy": show_policy(patient.policy),
        "insurer": patient.insurer,
        "weight": _number(patient.weight),
        "height": _number(patient.height),
        "allergies": patient.allergies,
        "pregnancy": "",
    }


def of_referral(referral: Order | ReferralDraft) -> dict[str, Any]:
    """Return the fields of the study and its reason, without device and time."""
    return {
        **{name: getattr(referral, name) for name in _OWN},
        "referrer": name_and_position(str(referral.referrer), referral.referrer_position),
        "diagnosis": referral.diagnosis,
        "urgent": referral.priority is Priority.URGENT,
    }


def name_and_position(name: str, position: str) -> str:
    """Return a doctor as the field shows one; a position without a name keeps its comma, to be parsed as one again."""
    return f"{name}, {position}" if position else name


def insurer(typed: str, options: ReferralOptions) -> str:
    """Return the insurer that is meant: its code where that, or the name of one of the directory, is typed."""
    stated = identifiers.insurer(typed)
    named = [code for code, name in options.insurers.items() if search_key(name) == search_key(stated)]
    return named[0] if len(named) == 1 else stated


def shown_insurer(insurer: str, options: ReferralOptions) -> str:
    """Return an insurer as the field shows it: a known code with its name, «78007 Название»."""
    return f"{insurer} {options.insurers.get(insurer, '')}".strip()


def patient_to_draft(patient: Patient | None) -> dict[str, Any] | None:
    """Return a chosen patient as a draft stores one.

    With the revision that was shown: a change by another person must not be overwritten unseen.
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
        return str(kept), False  # not a date: shown as it was typed
    return words.day(max(day, today), today), day < today


def usual_form(key: str, typed: str, today: date) -> str:
    """Return what was typed into a field the way it is always shown; what cannot be read stays as it is."""
    if key == "given" and not names.stated(typed):
        return NO_GIVEN_NAME
    if key == "given" and names.is_newborn(PersonName("x", typed)):
        return typed  # «девочка 2» is no name
    if key in NAME:
        return typed_values.tidy_name(typed)
    if key == "birth_date":
        return _usual_birth_date(typed, today)
    if key == "date" and (day := parse_day(typed, today)):
        return words.day(day, today)
    if key == "time" and (at := parse_time(typed)):
        return f"{at:%H:%M}"
    if key == "diagnosis":
        code, _, diagnosis = typed.partition(" ")
        return f"{identifiers.icd10_code(code)} {diagnosis}".strip()
    return typed


def _usual_birth_date(typed: str, today: date) -> str:
    if born := typed_dates.birth_date(typed, today):
        return f"{born:%d.%m.%Y}"
    if typed_dates.says_unknown(typed):
        return NO_BIRTH_DATE
    return str(typed_dates.birth_year(typed) or typed)


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:g}".replace(".", ",")


# ---- what they mean ----


class ReferralRules:
    """What the form's mode allows; these are the rules for a new referral."""

    patient_is_fixed = False  # the chosen patient cannot be replaced

    @property
    def corrects_patient(self) -> bool:
        """Return True if whatever is typed is said of the chosen patient."""
        return False

    def may_be_past(self, start: datetime) -> bool:
        """Return True if the study may be planned for this local time although it has passed."""
        return False

    def stations(self, device: Device) -> tuple[str, ...]:
        """Return the AE titles of a study that is planned on this device."""
        return (device.ae_title,)


@dataclass(frozen=True, slots=True)
class FormContent:
    """What the form holds."""

    fields: Mapping[str, Any]  # as typed, under the names of `EMPTY`
    patient: Patient | None  # the chosen patient
    external: bool  # another clinic performs the study
    owner: str | None  # that clinic's GUID; None if unknown
    referrer_snils: str


@dataclass(frozen=True, slots=True)
class Parsed:
    """A referral that can be registered, or None; and what is wrong: field -> problem code."""

    draft: ReferralDraft | None
    problems: Mapping[str, str]


class FormParser:
    """Parses what the form holds at the local time `now`, a method for each group of fields.

    `problems` collects unreadable and missing values.
    """

    def __init__(self, content: FormContent, options: ReferralOptions, rules: ReferralRules, now: datetime) -> None:
        self._content, self._options, self._rules, self._now = content, options, rules, now
        self.problems: dict[str, str] = {}

    def parse(self, submission_id: str = "") -> Parsed:
        """Return the whole referral, in the form in which it is stored."""
        procedure = self._options.procedure(self._content.fields["procedure"])
        stations, at = self._external_place() if self._content.external else self._own_place(procedure)
        day = self._required("date", lambda typed: parse_day(typed, self._now.date()))
        code, _, diagnosis = self._text("diagnosis").partition(" ")
        referrer, _, position = self._text("referrer").partition(",")
        own: dict[str, Any] = {name: self._text(name) for name in _OWN}
        # Unreadable values are replaced by valid ones, so that the other fields are validated too.
        draft = ReferralDraft(
            patient=self.patient(),
            procedure_code=procedure.code if procedure else "",
            station_ae_titles=stations,
            start=datetime.combine(day or self._now.date(), at or self._now.time().replace(second=0, microsecond=0)),
            priority=Priority.URGENT if self._content.fields["urgent"] else Priority.ROUTINE,
            referrer=names.split(referrer),
            referrer_snils=identifiers.digits(
                self._content.referrer_snils or self._options.snils_of(self._text("referrer"))
            ),
            referrer_position=position.strip(),
            diagnosis_code=identifiers.icd10_code(code),
            diagnosis_text=diagnosis.strip(),
            owner=self._content.owner if self._content.external else None,
            submission_id=submission_id,
            **own,
        )
        problems = {**self._invalid(draft), **self.problems}
        return Parsed(None if problems else draft, problems)

    def check(self, field: str) -> str:
        """Return the problem code of one field, without parsing more than its group; empty if nothing is wrong."""
        if field in (*PATIENT, *RARE):
            patient = self.patient()
            return {**validation.patient_problems(patient, self._now.date()), **self.problems}.get(field, "")
        return self.parse().problems.get(field, "")

    def patient(self) -> Patient:
        """Return the patient in the fields; a missing or unreadable birth date is None.

        The id is None unless it is still the patient who was chosen. That there is no given name, or that the birth
        date is unknown, must be said: what is empty may have been forgotten.
        """
        text, chosen = self._text, self._content.patient
        year = None if self._says_unknown_birth_date() else typed_dates.birth_year(text("birth_date"))
        born = None if year or self._says_unknown_birth_date() else self._birth_date()
        name = PersonName(text("family"), names.stated(text("given")), names.stated(text("middle")))
        if not text("given") and not names.is_unidentified(name):
            self.problems["given"] = "required"
        same = chosen if chosen and (self._rules.corrects_patient or is_same_person(chosen, name, born)) else None
        if chosen and same is None and self._rules.patient_is_fixed:
            self.problems["patient"] = "other_patient"
        sex = self._content.fields["sex"]
        if sex is None:
            self.problems["sex"] = "required"
        return Patient(
            name=name,
            birth_date=born,
            birth_year=year,
            mother=text("mother"),
            sex=Sex(sex or Sex.OTHER),
            patient_id=same.patient_id if same else "",
            snils=identifiers.digits(text("snils")),
            policy=identifiers.digits(text("policy")),
            insurer=insurer(text("insurer"), self._options),
            phone=text("phone"),
            weight=self._optional("weight", parse_number),
            height=self._optional("height", parse_number),
            allergies=text("allergies"),
            pregnancy=text("pregnancy"),
            id=same.id if same else None,
            revision=same.revision if same else 0,
        )

    def _says_unknown_birth_date(self) -> bool:
        return typed_dates.says_unknown(self._text("birth_date"))

    def _birth_date(self) -> date | None:
        return self._required("birth_date", lambda typed: typed_dates.birth_date(typed, self._now.date()))

    def _own_place(self, procedure: ProcedureType | None) -> tuple[tuple[str, ...], time | None]:
        """Return the AE titles and the time of a study that is done here."""
        device = self._options.device(procedure, self._content.fields["device"])
        if procedure and device is None:
            self.problems["device"] = "none"
        at = self._optional("time", parse_time)
        if not self._text("time") and procedure and device:  # until then it is filled in automatically
            self.problems["time"] = "required"
        return self._rules.stations(device) if device else (), at

    def _external_place(self) -> tuple[tuple[str, ...], time]:
        """Note problems of the other clinic, which chooses device and time itself."""
        owner = self._content.owner
        if not self._text("owner"):
            self.problems["owner"] = "required"
        elif not owner:
            self.problems["owner"] = "unknown"
        elif owner.casefold() == self._options.organisation.casefold():
            self.problems["owner"] = "ours"
        return (), time()

    def _invalid(self, draft: ReferralDraft) -> dict[str, str]:
        """Return the problems by the domain's rules that a person can fix in this form."""
        found = validation.referral_problems(draft, self._now)
        if self._content.external:
            found.pop("owner", None)  # reported more exactly above
            found.pop("device", None)
        elif not draft.procedure_code:
            found.pop("device", None)  # reported after the procedure is fixed
        if found.get("date") == "past" and self._rules.may_be_past(draft.start):
            del found["date"]
        return found

    # ---- one field ----

    def _text(self, key: str) -> str:
        return names.tidy(self._content.fields[key] or "")

    def _optional(self, key: str, parse: Callable[[str], T | None]) -> T | None:
        typed = self._text(key)
        value = parse(typed) if typed else None
        if typed and value is None:
            self.problems[key] = "unreadable"
        return value

    def _required(self, key: str, parse: Callable[[str], T | None]) -> T | None:
        if not self._text(key):
            self.problems[key] = "required"
        return self._optional(key, parse)


def is_same_person(known: Patient, name: PersonName, born: date | None) -> bool:
    """Return True if the fields still mean this patient; False if they now mean another person."""
    typed = [names.fold(part) for part in (name.family, name.given, name.middle)]
    stored = [names.fold(part) for part in (known.name.family, known.name.given, known.name.middle)]
    if born is not None and born == known.birth_date:
        return typed[0] == stored[0] or typed[1] == stored[1]
    return typed == stored
