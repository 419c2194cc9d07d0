"""Cards of one person are merged and split again; two cards that look alike are declared to be two people's.

The merged card is kept as it was, but retired: its orders, external studies and card number are the surviving card's.
The trail of a merge lists what moved, so that it can be undone on any later day.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from broker.domain.actors import Actor
from broker.domain.audit import AuditAction
from broker.domain.clinic.settings import Clinic
from broker.domain.errors import Invalid, NotFound, Stale
from broker.domain.messages import CONSENT_WITHDRAWN
from broker.domain.orders import Order
from broker.domain.patients import patient_merge
from broker.domain.patients.details import combine
from broker.domain.patients.patient_match import NUMBERS
from broker.domain.patients.people import Patient
from broker.domain.studies import passthrough
from broker.domain.studies.performed import StepSource
from broker.security.permissions import Permission, permit
from broker.store.database import Row, Tx
from broker.store.queries.patients import patient_index
from broker.store.tables import audit, orders, outbox, undecided_orders, worklist
from broker.store.tables.patients import former_names, patient_details, patient_merges, similar_imports
from broker.store.tables.patients import patients as cards
from broker.store.tables.patients.patient_merges import Moved, PatientMerge
from broker.store.tables.studies import external_studies, performed_links
from broker.workflow import corrections
from broker.workflow.studies import order_status, received_objects, step_links

TWO_PEOPLE = "two_people"


def merge(
    tx: Tx,
    surviving_id: int,
    merged_id: int,
    chosen: Collection[str],
    revisions: tuple[int, int],
    actor: Actor,
    clinic: Clinic,
    *,
    order_ids: Collection[int] | None = None,
    knows_difference: bool = False,
) -> PatientMerge:
    """Merge a card into another one of the same person; return the trail.

    `chosen` are the fields (`patient_merge.FIELDS`) that the surviving card takes from the merged one, `revisions`
    those of the two cards that the person saw, `order_ids` the orders of both that were there then (None: not asked),
    `knows_difference`: the person saw that somebody has declared the cards to be two people's. The region's orders are
    corrected there as by an amendment. Raise Invalid (`snils` or `policy` is `two_people`; `patient` is `same_card` or
    `declared_different`), Stale where anything that the person saw has changed, NotFound, Forbidden.
    """
    permit(tx, actor, Permission.MERGE)
    if surviving_id == merged_id:
        raise Invalid({"patient": "same_card"})
    surviving, merged = _card(tx, surviving_id, revisions[0]), _card(tx, merged_id, revisions[1])
    if differing_numbers := patient_merge.differing_numbers(surviving, merged):
        raise Invalid(dict.fromkeys(differing_numbers, TWO_PEOPLE))
    if not knows_difference and merged_id in patient_merges.different(tx, surviving_id):
        raise Invalid({"patient": "declared_different"})
    present = [id for each in (surviving_id, merged_id) for id in patient_merges.order_ids(tx, each)]
    if order_ids is not None and set(order_ids) != set(present):
        raise Stale(f"patient {merged.patient_id}")
    result = patient_merge.combine(surviving, merged, chosen)
    before = _orders_of(tx, surviving_id, merged_id)
    changed = patient_merge.changes(surviving, result)
    former = {field: _out_of_force(surviving, merged, result, field) for field in NUMBERS}
    id = patient_merges.add(tx, surviving_id, merged_id, _name(actor), sorted(chosen), changed, former)
    if changed:
        cards.update(tx, surviving_id, result)
        former_names.renamed(tx, surviving_id, surviving.name, result.name)
    former_names.keep(tx, merged_id, merged.name)
    if any(field in changed for field in NUMBERS):
        external_studies.forget_lookup(tx, surviving_id)  # the bus was not asked about this number
    present_studies = tuple(external_studies.versions(tx, surviving_id))
    moved = Moved(
        present_orders=tuple(patient_merges.order_ids(tx, surviving_id)),
        orders=patient_merges.move_orders(tx, merged_id, surviving_id),
        external_studies=patient_merges.move_external_studies(tx, merged_id, surviving_id),
        present_studies=present_studies,
        details=_combine_details(tx, surviving_id, merged_id),
        replaced_studies=external_studies.take_final_states(tx, merged_id, surviving_id),
        attributes=without_old_attributes(tx, before, result),
    )
    moved = replace(moved, conflicts=step_links.clear_conflicts(tx, [order.id for order in before], clinic))
    patient_merges.set_moved(tx, id, moved)
    corrections.queue_for_orders(tx, before)
    _release_consented(tx, surviving_id)
    worklist.note_any_change(tx)  # the merged card's number leads to others' orders now
    similar_imports.review(tx, (surviving_id, merged_id))
    for order_id in undecided_orders.remove_where_one(tx):
        order_status.recompute_dispute(tx, orders.require(tx, order_id), clinic)
    _audit(tx, actor, AuditAction.PATIENT_MERGE, moved.orders, surviving, merged, fields=sorted(changed))
    tx.notify()
    return patient_merges.require(tx, id)


def undo_merge(
    tx: Tx,
    merge_id: int,
    actor: Actor,
    clinic: Clinic,
    *,
    revision: int | None = None,
    decided: Mapping[int, bool | None] | None = None,
) -> tuple[str, ...]:
    """Take two cards apart again: what moved then goes back, and of what was ordered since a person says whose it is.

    A field that the merge changed is as it was before, unless somebody has changed it since. `revision` is that of the
    surviving card as the person saw it, and `decided` what the person said of every order since
    (`patient_merges.later_orders`): True if it is of the person of the merged card, None if that is not known: it stays
    and waits until a person knows (`decide_order`), and nothing of it goes to the region. Return the numbers (`snils`,
    `policy`) that a card does not get back, because somebody else bears them by now. Raise Stale when it was undone
    already, the surviving card has changed, has other later orders, or was itself merged into another one since;
    Invalid (`orders` are `undecided`); NotFound, Forbidden.
    """
    permit(tx, actor, Permission.MERGE)
    trail = patient_merges.require(tx, merge_id)
    surviving_id, merged_id = trail.surviving_id, trail.merged_id
    surviving = cards.get(tx, surviving_id)
    if trail.undone_at is not None or surviving is None or cards.is_merged(tx, surviving_id):
        raise Stale(f"merge {merge_id}")
    if revision not in (None, surviving.revision):
        raise Stale(f"merge {merge_id}")
    mine, unknown = _decided(tx, trail, decided)
    before = _orders_of(tx, surviving_id)
    lost = _restore_cards(tx, trail, surviving)
    patient_merges.close(tx, trail.id, _name(actor))
    _restore_names(tx, trail)
    back = patient_merges.move_orders(tx, surviving_id, merged_id, (*trail.moved.orders, *mine))
    patient_merges.move_external_studies(tx, surviving_id, merged_id, trail.moved.external_studies)
    external_studies.restore_states(tx, merged_id, surviving_id, trail.moved.replaced_studies)
    external_studies.move_results(tx, surviving_id, merged_id, back)
    _forget_found_by_lost_number(tx, trail, surviving)
    _restore_attributes(tx, trail)
    _restore_details(tx, trail)
    _restore_conflicts(tx, trail, [order.id for order in before])
    received_objects.release_contradicting(tx, back, actor, confirmed_too=True)
    stayed = [order.id for order in before if order.id not in back]
    received_objects.release_contradicting(tx, stayed, actor, confirmed_too=False)
    undecided_orders.remove(tx, back)
    for id in unknown:
        undecided_orders.put(tx, id, surviving_id, merged_id)
        order_status.recompute_dispute(tx, orders.require(tx, id), clinic)
    corrections.queue_for_orders(tx, before)
    _release_consented(tx, surviving_id, merged_id)
    merged = cards.get(tx, merged_id)
    assert merged is not None
    worklist.note_any_change(tx)
    similar_imports.review(tx, (surviving_id, merged_id))
    said = {"decided": {str(id): is_merged for id, is_merged in decided.items()}} if decided else {}
    _audit(tx, actor, AuditAction.PATIENT_SPLIT, (*back, *unknown), surviving, merged, lost=list(lost), **said)
    tx.notify()
    return lost


def decide_order(tx: Tx, order_id: int, patient_id: int, actor: Actor, clinic: Clinic) -> Order:
    """Say of an order that waits for it whose it is: that of one of its two cards, which were taken apart.

    Raise NotFound, Stale if it waits no more, or not for this card, Forbidden.
    """
    permit(tx, actor, Permission.MERGE)
    order, found = orders.require(tx, order_id), undecided_orders.of_order(tx, order_id)
    if found is None or patient_id not in (found.one_id, found.other_id):
        raise Stale(f"order {order.accession_number}")
    stays, goes = (cards.get(tx, id) for id in (order.patient.stored_id, patient_id))
    assert stays is not None
    assert goes is not None
    undecided_orders.remove(tx, [order_id])
    if goes.id != stays.id:
        back = patient_merges.move_orders(tx, stays.stored_id, goes.stored_id, [order_id])
        external_studies.move_results(tx, stays.stored_id, goes.stored_id, back)
        step_links.note_contradictions(tx, [order_id], actor, clinic)
        corrections.queue_for_orders(tx, [order])
        worklist.note_any_change(tx)
    order_status.recompute_dispute(tx, orders.require(tx, order_id), clinic)
    other = found.one_id if goes.id == found.other_id else found.other_id
    audit.write(
        tx, actor, AuditAction.ORDER_DECIDED, order_id, patient=goes.patient_id, other=_card(tx, other).patient_id
    )
    tx.notify()
    return orders.require(tx, order_id)


def _decided(
    tx: Tx, trail: PatientMerge, decided: Mapping[int, bool | None] | None
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return which orders since a merge are the merged card's, and of which that is not known.

    Raise Stale, Invalid unless something was said of all.
    """
    later = patient_merges.later_orders(tx, trail)
    if decided is not None and (others := set(decided) - set(later)):
        raise Stale(f"orders {sorted(others)}")
    if set(later) - set(decided or ()):
        raise Invalid({"orders": "undecided"})
    said = decided or {}
    return tuple(id for id in later if said[id]), tuple(id for id in later if said[id] is None)


