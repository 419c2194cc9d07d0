"""Finds the patient of a referral, or adds one; two patients never become one.

Called inside the transactions of the use cases that register and amend, which have checked the permission. What is
imported is for `imported_patients`.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from broker.domain.clinic.directory import search_key
from broker.domain.errors import Invalid, NotFound, Stale
from broker.domain.orders import OrderState
from broker.domain.patients import correction, identity, incomplete, names, patient_match
from broker.domain.patients.identifiers import is_insurer_code
from broker.domain.patients.patient_match import NUMBERS, Likeness, PatientMatch
from broker.domain.patients.people import Patient
from broker.domain.studies import passthrough
from broker.store.database import Tx
from broker.store.queries.patients import made_studies, patient_index
from broker.store.tables import directories, orders, outbox
from broker.store.tables.patients import former_names, patient_merges, patients
from broker.workflow import corrections, numbering


def save(tx: Tx, typed: Patient, *, other_than: Collection[int] | None = None, amended: int | None = None) -> Patient:
    """Find the patient of a referral, or add a new one, and write what has changed.

    `typed.id` is that of a chosen patient, or None if one is to be matched. `other_than`: the ids of the patients whom
    a person was shown and has said not to be this one; None if no person was asked. `amended`: the id of the order that
    is being amended, whose use case sends the region what the others need; otherwise that is done here. Raise NotFound,
    Invalid (another patient's number, several matching patients, a similar one who was not shown; data that make
    another person of a card under which studies were made, or which has other orders: that is done on the card, see
    `patient_correction`), Stale if a chosen patient has changed since, or the card was merged.
    """
    typed = with_insurer_code(tx, patients.with_current_number(tx, typed))
    if typed.id is not None:
        known, is_former = chosen(tx, typed), False
    else:
        found = _found(tx, typed, other_than)
        if found is None:
            return add(tx, typed)
        known, is_former = found
    if is_former:
        former = patient_merges.former_data(tx, [known.stored_id])[known.stored_id]
        merged = identity.complete(known, typed, former)
    else:
        merged = identity.merge(known, typed)
    if merged != known:
        if wrong := other_person_problems(tx, known, merged, amended):
            raise Invalid(wrong)
        others = (
            orders.of_patient(tx, known.stored_id) if amended is None and _has_other_description(known, merged) else []
        )
        patients.update(tx, known.stored_id, merged)
        keep_name(tx, known, merged)
        orders.forget(tx, known.stored_id, passthrough.outdated_by_patient(known, merged))
        outbox.resume_patient(tx, known.stored_id)
        # Other clinics get corrections only: a completion alone is no reason to place a referral again.
        is_corrected = bool(patient_match.contradictions(known, merged))
        corrections.queue_for_orders(tx, [each for each in others if is_corrected or not each.owner])
    return merged


def with_insurer_code(tx: Tx, typed: Patient) -> Patient:
    """Return a patient with the insurer's code where its name is stated, and one of the directory has that name."""
    if not typed.insurer or is_insurer_code(typed.insurer):
        return typed
    stated = search_key(typed.insurer)
    bearing = [
        each.code
        for each in directories.entries(tx, "insurers")
        if stated in (search_key(each.name), search_key(each.details.get("full", "")))
    ]
    return replace(typed, insurer=bearing[0]) if len(bearing) == 1 else typed


def add(tx: Tx, patient: Patient) -> Patient:
    """Add a new patient; what stands in the place of a name gets a number where two could not be kept apart."""
    number = patient.patient_id or numbering.patient_id(tx)
    is_taken = not names.identifies(patient.name) and patients.is_name_taken(tx, patient.name)
    name = incomplete.numbered(patient.name, number, is_taken=is_taken)
    numbered = replace(patient, patient_id=number, name=name)
    return replace(numbered, id=patients.add(tx, numbered, number), revision=1)


def chosen(tx: Tx, typed: Patient) -> Patient:
    """Return the stored patient who was chosen; raise as `save` does."""
    known = patients.get(tx, typed.stored_id)
    if known is None:
        raise NotFound(f"patient {typed.id}")
    if patients.is_merged(tx, known.stored_id):
        raise Stale(f"patient {known.patient_id}")
    values = ((field, getattr(typed, field)) for field in NUMBERS)
    owners = {field: patients.find_by(tx, field, value) for field, value in values if value}
    if foreign := [field for field, owner in owners.items() if owner and owner.id != known.id]:
        raise Invalid(dict.fromkeys(foreign, "other_patient"))
    if typed.revision not in (0, known.revision) and typed != known:
        raise Stale(f"patient {known.patient_id}")
    return known


def other_person_problems(tx: Tx, known: Patient, after: Patient, amended: int | None = None) -> dict[str, str]:
    """Return by which fields a card would become another person's together with what it has; empty if by none.

    It has what was made under it, and its orders that are not cancelled, but for the `amended` one: they would follow
    unseen.
    """
    contradicted = correction.contradictions(known, after)
    if not contradicted:
        return {}
    if made_studies.of_patients(tx, [known.stored_id]):
        return correction.problems(contradicted)
    others = [each for each in orders.of_patient(tx, known.stored_id) if each.id != amended]
    if all(each.state is OrderState.CANCELLED for each in others):
        return {}
    return correction.problems(contradicted, correction.CONTRADICTS_OTHERS)


def keep_name(tx: Tx, known: Patient, now: Patient) -> None:
    """Keep the name that a card had before, if it has another one now."""
    is_same = "name" not in correction.contradictions(known, now)
    former_names.renamed(tx, known.stored_id, known.name, now.name, same_person=is_same)


def _has_other_description(known: Patient, now: Patient) -> bool:
    """Return True if what identifies a patient in the region is another now; not for a weight or a phone number."""
    return any(getattr(known, field) != getattr(now, field) for field in ("name", "birth_date", "sex", *NUMBERS))


def _found(tx: Tx, typed: Patient, other_than: Collection[int] | None) -> tuple[Patient, bool] | None:
    """Return who is described, and True if only by the card's former data; None for a new patient."""
    found = patient_index.match(tx, typed)
    refused = {patients.surviving_id(tx, id) for id in other_than or ()}  # cards may have been merged meanwhile
    is_refused = all(each.id in refused for each in found.patients)
    if found.likeness is Likeness.CONTRADICTORY:
        if found.former and is_refused:
            return None  # the number is in force for no patient, and its bearer is another person
        raise Invalid(dict.fromkeys(_bearing(found, typed), "other_patient"))
    if found.likeness is Likeness.SEVERAL and not is_refused:
        raise Invalid({"patient": "several"})
    if found.likeness is Likeness.SIMILAR and other_than is not None and not is_refused:
        raise Invalid({"patient": "similar"})
    if found.patient is None:
        return None
    # A number in force decides, whatever was answered; else who was registered meanwhile was not answered about.
    is_numbered = bool(patient_match.shared_numbers(typed, found.patient))
    return None if is_refused and not is_numbered else (found.patient, found.former)


def _bearing(found: PatientMatch, typed: Patient) -> list[str]:
    """Return the typed numbers that belong to those found; where it is only one of them, its first number."""
    shared = [patient_match.shared_numbers(typed, each) for each in found.patients]
    fields = [field for field in (*NUMBERS, "patient_id") if any(field in each for each in shared)]
    if not fields:  # numbers that are no longer in force
        fields = [field for field in NUMBERS if getattr(typed, field)]
    return fields if len(found.patients) > 1 else fields[:1]
