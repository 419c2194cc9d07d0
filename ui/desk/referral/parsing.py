"""From the fields of the form to the referral, and what is wrong with it. Pure: nothing is drawn or saved."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, datetime, time
from typing import Any, TypeVar

from broker.domain import identifiers, names, validation
from broker.domain.devices import Device, ProcedureType
from broker.domain.orders import Priority, ReferralDraft
from broker.domain.people import Patient, PersonName, Sex
from ui.desk.referral.field_values import PATIENT, RARE
from ui.desk.referral.options import ReferralOptions
from ui.text.typed_values import parse_birth_date, parse_day, parse_number, parse_time

T = TypeVar("T")


class ReferralRules:
    """What the form's mode allows; these are the rules for a new referral."""

    patient_is_fixed = False  # the referral stays with the patient who was chosen

    def may_be_past(self, start: datetime) -> bool:
        """Return True if the study may be planned for this local time although it has passed."""
        return False

    def stations(self, device: Device) -> tuple[str, ...]:
        """Return the AE titles of a study that is planned on this device."""
        return (device.ae_title,)


@dataclass(frozen=True, slots=True)
class FormContent:
    """What the form holds."""

    fields: Mapping[str, Any]  # as typed, under the names of `field_values.EMPTY`
    patient: Patient | None  # who was chosen
    external: bool  # another clinic is to do the study
    owner: str  # that clinic's GUID; empty if nobody knows which one is meant
    referrer_snils: str


@dataclass(frozen=True, slots=True)
class Parsed:
    """A referral that can be registered, or None; and what is wrong: field -> problem code."""

    draft: ReferralDraft | None
    problems: Mapping[str, str]


class FormParser:
    """Parses what the form holds at the local time `now`, a method for each group of fields.

    `problems` collects what a group cannot read, or lacks.
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
        fields = self._content.fields
        # What is unreadable has a stand-in here, so that the other fields are validated at the same time.
        draft = ReferralDraft(
            patient=self.patient(),
            procedure_code=procedure.code if procedure else "",
            station_ae_titles=stations,
            start=datetime.combine(day or self._now.date(), at or self._now.time().replace(second=0, microsecond=0)),
            laterality=fields["laterality"] or "",
            priority=Priority.URGENT if fields["urgent"] else Priority.ROUTINE,
            finance=fields["finance"] or "",
            referrer=names.split(referrer),
            referrer_snils=identifiers.digits(
                self._content.referrer_snils or self._options.snils_of(self._text("referrer"))
            ),
            referrer_position=position.strip(),
            diagnosis_code=identifiers.icd10_code(code),
            diagnosis_text=diagnosis.strip(),
            comment=self._text("comment"),
            owner=self._content.owner if self._content.external else "",
            submission_id=submission_id,
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
        """Return whom the fields mean; a birth date that is missing or unreadable is None.

        The id is 0 unless it is still the patient who was chosen.
        """
        text, chosen = self._text, self._content.patient
        born = self._required("birth_date", parse_birth_date)
        name = PersonName(text("family"), text("given"), text("middle"))
        same = chosen if chosen and is_same_person(chosen, name, born) else None
        if chosen and same is None and self._rules.patient_is_fixed:
            self.problems["patient"] = "other_patient"
        sex = self._content.fields["sex"]
        if sex is None:
            self.problems["sex"] = "required"
        return Patient(
            name=name,
            birth_date=born,
            sex=Sex(sex or Sex.OTHER),
            patient_id=same.patient_id if same else "",
            snils=identifiers.digits(text("snils")),
            policy=identifiers.digits(text("policy")),
            phone=text("phone"),
            weight=self._optional("weight", parse_number),
            height=self._optional("height", parse_number),
            allergies=text("allergies"),
            pregnancy=text("pregnancy"),
            id=same.id if same else 0,
            revision=same.revision if same else 0,
        )

    def _own_place(self, procedure: ProcedureType | None) -> tuple[tuple[str, ...], time | None]:
        """Return the AE titles and the time of a study that is done here."""
        device = self._options.device(procedure, self._content.fields["device"])
        if procedure and device is None:
            self.problems["device"] = "none"
        at = self._optional("time", parse_time)
        if not self._text("time") and procedure and device:  # before that it is filled by itself
            self.problems["time"] = "required"
        return self._rules.stations(device) if device else (), at

    def _external_place(self) -> tuple[tuple[str, ...], time]:
        """Note what is wrong with the other clinic, which gives the device and the time itself."""
        owner = self._content.owner
        if not self._text("owner"):
            self.problems["owner"] = "required"
        elif not owner:
            self.problems["owner"] = "unknown"
        elif owner.casefold() == self._options.organisation.casefold():
            self.problems["owner"] = "ours"
        return (), time()

    def _invalid(self, draft: ReferralDraft) -> dict[str, str]:
        """Return what the domain's rules say, as far as a person can do something about it here and now."""
        found = validation.referral_problems(draft, self._now)
        if self._content.external:
            found.pop("owner", None)  # known more exactly
            found.pop("device", None)
        elif not draft.procedure_code:
            found.pop("device", None)  # one thing at a time
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
    """Return True if the fields still mean this patient; False if so much was typed over that it is somebody else."""
    typed = [names.fold(part) for part in (name.family, name.given, name.middle)]
    stored = [names.fold(part) for part in (known.name.family, known.name.given, known.name.middle)]
    if born is not None and born == known.birth_date:
        return typed[0] == stored[0] or typed[1] == stored[1]
    return typed == stored