def declare_different(tx: Tx, one_id: int, other_id: int, actor: Actor) -> None:
    """Record that two cards are two people's: neither is offered again as similar to the other.

    Raise Invalid, Stale, NotFound, Forbidden.
    """
    permit(tx, actor, Permission.MERGE)
    if one_id == other_id:
        raise Invalid({"patient": "same_card"})
    one, other = _card(tx, one_id), _card(tx, other_id)
    if patient_merges.declare_different(tx, one_id, other_id, _name(actor)):
        _audit(tx, actor, AuditAction.PATIENT_DIFFERENT, (), one, other)
    similar_imports.review(tx, (one_id, other_id))
    tx.notify()


def _card(tx: Tx, id: int, revision: int | None = None) -> Patient:
    found = cards.get(tx, id)
    if found is None:
        raise NotFound(f"patient {id}")
    if cards.is_merged(tx, id) or revision not in (None, found.revision):
        raise Stale(f"patient {found.patient_id}")
    return found


def _orders_of(tx: Tx, *patient_ids: int) -> list[Order]:
    return orders.get_many(tx, [id for each in patient_ids for id in patient_merges.order_ids(tx, each)])


def _combine_details(tx: Tx, surviving_id: int, merged_id: int) -> tuple[Row, Row] | None:
    """Let the surviving card say what both say beside the data; return it before and after, None if nothing changed."""
    before = patient_details.get(tx, surviving_id)
    after = combine(before, patient_details.get(tx, merged_id))
    if after == before:
        return None
    patient_details.put(tx, surviving_id, after)
    return patient_details.to_row(before), patient_details.to_row(after)


