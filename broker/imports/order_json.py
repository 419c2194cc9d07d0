"""Referrals as JSON, for scripts: what `order add` reads and `order list` writes.

The form is checked here; what the values mean is checked by the use case, as for the screens.
"""

from __future__ import annotations

import json
from datetime import date, datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from broker.domain import names
from broker.domain.orders import Priority, ReferralDraft
from broker.domain.people import Patient, PersonName, Sex
from broker.store.queries.schedule import Visit


class BadJson(ValueError):
    """The text is not a referral; each line of `report` says where and why."""

    def __init__(self, report: list[str]) -> None:
        super().__init__("\n".join(report))
        self.report = report


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


class PatientJson(_Strict):
    """A patient; `name` («Фамилия Имя Отчество») may replace family, given and middle."""

    name: str = ""
    family: str = ""
    given: str = ""
    middle: str = ""
    birth_date: date
    sex: Literal["M", "F", "O"]
    patient_id: str = ""
    snils: str = ""
    policy: str = ""
    phone: str = ""
    weight: float | None = None
    height: float | None = None
    allergies: str = ""
    pregnancy: str = ""

    def to_patient(self) -> Patient:
        """Return the domain's patient."""
        name = names.split(self.name) if self.name else PersonName(self.family, self.given, self.middle)
        return Patient(
            name=name,
            birth_date=self.birth_date,
            sex=Sex(self.sex),
            **self.model_dump(exclude={"name", "family", "given", "middle", "birth_date", "sex"}),
        )


class ReferralJson(_Strict):
    """A referral; `start` is local clinic time, and calls with one `submission_id` register one referral."""

    patient: PatientJson
    procedure: str
    stations: list[str] = Field(min_length=1)
    start: datetime
    laterality: Literal["", "R", "L", "B"] = ""
    priority: Literal["routine", "urgent"] = "routine"
    finance: str = "1"
    referrer: str = ""
    referrer_snils: str = ""
    referrer_position: str = ""
    diagnosis_code: str = ""
    diagnosis_text: str = ""
    comment: str = ""
    submission_id: str = ""

    def to_draft(self) -> ReferralDraft:
        """Return what the use case takes."""
        return ReferralDraft(
            patient=self.patient.to_patient(),
            procedure_code=self.procedure,
            station_ae_titles=tuple(self.stations),
            start=self.start.replace(tzinfo=None),
            priority=Priority(self.priority),
            referrer=names.split(self.referrer),
            **self.model_dump(exclude={"patient", "procedure", "stations", "start", "priority", "referrer"}),
        )


def read(data: bytes) -> list[ReferralDraft]:
    """Read one referral or a list of them. Raise BadJson with every mistake."""
    try:
        found = json.loads(data.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise BadJson([f"byte {error.start}: not UTF-8"]) from None
    except json.JSONDecodeError as error:
        raise BadJson([f"line {error.lineno}, column {error.colno}: not JSON: {error.msg}"]) from None
    items = found if isinstance(found, list) else [found]
    try:
        return [item.to_draft() for item in TypeAdapter(list[ReferralJson]).validate_python(items)]
    except ValidationError as error:
        report = []
        for detail in error.errors(include_url=False, include_input=False):
            number, *path = detail["loc"]
            where = ".".join(str(part) for part in path)
            report.append(f"referral {int(number) + 1}: {where}: {detail['msg']}" if where else f"{detail['msg']}")
        raise BadJson(report) from None


def write(visit: Visit) -> dict[str, Any]:
    """Return one scheduled step of an order as JSON values."""
    order = visit.order
    return {
        "accession_number": order.accession_number,
        "state": order.state,
        "start": visit.start.isoformat(timespec="minutes"),
        "stations": list(visit.station_ae_titles),
        "procedure": order.procedure_code,
        "procedure_name": order.procedure_name,
        "modality": order.modality,
        "priority": order.priority,
        "patient": {
            "patient_id": order.patient.patient_id,
            "name": str(order.patient.name),
            "birth_date": order.patient.birth_date.isoformat() if order.patient.birth_date else None,
            "sex": order.patient.sex,
        },
        "study_instance_uid": order.study_instance_uid,
        "bus": visit.bus,
    }
