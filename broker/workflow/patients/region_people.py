"""Use cases of asking the region who a person is: every question, and what a person took from an answer, is audited."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from broker.domain.actors import Actor
from broker.domain.audit import AuditAction
from broker.domain.patients.region_people import RegionQuestion
from broker.security.permissions import Permission, permit
from broker.store.database import Tx
from broker.store.tables import audit


def note_question(tx: Tx, question: RegionQuestion, actor: Actor) -> None:
    """Record what the region is going to be asked. Raise Forbidden, SessionEnded."""
    permit(tx, actor, Permission.REGISTER)
    details: dict[str, Any] = question.asked()
    audit.write(tx, actor, AuditAction.REGION_ASK, **details)


def note_answer(tx: Tx) -> None:
    """Notify the pages that the region has answered; what it answered is not stored."""
    tx.notify()


def note_taken(tx: Tx, reference: str, fields: Sequence[str], actor: Actor) -> None:
    """Record that a person filled these fields from a Patient of the region ("Patient/<id>").

    Raise Forbidden, SessionEnded.
    """
    permit(tx, actor, Permission.REGISTER)
    audit.write(tx, actor, AuditAction.REGION_TAKE, reference=reference, fields=list(fields))
