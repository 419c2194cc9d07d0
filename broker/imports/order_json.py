"""Referrals as JSON, for scripts: what `order add` reads and `order list` writes.

The form is checked here; what the values mean is checked by the use case, as for the screens.
"""

from __future__ import annotations

import json
from datetime import date, datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from broker.domain import typed_dates
from broker.domain.orders import Referral, ReferralDraft
from broker.domain.patients import names
from broker.domain.patients.people import NO_NAME, Patient, PersonName, Sex
from broker.store.queries.schedule import Visit


class BadJson(ValueError):
    """The text is not a referral; each line of `report` says where and why."""

    def __init__(self, report: list[str]) -> None:
        super().__init__("\n".join(report))
        self.report = report


_STRICT = ConfigDict(extra="forbid")
# Pydantic's kinds of mistakes whose own words are about Python.
_MESSAGES = dict.fromkeys(("unexpected_keyword_argument", "extra_forbidden"), "unknown field")


def _name(written: object) -> PersonName:
    if not isinstance(written, str):
        raise ValueError("must be a text")
    return names.split(written)


def _born(written: object) -> date | int | None:
    if written is None or (type(written) is int and 1800 <= written <= 9999):
        return written
    try:
        text = written if isinstance(written, str) else ""
        return typed_dates.birth_year(text) or date.fromisoformat(text)
    except ValueError:
        raise ValueError("must be a date such as 1961-03-12, a year, or null where it is not known") from None


class PatientJson(BaseModel):
    """A patient; `name` («Фамилия Имя Отчество») may replace family, given and middle."""

    model_config = _STRICT

    name: str = ""
    family: str = ""
    given: str = ""
    middle: str = ""
    birth_date: Annotated[date | int | None, BeforeValidator(_born)]  # the year alone, or null, where no more is known
    sex: Literal["M", "F", "O"]
    patient_id: str = ""
    snils: str = ""
    policy: str = ""
    insurer: str = ""
    phone: str = ""
    weight: float | None = None
    height: float | None = None
    allergies: str = ""
    pregnancy: str = ""
    mother: str = ""

    def to_patient(self) -> Patient:
        """Return the domain's patient."""
        name = names.split(self.name) if self.name else PersonName(self.family, self.given, self.middle)
        return Patient(
            name=name,
            birth_date=None if isinstance(self.birth_date, int) else self.birth_date,
            birth_year=self.birth_date if isinstance(self.birth_date, int) else None,
            sex=Sex(self.sex),
            **self.model_dump(exclude={"name", "family", "given", "middle", "birth_date", "sex"}),
        )


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class ReferralJson(Referral):
    """A referral; `start` is local clinic time, and calls with one `submission_id` register one referral.

    The members of `Referral` stand under their names; the doctor is one text, «Фамилия Имя Отчество».
    """

    patient: PatientJson
    procedure: str
    stations: Annotated[list[str], Field(min_length=1)]
    start: datetime
    referrer: Annotated[PersonName, BeforeValidator(_name)] = NO_NAME
    submission_id: str = ""

    def to_draft(self) -> ReferralDraft:
        """Return what the use case takes."""
        return ReferralDraft(
            patient=self.patient.to_patient(),
            procedure_code=self.procedure,
            station_ae_titles=tuple(self.stations),
            start=self.start.replace(tzinfo=None),
            submission_id=self.submission_id,
            **self.referral_fields(),
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
            what = _MESSAGES.get(detail["type"], detail["msg"])
            report.append(f"referral {int(number) + 1}: {where}: {what}" if where else what)
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
            "birth_date": str(order.patient.born) if order.patient.born else None,
            "sex": order.patient.sex,
        },
        "study_instance_uid": order.study_instance_uid,
        "bus": visit.bus,
    }
