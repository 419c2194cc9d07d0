"""A patient's card is corrected: an unidentified person has got a name, a birth date was found out, a number changed.

All orders of the patient follow, whatever state they are in: what the region could not be sent goes there now, and what
it has already is amended. Where the new data are another person's as far as data say, a person first sees what was
made under the former ones; images of the former person's are doubtful from then on, and not sent.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from typing import Any

from broker.domain import validation
from broker.domain.actors import Actor
from broker.domain.audit import AuditAction
from broker.domain.clinic.settings import Clinic
from broker.domain.errors import Invalid, Stale
from broker.domain.patients import correction, names
from broker.domain.patients import patient_merge as cards
from broker.domain.patients.details import FormerNumber, PatientDetails
from broker.domain.patients.patient_match import NUMBERS
from broker.domain.patients.people import Patient
from broker.security.permissions import Permission, permit
from broker.store.database import Tx
from broker.store.queries.patients import made_studies
from broker.store.tables import audit, orders
from broker.store.tables.patients import former_names, patient_details
from broker.store.tables.patients import patients as table
from broker.store.tables.studies import external_studies
from broker.workflow import corrections
from broker.workflow.patient_merge import without_old_attributes
from broker.workflow.patients import patients
from broker.workflow.referrals import referrals
from broker.workflow.studies import step_links

LONGEST = 300  # characters of an address or a passport


def correct(
    tx: Tx,
    corrected: Patient,
    actor: Actor,
    clinic: Clinic,
    *,
    details: PatientDetails | None = None,
    kept_numbers: Collection[str] = (),
    made_seen: Collection[int] | None = None,
) -> Patient:
    """Write what a person has corrected or completed on a card; return the card as it is now.

    `corrected` is the card with its `id`, and the revision that the person saw; of `details`, address and passport are
    written. `kept_numbers`: fields (`snils`, `policy`) whose former number was right in its time, and leads to the card
    from now on; another one is forgotten. `made_seen`: the studies (ids of orders) that a person saw to be made under
    the former data, and whose patient is the same for all that; None: no person was asked. Raise Stale if somebody has
    changed the card since, it was merged, or other studies were made under it; Invalid with the wrong fields, also for
    a number of somebody else, and (`contradicts_made`) where a person has to be asked; NotFound, Forbidden.
    """
    permit(tx, actor, Permission.AMEND)
    typed = patients.with_insurer_code(tx, referrals.normalise_patient(corrected))
    known = patients.chosen(tx, typed)
    if typed.revision not in (0, known.revision):
        raise Stale(f"patient {known.patient_id}")
    after = replace(typed, patient_id=known.patient_id, revision=known.revision)
    changed = cards.changes(known, after)
    _validate(known, after, details, clinic, tx)
    contradicted = _check_made(tx, known, after, made_seen)
    before = orders.of_patient(tx, known.stored_id)
    more = _write_details(tx, known, details) if details else {}
    if not changed and not more:
        return known
    if changed:
        table.update(tx, known.stored_id, after)
        is_same = "name" not in correction.contradictions(known, after)
        former_names.renamed(tx, known.stored_id, known.name, after.name, same_person=is_same)
        without_old_attributes(tx, before, after)
        _keep_numbers(tx, known, after, kept_numbers, actor, clinic)
        step_links.clear_conflicts(tx, [order.id for order in before], clinic)
        if contradicted:
            step_links.note_contradictions(tx, [order.id for order in before], actor, clinic)
        corrections.queue_for_orders(tx, before)
    seen: dict[str, Any] = (
        {"contradicts": list(contradicted), "made_seen": sorted(made_seen or ())} if contradicted else {}
    )
    audit.write(tx, actor, AuditAction.PATIENT_AMEND, patient=known.patient_id, changed={**changed, **more}, **seen)
    for order in before if changed else ():
        said = referrals.changed_fields(order, orders.require(tx, order.id))
        confirmed = {"confirmed": ", ".join(contradicted)} if contradicted and order.id in (made_seen or ()) else {}
        audit.write(tx, actor, AuditAction.PATIENT_AMEND, order.id, changed=said, **confirmed)
    tx.notify()
    found = table.get(tx, known.stored_id)
    assert found is not None
    return found


def _check_made(tx: Tx, known: Patient, after: Patient, made_seen: Collection[int] | None) -> tuple[str, ...]:
    """Return in which fields the card becomes another person's although something was made; empty if it does not."""
    contradicted = correction.contradictions(known, after)
    made = [each.order.id for each in made_studies.of_patients(tx, [known.stored_id])] if contradicted else []
    if made and made_seen is None:
        raise Invalid(correction.problems(contradicted))
    if made_seen is not None and contradicted and set(made_seen) != set(made):
        raise Stale(f"patient {known.patient_id}")
    return contradicted if made else ()


def _validate(known: Patient, after: Patient, details: PatientDetails | None, clinic: Clinic, tx: Tx) -> None:
    """Raise Invalid for what is wrong; what an import has left so, and was not touched, does not count."""
    today = clinic.local(tx.now).date()
    stays, changed = validation.patient_problems(known, today), cards.changes(known, after)
    problems = {
        field: code
        for field, code in validation.patient_problems(after, today).items()
        if field not in stays or field in changed
    }
    for field in ("address", "passport") if details else ():
        if len(getattr(details, field)) > LONGEST:
            problems[field] = "too_long"
    if problems:
        raise Invalid(problems)


def _keep_numbers(tx: Tx, known: Patient, after: Patient, kept: Collection[str], actor: Actor, clinic: Clinic) -> None:
    for field in NUMBERS:
        old, new = getattr(known, field), getattr(after, field)
        if old == new:
            continue
        if old and field in kept:
            former = FormerNumber(field, old, clinic.local(tx.now).date())
            patient_details.add_former_number(tx, known.stored_id, former, actor.title or actor.name)
        if new:
            patient_details.forget_former_number(tx, known.stored_id, field, new)
        external_studies.forget_lookup(tx, known.stored_id)  # the bus was not asked about this number


def _write_details(tx: Tx, known: Patient, details: PatientDetails) -> dict[str, tuple[str, str]]:
    """Write address and passport; return what has changed: field -> (before, after)."""
    before = patient_details.get(tx, known.stored_id)
    after = replace(before, address=names.tidy(details.address), passport=names.tidy(details.passport))
    if after == before:
        return {}
    patient_details.put(tx, known.stored_id, after)
    pairs = {field: (getattr(before, field), getattr(after, field)) for field in ("address", "passport")}
    return {field: pair for field, pair in pairs.items() if pair[0] != pair[1]}
