"""The region of the identity machine: a bus at hand with what other clinics place, cancel and report on it.

Everything goes through the real polls, so that what they believe is what is proved.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from broker.bus.fhir import Resource
from broker.bus.inbound.referrals import ReferralPoll
from broker.bus.inbound.results import ResultPoll
from broker.bus.profile import POLICY, SNILS, Profile, oid
from broker.bus.transport.answers import Answer, Delivered, Rejected
from broker.bus.transport.bus_clock import BusClock
from broker.bus.transport.dialect import Call, n3
from broker.bus.transport.rate_limit import RateLimiter
from broker.bus.transport.session import BusSession, SessionPriority
from broker.domain.patients.people import Patient, PersonName, Sex
from broker.store.database import Store
from tests.support.clock import NOW, ZONE
from tests.support.factory import CLINIC

US, THEM = "3b9d1c6a-7e42-4f0b-8a55-1d2c3e4f5a61", "c84e7f12-0d39-4b6e-9c7a-5f6e7d8c9b02"
PROFILE = Profile(organisation=US, mis_oid="1.2.643.2.69.1.2.900", zone=ZONE)
_GENDERS = {Sex.FEMALE: "female", Sex.MALE: "male"}


class FakeBus:
    """Holds resources, and answers searches for Tasks and reads as a bus does."""

    url = "http://bus.example/fhir"

    def __init__(self) -> None:
        self.resources: dict[str, Resource] = {}
        self._count = 0
        self.clock = BusClock()

    def call(self, call: Call) -> Answer:
        """Answer a search for Tasks, or the read of a resource."""
        path = call.path.partition("?")[0].strip("/")
        if path != "Task/_search":
            return Delivered(self.resources[path]) if path in self.resources else Rejected("HTTP 404")
        asked = {each["name"]: each["valueString"] for each in json.loads(call.body)["parameter"]}
        found = [task for name, task in self.resources.items() if name.startswith("Task/") and _fits(task, asked)]
        found.sort(key=lambda task: str(task["meta"]["lastUpdated"]))
        return Delivered({"resourceType": "Bundle", "type": "searchset", "entry": [{"resource": t} for t in found]})

    def abort_calls(self) -> None:
        """There is nothing to abort."""

    def put(self, kind: str, id: str = "", **members: Any) -> str:
        """Store a resource as changed now; return its id."""
        self._count += 1
        id = id or f"{kind.lower()}{self._count}"
        changed = (NOW + timedelta(milliseconds=self._count)).isoformat(timespec="milliseconds")
        before = self.resources.get(f"{kind}/{id}", {})
        stamp = {"resourceType": kind, "id": id, "meta": {"versionId": str(self._count), "lastUpdated": changed}}
        self.resources[f"{kind}/{id}"] = before | members | stamp
        return id

    def patient(self, person: Patient, name: PersonName) -> str:
        """Store a record of a person; return its id."""
        numbers = [(SNILS, person.snils), (POLICY, person.policy)]
        return self.put(
            "Patient",
            identifier=[{"system": oid(system), "value": value} for system, value in numbers if value],
            name=[{"family": name.family, "given": [part for part in (name.given, name.middle) if part]}],
            birthDate=f"{person.birth_date:%Y-%m-%d}",
            gender=_GENDERS[person.sex],
        )

    def refer(self, person: Patient, name: PersonName) -> str:
        """Let another clinic order a knee of ours; return the id of its Task."""
        subject = {"reference": f"Patient/{self.patient(person, name)}"}
        request = self.put(
            "ServiceRequest",
            status="active",
            intent="filler-order",
            code={"text": "Рентгенография коленного сустава"},
            bodySite=[{"text": "правый коленный сустав"}],
            subject=subject,
        )
        return self.put(
            "Task",
            intent="original-order",
            status="requested",
            focus={"reference": f"ServiceRequest/{request}"},
            requester=_organisation(THEM),
            owner=_organisation(US),
            **_about(subject),
        )

    def report(self, task: str, person: Patient, name: PersonName) -> str:
        """Let another clinic report on an order of ours, of this Task; return the id of the report."""
        subject = {"reference": f"Patient/{self.patient(person, name)}"}
        report = self.put("DiagnosticReport", status="final", subject=subject, conclusion="Норма")
        self.put(
            "Task",
            intent="reflex-order",
            status="completed",
            basedOn=[{"reference": f"Task/{task}"}],
            focus={"reference": f"DiagnosticReport/{report}"},
            requester=_organisation(US),
            owner=_organisation(THEM),
            **_about(subject),
        )
        return report

    def tasks(self) -> list[str]:
        """Return the Tasks for this clinic, as "Task/<id>"."""
        return [name for name in self.resources if name.startswith("Task/")]


class Region:
    """The bus, and the polls of the clinic that read it."""

    def __init__(self, store: Store) -> None:
        self.bus = FakeBus()
        limiter = RateLimiter(10**9)

        def session(priority: SessionPriority) -> BusSession:
            return BusSession(store, self.bus, limiter, priority)  # type: ignore[arg-type]

        polling = session(SessionPriority.POLLING)
        self._referrals = {
            auto: ReferralPoll(store, polling, n3, PROFILE, CLINIC, {"DX": "XRAY_14"} if auto else {})
            for auto in (False, True)
        }
        self._results = ResultPoll(store, session(SessionPriority.BACKGROUND), n3, PROFILE)

    def poll(self, *, auto_accept: bool) -> None:
        """Read what has changed; complete referrals become orders at once if `auto_accept`."""
        summary = self._referrals[auto_accept].run()
        assert not summary.stopped, summary
        results = self._results.run()
        assert not results.stopped, results


def _about(subject: Resource) -> dict[str, Any]:
    return {"for": subject}  # a keyword of Python


def _organisation(guid: str) -> Resource:
    return {"reference": f"Organization/{guid}"}


def _fits(task: Resource, asked: Mapping[str, str]) -> bool:
    based_on = {each["reference"] for each in task.get("basedOn", [])}
    return (
        asked.get("intent") in (None, task["intent"])
        and all(asked[name] == task[name]["reference"] for name in ("owner", "requester") if name in asked)
        and ("based-on" not in asked or bool(based_on & set(asked["based-on"].split(","))))
    )
