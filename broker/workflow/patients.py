"""Finds the patient of a referral or an imported item, or adds one; two patients never become one.

Called inside the transactions of the use cases that register, amend and import, which have checked the permission.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from broker.domain.actors import Actor
from broker.domain.audit import AuditAction
from broker.domain.errors import Invalid, NotFound, Refused, Stale
from broker.domain.patients import correction, identity, incomplete, names, patient_match, patient_merge
from broker.domain.patients.patient_match import NUMBERS, Likeness, PatientMatch
from broker.domain.patients.people import Patient
from broker.domain.studies import passthrough
from broker.store.database import Tx
from broker.store.queries.patients import made_studies, patient_index
from broker.store.tables import audit, orders, outbox, patient_merges, patients
from broker.workflow import corrections, numbering

# What `identity.difference` says -> reason of a refusal.
_OTHER = {"date of birth": "other_birth_date", "sex": "other_sex", "name": "other_name"}


def save(tx: Tx, typed: Patient, *, other_than: Collection[int] | None = None, amends_others: bool = True) -> Patient:
    """Find the patient of a referral, or add a new one, and write what has changed.

    `typed.id` is that of a chosen patient, or None if one is to be matched. `other_than`: the ids of the patients whom
    a person was shown and has said not to be this one; None if no person was asked. With `amends_others`,
    the region gets amendments of the patient's other orders, where they need some. Raise NotFound, Invalid (another
    patient's number, several matching patients, a similar one who was not shown; data that make another person of a
    card under which studies were made: that is done on the card, see `patient_correction`), Stale if a chosen patient
    has changed since, or the card was merged.
    """
    typed = patients.with_current_number(tx, typed)
    if typed.id is not None:
        known, is_former = chosen(tx, typed), False
    else:
        found = _found(tx, typed, other_than)
        if found is None:
            number = typed.patient_id or numbering.patient_id(tx)
            return _add(tx, replace(typed, patient_id=number, name=incomplete.numbered(typed.name, number)))
        known, is_former = found
    if is_former:
        former = patient_merges.former_data(tx, [known.stored_id])[known.stored_id]
        merged = identity.complete(known, typed, former)
    else:
        merged = identity.merge(known, typed)
    if merged != known:
        _check_made(tx, known, merged)
        others = (
            orders.of_patient(tx, known.stored_id) if amends_others and _has_other_description(known, merged) else []
        )
        patients.update(tx, known.stored_id, merged)
        orders.forget(tx, known.stored_id, passthrough.outdated_by_patient(known, merged))
        outbox.resume_patient(tx, known.stored_id)
        # Other clinics get corrections only: a completion alone is no reason to place a referral again.
        is_corrected = bool(patient_match.contradictions(known, merged))
        corrections.queue_for_orders(tx, [each for each in others if is_corrected or not each.owner])
    return merged


def save_imported(tx: Tx, imported: Patient, current: Patient | None, actor: Actor) -> Patient:
    """Find the patient of a script's worklist item, or add a new one; fill in what was not known.

    `current` is the patient of the order that came of the item's earlier content. Under the same Patient ID, birth date
    and sex, a completed patronymic or a changed family name is taken over, and noted. Raise Refused.
    """
    if imported.patient_id:
        known = patients.find_by(tx, "patient_id", imported.patient_id)
        if known and _is_former(tx, known, imported):
            return known  # a script goes on writing what the merged card said; people have chosen what holds
    elif current and not _is_named(imported, current) and _is_former(tx, current, imported):
        return current
    elif current and not identity.difference(imported, current):
        known = current
    else:
        known, is_former = _described(tx, imported)
        if known and is_former:
            return known
    if known is None:
        return _add(tx, imported)
    if difference := identity.difference(imported, known):
        text = f"the Patient ID {known.patient_id} belongs to a patient with another {difference} here"
        raise Refused(text, _OTHER[difference], known.patient_id)
    filled = identity.fill_in(known, imported)
    if filled == known:
        return known
    before = orders.of_patient(tx, known.stored_id)
    patients.update(tx, known.stored_id, filled)
    corrections.queue_for_orders(tx, before)
    changed = patient_merge.changes(known, filled)
    audit.write(tx, actor, AuditAction.PATIENT_AMEND, patient=known.patient_id, changed=changed)
    outbox.resume_patient(tx, known.stored_id)
    return replace(filled, revision=known.revision + 1)


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


def _check_made(tx: Tx, known: Patient, merged: Patient) -> None:
    """Raise Invalid where a referral would make another person of a card under which something was made."""
    contradicted = correction.contradictions(known, merged)
    if contradicted and made_studies.of_patients(tx, [known.stored_id]):
        raise Invalid(correction.problems(contradicted))


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


def _described(tx: Tx, imported: Patient) -> tuple[Patient | None, bool]:
    """Return who is described, or None, and True if only by the card's former data."""
    found = patient_index.match(tx, imported)
    if found.likeness is Likeness.SEVERAL:
        text = "several patients here have this name, date of birth and sex: the item needs a Patient ID"
        raise Refused(text, "several_patients")
    if found.likeness is Likeness.CONTRADICTORY:
        differ = ", ".join(found.fields)
        text = f"a number of this patient belongs to somebody here who differs in {differ}"
        raise Refused(text, "number_of_another", found.patients[0].patient_id)
    return found.patient, found.former


def _is_former(tx: Tx, known: Patient, imported: Patient) -> bool:
    """Return True for a person as a card has them that was merged into the known patient's."""
    former = patients.merged_cards(tx, known.stored_id)
    return any(
        imported.patient_id in ("", each.patient_id) and not identity.difference(imported, each) for each in former
    )


def _is_named(imported: Patient, current: Patient) -> bool:
    """Return True for a person as the card has them now: the same full name, and nothing that differs."""
    same = names.fold(str(imported.name)) == names.fold(str(current.name))
    return same and not identity.difference(imported, current)


def _add(tx: Tx, patient: Patient) -> Patient:
    number = patient.patient_id or numbering.patient_id(tx)
    return replace(patient, id=patients.add(tx, patient, number), patient_id=number, revision=1)
