"""What was not imported waits for a person: noted by the imports, dismissed by people."""

from __future__ import annotations

from collections.abc import Collection

from broker.domain.actors import Actor
from broker.domain.audit import AuditAction
from broker.domain.import_result import ImportSource
from broker.security.permissions import Permission, permit
from broker.store.database import Tx
from broker.store.tables import audit, import_refusals
from broker.store.tables.import_refusals import ImportRefusal


def note(tx: Tx, refusal: ImportRefusal, actor: Actor) -> None:
    """Note what was refused, and why; the same again changes nothing. Raise Forbidden."""
    permit(tx, actor, Permission.REGISTER)
    if import_refusals.put(tx, refusal):
        tx.notify()


def forget(tx: Tx, source: ImportSource, path: str, actor: Actor, *, but: Collection[int] = ()) -> None:
    """Forget what was refused of a file before: it was imported, or is gone. `but` are rows of a table that stay.

    Raise Forbidden.
    """
    permit(tx, actor, Permission.REGISTER)
    if import_refusals.remove(tx, source, path, but=but):
        tx.notify()


def dismiss(tx: Tx, seen: Collection[ImportRefusal], actor: Actor) -> int:
    """Record that these need not be imported, as this person says; return how many were waiting as they were `seen`.

    One whose content or reason is another by now waits on: it may be about another patient. So do those that change
    afterwards. Raise Forbidden.
    """
    permit(tx, actor, Permission.REGISTER)
    dismissed = import_refusals.dismiss(tx, seen, actor.title or actor.name)
    for each in dismissed:
        audit.write(
            tx,
            actor,
            AuditAction.IMPORT_DISMISS,
            source=each.source,
            path=each.path,
            row=each.row,
            reasons=[reason.text for reason in each.reasons],
        )
    if dismissed:
        tx.notify()
    return len(dismissed)
