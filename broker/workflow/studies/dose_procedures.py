"""Use cases of the account of doses: what the administrator says of procedures."""

from __future__ import annotations

from broker.domain.actors import Actor
from broker.domain.audit import AuditAction
from broker.domain.errors import Invalid
from broker.domain.patients import names
from broker.security.permissions import Permission, permit
from broker.store.database import Tx
from broker.store.tables import audit
from broker.store.tables.studies import dose_procedures

LONGEST_ROW = 32  # characters


def set_prophylactic(tx: Tx, codes: frozenset[str], actor: Actor) -> None:
    """Say which procedures are prophylactic: their doses are summed by themselves. Raise Forbidden."""
    permit(tx, actor, Permission.MANAGE)
    before = dose_procedures.prophylactic(tx)
    if codes != before:
        dose_procedures.set_prophylactic(tx, codes)
        added, removed = sorted(codes - before), sorted(before - codes)
        audit.write(tx, actor, AuditAction.DOSE_PROCEDURES_SET, added=added, removed=removed)
        tx.notify()


def set_form_row(tx: Tx, code: str, form_row: str, actor: Actor) -> None:
    """Name the row of a procedure in the form 3-ДОЗ, "" for none; raise Invalid, Forbidden."""
    permit(tx, actor, Permission.MANAGE)
    tidy = names.tidy(form_row)
    if len(tidy) > LONGEST_ROW:
        raise Invalid({"form_row": f"longer than {LONGEST_ROW} characters"})
    dose_procedures.set_form_row(tx, code, tidy)
    audit.write(tx, actor, AuditAction.DOSE_PROCEDURES_SET, code=code, form_row=tidy)
