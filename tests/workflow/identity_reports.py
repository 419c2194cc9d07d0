"""What doctors and devices do to studies in the identity machine: ends of steps, reports and their versions."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from broker.domain.actors import Actor, ActorKind, Role
from broker.domain.errors import BrokerError
from broker.domain.messages import OutboxKind
from broker.domain.orders import OrderState
from broker.domain.reading.reports import ReportChange, SeenImages
from broker.domain.studies.performed import PerformedChange, PerformedState
from broker.store.database import Store
from broker.store.tables import orders, outbox
from broker.store.tables.reading import reports as table
from broker.store.tables.studies import archive, performed_links
from broker.workflow.reading import reports
from broker.workflow.reading.reports import ReportText, Revision
from broker.workflow.studies import performed_steps
from tests.support.factory import CLINIC, XRAY, message

DOCTOR = Actor(ActorKind.PERSON, "volskaya", "Вольская Т. А.", frozenset({Role.RADIOLOGIST}))
_PICK = st.integers(0, 10**6)


class Reports(RuleBasedStateMachine):
    """Rules of the machine that are about what was made for orders, not about whose it is."""

    store: Store

    def __init__(self) -> None:
        super().__init__()
        self.signed: dict[int, int] = {}  # versions of reports by order

    @rule(pick=_PICK, images=st.integers(0, 4), completes=st.booleans())
    def end_step(self, pick: int, images: int, completes: bool) -> None:
        """Let the X-ray end a step of several that it may have begun for an order."""
        running = self._select(
            "SELECT sop_instance_uid AS uid FROM performed_step WHERE state = 'IN PROGRESS' AND source = 'modality'"
        )
        if running:
            uid = running[pick % len(running)]["uid"]
            state = PerformedState.COMPLETED if completes else PerformedState.DISCONTINUED
            request = performed_steps.ChangeRequest(uid, PerformedChange(state, images=images), message(f"end {uid}"))
            self.store.write(performed_steps.change, request, XRAY, CLINIC)

    @rule(pick=_PICK)
    def sign(self, pick: int) -> None:
        """Let a doctor sign a report on what he is shown."""
        waiting = self._select("SELECT id FROM orders WHERE state = 'completed' AND reported = 0 ORDER BY id")
        if not waiting:
            return
        id = waiting[pick % len(waiting)]["id"]
        try:
            self.store.write(reports.sign, id, 0, ReportText(conclusion="Норма"), DOCTOR, CLINIC, self._seen(id))
        except BrokerError:
            return  # whose the images are is not decided, or it is withdrawn
        self.signed[id] = 1
        assert not self._is_doubtful(id)

    @rule(pick=_PICK, change=st.sampled_from(ReportChange))
    def revise(self, pick: int, change: ReportChange) -> None:
        """Add to a signed report, correct or withdraw it."""
        if not self.signed:
            return
        id = sorted(self.signed)[pick % len(self.signed)]
        version = self.signed[id]
        revision = Revision(change, f"версия {version + 1}", ReportText(conclusion=f"Иначе {version}"))
        try:
            self.store.write(reports.revise, id, version, revision, DOCTOR, CLINIC, self._seen(id))
        except BrokerError:
            return  # withdrawn already, or whose the images are is not decided
        self.signed[id] = version + 1
        assert change is ReportChange.WITHDRAWAL or not self._is_doubtful(id)

    @rule(pick=_PICK)
    def uphold(self, pick: int) -> None:
        """Let a doctor look at images that have changed since the report was signed."""
        if not self.signed:
            return
        id = sorted(self.signed)[pick % len(self.signed)]
        try:
            self.store.write(reports.uphold, id, self._seen(id), DOCTOR, CLINIC)
        except BrokerError:
            return
        assert not self._is_doubtful(id)
        with self.store.read() as reader:
            assert table.doubt(reader, id) is None

    @invariant()
    def every_version_of_a_report_is_kept(self) -> None:
        with self.store.read() as reader:
            assert {id: len(table.versions(reader, id)) for id in self.signed} == self.signed

    @invariant()
    def no_report_goes_out_that_may_be_about_other_images(self) -> None:
        for row in self._select(
            "SELECT order_id, kind FROM outbox WHERE kind IN ('images', 'report') AND state = 'pending'"
            " AND uncertain = 0"
        ):
            with self.store.read() as reader:
                report, doubt = table.signed(reader, row["order_id"]), table.doubt(reader, row["order_id"])
            if row["kind"] == OutboxKind.REPORT:
                assert report is not None, row
                assert report.is_withdrawn or doubt in (None, "images_added"), (row["order_id"], doubt)
            is_withdrawal = report is not None and report.is_withdrawn and row["kind"] == OutboxKind.REPORT
            assert is_withdrawal or not self._is_doubtful(row["order_id"]), row["order_id"]

    @invariant()
    def no_report_waits_in_silence(self) -> None:
        """A report that no doubt holds back is queued, or has gone."""
        for id in self.signed:
            with self.store.read() as reader:
                order, report = orders.require(reader, id), table.signed(reader, id)
                doubt = table.doubt(reader, id)
            if not order.bus_role or report is None or report.is_withdrawn or doubt or self._is_doubtful(id):
                continue
            if order.state is OrderState.COMPLETED:
                with self.store.read() as reader:
                    sent = [outbox.has(reader, id, kind) for kind in (OutboxKind.REPORT, OutboxKind.APPENDED)]
                assert any(sent), id

    def _is_doubtful(self, order_id: int) -> bool:
        with self.store.read() as reader:
            return bool(performed_links.conflicts(reader, order_id)) or archive.is_disputed(reader, order_id)

    def _seen(self, order_id: int) -> SeenImages:
        with self.store.read() as reader:
            return table.images(reader, orders.require(reader, order_id))

    def _select(self, query: str) -> list[Any]:
        with self.store.read() as reader:
            return list(reader.rows(query))
