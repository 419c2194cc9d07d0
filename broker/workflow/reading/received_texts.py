"""A doctor takes the text of a received report over into the draft of the report, and signs it as any other."""

from __future__ import annotations

from dataclasses import replace

from broker.domain.actors import Actor
from broker.domain.audit import AuditAction
from broker.domain.clinic.settings import Clinic
from broker.domain.errors import WrongState
from broker.domain.orders import Order
from broker.domain.reading.reports import Report
from broker.security.permissions import Permission, permit
from broker.store.database import Tx
from broker.store.tables import audit, orders
from broker.store.tables.reading import reports
from broker.store.tables.studies import received_objects
from broker.workflow.reading.reports import ReportText, check_is_free, save_report


def take_over(tx: Tx, received_id: int, said: ReportText, actor: Actor, clinic: Clinic) -> Order:
    """Add what a received report says to the draft of its study's report, below what is typed there; return the order.

    What the draft says already is not added again. Raise NotFound, WrongState if the object belongs to no study, its
    report is signed or made of reads, or there are no images; Invalid if it is too long; Forbidden.
    """
    permit(tx, actor, Permission.REPORT)
    stored = received_objects.require(tx, received_id)
    if stored.order_id is None:
        raise WrongState(f"received object {received_id} belongs to no order")
    order = orders.require(tx, stored.order_id)
    check_is_free(tx, order, actor)
    before = reports.of_order(tx, order.id) or Report(order.id)
    typed = ReportText.of(before)
    joined = replace(
        typed,
        description=_joined(typed.description, said.description),
        conclusion=_joined(typed.conclusion, said.conclusion),
        recommendations=_joined(typed.recommendations, said.recommendations),
    )
    save_report(tx, order.id, before.revision, joined, actor, clinic)
    if joined != typed:
        uid = stored.received.sop_instance_uid
        audit.write(tx, actor, AuditAction.OBJECT_TAKEN_OVER, order.id, sop_instance_uid=uid)
    return order


def _joined(typed: str, added: str) -> str:
    return typed if added in typed else f"{typed}\n{added}".strip()