def _restore_details(tx: Tx, trail: PatientMerge) -> None:
    """Take back what the merge has changed of the surviving card's details, where no person has changed it since."""
    if trail.moved.details is None:
        return
    before, after = trail.moved.details
    present = patient_details.to_row(patient_details.get(tx, trail.surviving_id))
    consent = ("consent_on", "consent_withdrawn_on")
    for names in (("address",), ("passport",), consent):
        if all(present[name] == after[name] for name in names):
            present |= {name: before[name] for name in names}
    patient_details.put(tx, trail.surviving_id, patient_details.from_row(present))


def _release_consented(tx: Tx, *patient_ids: int) -> None:
    """Let go on what has waited for the consent of patients who have not withdrawn it."""
    for id in patient_ids:
        if not patient_details.get(tx, id).is_consent_withdrawn:
            outbox.release_patient(tx, id, CONSENT_WITHDRAWN)


def _out_of_force(surviving: Patient, merged: Patient, result: Patient, field: str) -> str:
    """Return the number that one of the cards has and the result has not; "" if there is none."""
    values = (str(getattr(each, field)) for each in (merged, surviving))
    return next((each for each in values if each and each != getattr(result, field)), "")


def without_old_attributes(
    tx: Tx, before: Iterable[Order], result: Patient
) -> tuple[tuple[int, dict[str, object], dict[str, object]], ...]:
    """Delete what imports said of the patient and is not so any more; return (order, before, after) of what changed."""
    changed = []
    for order in before:
        gone = [(passthrough.TOP, keyword) for keyword in passthrough.outdated_by_patient(order.patient, result)]
        left = passthrough.without(order.attributes, gone)
        if left != order.attributes:
            orders.set_attributes(tx, order.id, left)
            changed.append((order.id, order.attributes, left))
    return tuple(changed)


# ---- what was performed ----


