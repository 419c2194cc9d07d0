"""A clinic whose own `/fhir` is tested: its database, the endpoint on a real socket, and the verbs of its people.

Its МИС works for PRACTICE_ORGANISATION and shows PRACTICE_TOKEN, and the clinic is PRACTICE_ORGANISATION_2: what is
written for the practice bus, where the first clinic refers to the second, can be said to it, too.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any, cast

from starlette.applications import Starlette

from broker.bus.api import TOKEN_HALF_LIFE, TOKEN_LIMITS, ApiMount, FhirApi
from broker.bus.practice import PRACTICE_ORGANISATION, PRACTICE_ORGANISATION_2, PRACTICE_TOKEN, PracticeBus
from broker.bus.practice.server import PracticeServer
from broker.bus.profile import Profile
from broker.domain.actors import Actor, ActorKind, Role
from broker.domain.clinic.settings import Clinic
from broker.domain.incoming import IncomingReferral
from broker.domain.orders import Order
from broker.domain.reading.reports import Report, SignedReport
from broker.domain.studies.performed import PerformedChange, PerformedState, StepReference
from broker.security.sessions import token_hash
from broker.security.throttle import Throttle
from broker.store.database import Store
from broker.store.queries import inbox
from broker.store.tables import clients, orders
from broker.workflow.reading import reports
from broker.workflow.reading.reports import ReportText
from broker.workflow.referrals import incoming_referrals
from broker.workflow.referrals import referrals as referral
from broker.workflow.studies import performed_steps
from tests.bus.samples import PROFILE
from tests.support.clock import RunningClock
from tests.support.factory import CLINIC, REGISTRAR, XRAY, draft, message, performed

NAME = "mis"
DOCTOR = Actor(ActorKind.PERSON, "volskaya", "Вольская Т. А.", frozenset({Role.RADIOLOGIST}))
TEXT = ReportText("Суставная щель сужена.", "Артроз II ст.", "Консультация травматолога", 0.12)
OURS = Profile(PRACTICE_ORGANISATION_2, "1.2.643.2.69.1.2.901", PROFILE.zone, images_url="https://pacs.example/{study}")


def make_pdf(signed: SignedReport) -> bytes:
    """Stand for the PDF of a report."""
    return f"%PDF-1.4 {signed.order.accession_number} {signed.report.conclusion}".encode()


class EndpointServer(PracticeServer):
    """The endpoint listening where the practice bus listens otherwise; beside it there is nothing."""

    def __init__(self, endpoint: FhirApi) -> None:
        super().__init__(cast(PracticeBus, SimpleNamespace(app=ApiMount(Starlette(), endpoint))))

    @property
    def url(self) -> str:
        return self.page_url + "fhir"


class ApiClinic:
    """The clinic."""

    def __init__(self, store: Store, auto_accept: Mapping[str, str] | None = None, clinic: Clinic = CLINIC) -> None:
        self.store, self.clinic = store, clinic
        store.clock = RunningClock()  # when something was changed is what its callers search by
        self.add_client(NAME, PRACTICE_TOKEN, PRACTICE_ORGANISATION)
        self.failures = Throttle(TOKEN_LIMITS, TOKEN_HALF_LIFE)
        self.endpoint = FhirApi(store, clinic, lambda reader: OURS, make_pdf, auto_accept or {}, self.failures)
        self.server = EndpointServer(self.endpoint)
        self.server.start()

    def add_client(self, name: str, token: str, organisation: str = "", *, send_to_bus: bool = False) -> None:
        self.store.write(lambda tx: clients.add(tx, name, token_hash(token), organisation, send_to_bus=send_to_bus))

    def close(self) -> None:
        self.server.stop()

    def waiting(self) -> list[IncomingReferral]:
        with self.store.read() as reader:
            return inbox.waiting(reader)

    def accept(self, **changes: Any) -> Order:
        """Return the referral that waits a device and a time."""
        [known] = self.waiting()
        form = draft(patient=known.patient, **changes)
        return self.store.write(incoming_referrals.accept, known.stored_id, form, REGISTRAR, self.clinic)

    def perform(self, order: Order, uid: str = "1.2.3.4") -> None:
        step = performed(uid, StepReference(study_instance_uid=order.study_instance_uid))
        self.store.write(performed_steps.start, step, message(f"create {uid}"), XRAY, self.clinic)
        done = PerformedChange(PerformedState.COMPLETED, images=2)
        self.store.write(
            performed_steps.change, performed_steps.ChangeRequest(uid, done, message(f"final {uid}")), XRAY, self.clinic
        )

    def begin(self, order: Order, uid: str = "1.2.3.4") -> None:
        step = performed(uid, StepReference(study_instance_uid=order.study_instance_uid))
        self.store.write(performed_steps.start, step, message(f"create {uid}"), XRAY, self.clinic)

    def sign(self, order: Order) -> Report:
        return self.store.write(reports.sign, order.id, 0, TEXT, DOCTOR, self.clinic)

    def cancel(self, order: Order) -> None:
        now = self.order(order)
        self.store.write(referral.cancel, now.id, now.revision, "передумал", REGISTRAR, self.clinic)

    def order(self, order: Order) -> Order:
        with self.store.read() as reader:
            found = orders.get(reader, order.id)
        assert found is not None
        return found

    def count(self, table: str) -> int:
        with self.store.read() as reader:
            return int(reader.value(f"SELECT count(*) FROM {table}"))  # noqa: S608
