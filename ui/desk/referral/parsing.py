"""From the fields of a referral to the referral, and what is wrong with it. Pure: nothing is drawn or saved."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import date, datetime, time
from typing import Any

from broker.domain import names, validation
from broker.domain.devices import Device
from broker.domain.orders import Priority, ReferralDraft, ScheduledStep
from broker.domain.people import Patient, PersonName, Sex
from broker.workflow import referrals
from ui.desk.referral import typed as read
from ui.desk.referral.lists import ReferralOptions


def read_fields(
    values: Mapping[str, Any],
    lists: ReferralOptions,
    now: datetime,
    chosen: Patient | None = None,
    step: ScheduledStep | None = None,
    submission_id: str = "",
    *,
    done: bool = False,
) -> tuple[ReferralDraft, dict[str, str]]:
    """Read what was typed, under the names of `referral_values.EMPTY`; give the referral and field -> problem code.

    Also `elsewhere`, whether another clinic is to do it, `owner_guid`, which one, and `referrer_snils`. `chosen` is
    the known patient, `step` the appointment of an order that is being changed; with `done` it says where and when the
    study was made already. A field that cannot be read has a stand-in in the referral, so only one without problems is
    worth registering.
    """
    problems: dict[str, str] = {}

    def said(key: str) -> str:
        return names.tidy(values[key] or "")

    def parsed(key: str, parse: Callable[[str], Any], stand_in: Any) -> Any:
        value = parse(said(key)) if said(key) else None
        if said(key) and value is None:
            problems[key] = "unreadable"
        return stand_in if value is None else value

    born = parsed("birth_date", read.birth_date, now.date())
    day = parsed("date", lambda typed: read.day(typed, now.date()), now.date())
    at = parsed("time", read.clock, now.time())
    weight, height = parsed("weight", read.number, None), parsed("height", read.number, None)
    procedure = lists.procedure(values["procedure"])
    elsewhere = bool(values.get("elsewhere"))
    device = None if elsewhere else lists.device(procedure, values["device"])
    problems |= {key: "required" for key in ("birth_date", "date", "time") if not said(key)}
    if not said("time") and (procedure is None or device is None):
        del problems["time"]  # it comes by itself once it is known what for
    if values["sex"] is None:
        problems["sex"] = "required"
    if elsewhere:
        problems.pop("time", None)  # the other clinic gives it
        at = time()
        problems |= _owner_problem(said("owner"), values["owner_guid"], lists)
    elif procedure and device is None:
        problems["device"] = "none"
    known = chosen if chosen and same_person(chosen, values, born) else None
    if step and not done and chosen and known is None:
        problems["patient"] = "other_patient"
    code, _, diagnosis = said("diagnosis").partition(" ")
    doctor, _, position = said("referrer").partition(",")
    draft = ReferralDraft(
        patient=Patient(
            name=PersonName(said("family"), said("given"), said("middle")),
            birth_date=born,
            sex=Sex(values["sex"] or Sex.OTHER),
            patient_id=known.patient_id if known else "",
            snils=said("snils"),
            policy=said("policy"),
            phone=said("phone"),
            weight=weight,
            height=height,
            allergies=said("allergies"),
            pregnancy=said("pregnancy"),
            id=known.id if known else 0,
            revision=known.revision if known else 0,
        ),
        procedure_code=procedure.code if procedure else "",
        station_ae_titles=_stations(device, step),
        start=datetime.combine(day, time(at.hour, at.minute)),
        laterality=values["laterality"] or "",
        priority=Priority.URGENT if values["urgent"] else Priority.ROUTINE,
        finance=values["finance"] or "",
        referrer=names.split(doctor),
        referrer_snils=values.get("referrer_snils") or lists.snils_of(said("referrer")),
        referrer_position=position.strip(),
        diagnosis_code=code,
        diagnosis_text=diagnosis.strip(),
        comment=said("comment"),
        owner=values["owner_guid"] if elsewhere else "",
        submission_id=submission_id,
    )
    found = validation.referral_problems(referrals.tidied(draft), now)
    if elsewhere:
        found.pop("owner", None)  # told already, with the reason
    if procedure is None:
        found.pop("device", None)  # one thing at a time
    if found.get("date") == "past" and (done or (step and step.starts_at(draft.start))):
        del found["date"]
    return draft, {**found, **problems}


def same_person(known: Patient, values: Mapping[str, Any], born: date) -> bool:
    """Say whether the fields still mean this patient, or so much was typed over that it is somebody else."""
    typed = [names.fold(values[key] or "") for key in ("family", "given", "middle")]
    name = [names.fold(part) for part in (known.name.family, known.name.given, known.name.middle)]
    if born == known.birth_date:
        return typed[0] == name[0] or typed[1] == name[1]
    return typed == name


def patient(kept: Mapping[str, Any]) -> Patient:
    """Make a patient of what a draft keeps."""
    parts = {
        "name": PersonName(**kept["name"]),
        "birth_date": date.fromisoformat(kept["birth_date"]) if kept["birth_date"] else None,
        "sex": Sex(kept["sex"]),
    }
    return Patient(**{**kept, **parts})


def _owner_problem(said: str, guid: str, lists: ReferralOptions) -> dict[str, str]:
    if not said:
        return {"owner": "required"}
    if not guid:
        return {"owner": "unknown"}
    return {"owner": "ours"} if guid.casefold() == lists.organisation.casefold() else {}


def _stations(device: Device | None, step: ScheduledStep | None) -> tuple[str, ...]:
    if device is None:
        return ()
    if step and step.station_ae_titles[:1] == (device.ae_title,):
        return step.station_ae_titles  # the others of an order that is planned on several stay
    return (device.ae_title,)