def _restore_conflicts(tx: Tx, trail: PatientMerge, order_ids: Sequence[int]) -> None:
    """Note again what contradicts the patient in what was done for these orders, also in what came since the merge.

    What is doubtful again does not go out.
    """
    cleared = {(step_id, scheduled_id): (old, new) for step_id, scheduled_id, old, new in trail.moved.conflicts}
    for link in performed_links.links_of_orders(tx, order_ids):
        present = ", ".join(link.conflict)
        old, new = cleared.get((link.step.stored_id, link.scheduled_step_id), ("", ""))
        if old and present == new:
            conflict = old
        elif not present and link.at >= trail.at and link.step.source is not StepSource.MANUAL:
            conflict = ", ".join(_contradictions(tx, link))
        else:
            continue
        if conflict:
            performed_links.set_conflict(tx, link.step.stored_id, link.scheduled_step_id, conflict)
            order_status.withdraw_results(tx, link.order_id)


def _contradictions(tx: Tx, link: performed_links.StepLink) -> list[str]:
    return patient_index.contradictions_of(tx, orders.require(tx, link.order_id).patient, link.step)


# ---- the cards ----


def _restore_cards(tx: Tx, trail: PatientMerge, surviving: Patient) -> tuple[str, ...]:
    """Put both cards back; return the numbers that one of them does not get back."""
    later = [each for each in patient_merges.open_merges(tx, trail.surviving_id) if each.id > trail.id]
    changes = [dict(each.changed) for each in later]
    allergies = surviving.allergies
    if patient_merge.JOINED in trail.changed:
        before, after = (str(each) for each in trail.changed[patient_merge.JOINED])
        since = [(changed, str(each.card["allergies"])) for each, changed in zip(later, changes, strict=True)]
        allergies = patient_merge.take_back_allergies(allergies, before, after, since)
    restored = replace(patient_merge.take_back(surviving, trail.changed, changes), allergies=allergies)
    for each, changed in zip(later, changes, strict=True):
        if changed != each.changed:
            patient_merges.set_changed(tx, each.id, changed)
    lost = []
    for field in NUMBERS:
        number = getattr(restored, field)
        owner = cards.find_by(tx, field, number) if number else None
        if owner is not None and owner.id != surviving.id:
            restored = patient_merge.with_values(restored, {field: ""})
            lost.append(field)
    if restored != surviving:
        cards.update(tx, surviving.stored_id, restored)
    numbers = {field: str(trail.card[field] or "") for field in NUMBERS}
    taken = [field for field, number in numbers.items() if number and cards.find_by(tx, field, number)]
    patient_merges.reinstate(tx, trail, {field: numbers[field] for field in NUMBERS if field not in taken})
    return tuple(dict.fromkeys([*lost, *taken]))


def _restore_names(tx: Tx, trail: PatientMerge) -> None:
    """Forget the former names that are in force again; the merged card's name leads to that card alone."""
    for id in (trail.surviving_id, trail.merged_id):
        card = cards.get(tx, id)
        assert card is not None
        former_names.forget(tx, id, card.name)
    former_names.forget(tx, trail.surviving_id, cards.from_row(trail.card).name)


def _restore_attributes(tx: Tx, trail: PatientMerge) -> None:
    """Put back what imports said of the patient; where a later merge has deleted more, its undo will."""
    later = [each for each in patient_merges.open_merges(tx, trail.surviving_id) if each.id > trail.id]
    for order_id, old, new in trail.moved.attributes:
        order = orders.get(tx, order_id)
        if order is not None and order.attributes == new:
            orders.set_attributes(tx, order_id, old)
            continue
        for each in later:
            if any((id, before) == (order_id, new) for id, before, _ in each.moved.attributes):
                attributes = tuple(
                    (id, old if (id, before) == (order_id, new) else before, after)
                    for id, before, after in patient_merges.require(tx, each.id).moved.attributes
                )
                patient_merges.set_moved(tx, each.id, replace(each.moved, attributes=attributes))
                break


def _forget_found_by_lost_number(tx: Tx, trail: PatientMerge, before: Patient) -> None:
    """Delete the earlier studies that the bus has returned since the merge, if the card has lost a number by now.

    They may be the other person's. Those of the number that it keeps are asked for again.
    """
    present = cards.get(tx, trail.surviving_id)
    assert present is not None
    if any(getattr(before, field) not in ("", getattr(present, field)) for field in NUMBERS):
        external_studies.forget_others(tx, trail.surviving_id, trail.moved.present_studies)
        external_studies.forget_lookup(tx, trail.surviving_id)


# ---- the region, and the trail ----


def _audit(
    tx: Tx,
    actor: Actor,
    action: AuditAction,
    order_ids: Iterable[int],
    surviving: Patient,
    merged: Patient,
    **details: Any,
) -> None:
    patient, other = surviving.patient_id, merged.patient_id
    audit.write(tx, actor, action, patient=patient, other=other, **details)
    for order_id in order_ids:
        audit.write(tx, actor, action, order_id, patient=patient, other=other)


def _name(actor: Actor) -> str:
    return actor.title or actor.name
