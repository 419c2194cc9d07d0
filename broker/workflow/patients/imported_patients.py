"""Finds the patient of an imported item, or adds one: worklist files, tables and JSON by one rule.

A number decides: the card number, СНИЛС, policy. A card number that is not known here is another card, although one
has the same name, birth date and sex, unless another number leads to the card. What contradicts a number is refused. A
new patient who is similar to one of ours is taken, for the day must go on, and noted until a person has looked. Called
inside the transactions of the use cases that import, which have checked the permission.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from broker.domain.actors import Actor
from broker.domain.audit import AuditAction
from broker.domain.clinic.settings import Clinic
from broker.domain.errors import Refused
from broker.domain.import_result import ImportPlace
from broker.domain.patients import correction, identity, names, patient_match, patient_merge
from broker.domain.patients.identifiers import is_card_placeholder
from broker.domain.patients.patient_match import NUMBERS, Likeness, PatientMatch, SimilarCard
from broker.domain.patients.people import Patient
from broker.domain.studies import passthrough
from broker.store.database import Tx
from broker.store.queries.patients import patient_index
from broker.store.tables import audit, orders, outbox
from broker.store.tables.patients import patient_merges, patients, similar_imports
from broker.workflow import corrections
from broker.workflow import patient_merge as merges
from broker.workflow.patients import patients as typed_patients

# What `identity.difference` says -> reason of a refusal.
_OTHER = {"date of birth": "other_birth_date", "sex": "other_sex", "name": "other_name"}


@dataclass(frozen=True, slots=True)
class ImportedPatient:
    """The patient of an imported item, and other cards that may be the same person's, where a person has to look."""

    patient: Patient
    similar: tuple[SimilarCard, ...] = ()


def save(
    tx: Tx, imported: Patient, place: ImportPlace, actor: Actor, clinic: Clinic, current: Patient | None = None
) -> ImportedPatient:
    """Find the patient of an item, or add a new one; fill in what was not known.

    `current` is the patient of the order that came of the item's earlier content. Under the same Patient ID, birth date
    and sex, a completed patronymic or a changed family name is taken over, and so is the name of somebody who had none;
    both are noted. Raise Refused.
    """
    if is_card_placeholder(imported.patient_id):
        imported = replace(imported, patient_id="")
    known, is_former = _find(tx, imported, current)
    if known is None:
        added = typed_patients.add(tx, imported)
        return _noted(tx, added, _alike(tx, added, imported), place)
    if imported.patient_id and patients.find_by(tx, "patient_id", imported.patient_id) is None:
        known = _keep_number(tx, known, imported, actor, clinic)
    if is_former:
        former = patient_merges.former_data(tx, [known.stored_id]).get(known.stored_id, [])
        filled = identity.complete(known, imported, former, replaces_changing=False)
    else:
        filled = identity.fill_in(known, imported)
    if filled == known:
        return ImportedPatient(known)
    if fields := correction.contradictions(known, filled):
        text = f"the Patient ID {known.patient_id} belongs to a patient with another {fields[0].replace('_', ' ')} here"
        raise Refused(text, f"other_{fields[0]}", known.patient_id)
    before = orders.of_patient(tx, known.stored_id)
    patients.update(tx, known.stored_id, filled)
    typed_patients.keep_name(tx, known, filled)
    is_named = names.identifies(filled.name) and not names.identifies(known.name)
    if is_named:  # no order answers with what stood in the place of the name
        orders.forget(tx, known.stored_id, passthrough.outdated_by_patient(known, filled))
    corrections.queue_for_orders(tx, before)
    changed = patient_merge.changes(known, filled)
    audit.write(tx, actor, AuditAction.PATIENT_AMEND, patient=known.patient_id, changed=changed)
    outbox.resume_patient(tx, known.stored_id)
    after = replace(filled, revision=known.revision + 1)
    return _noted(tx, after, patient_index.similar_cards(tx, after) if is_named else (), place)


def _find(tx: Tx, imported: Patient, current: Patient | None) -> tuple[Patient | None, bool]:
    """Return whose an item is, None for a new patient; and True if only what the card was before is described."""
    if imported.patient_id and (known := patients.find_by(tx, "patient_id", imported.patient_id)):
        return known, _is_former_of_number(tx, imported, known)
    if current and not imported.patient_id:
        if not _is_named(imported, current) and _is_former(tx, current, imported):
            return current, True
        if not identity.difference(replace(imported, patient_id=current.patient_id), current):
            return current, False  # the item's numbers are the order's
    found = patient_index.match(tx, imported)
    if found.likeness is Likeness.CONTRADICTORY:
        raise _number_of_another(found.patients[0], found)
    if imported.patient_id and not _is_numbered(tx, imported, found):
        return None, False
    if found.likeness is Likeness.SEVERAL:
        text = "several patients here have this name, date of birth and sex: the item needs a Patient ID"
        raise Refused(text, "several_patients")
    return found.patient, found.former


def _is_former_of_number(tx: Tx, imported: Patient, known: Patient) -> bool:
    """Return True if an item with this patient's card number describes what the card was before; raise Refused."""
    if _is_former(tx, known, imported):
        return True  # a script goes on writing what the merged card said; people have chosen what holds
    found = patient_index.match(tx, imported)
    others = [each for each in found.patients if each.id != known.id]
    is_contradictory = found.likeness is Likeness.CONTRADICTORY
    if is_contradictory and others:
        raise _number_of_another(others[0], found)
    if found.patient and found.former:
        return True
    if is_contradictory and any(field in NUMBERS for field in found.fields):
        text = f"the Patient ID {known.patient_id} belongs to a patient with another number here"
        raise Refused(text, "other_number", known.patient_id)
    difference = identity.difference(replace(imported, patient_id=known.patient_id), known)
    if difference and not identity.completes(known, imported):
        text = f"the Patient ID {known.patient_id} belongs to a patient with another {difference} here"
        raise Refused(text, _OTHER[difference], known.patient_id)
    return False


def _number_of_another(other: Patient, found: PatientMatch) -> Refused:
    text = f"a number of this patient belongs to somebody here who differs in {', '.join(found.fields)}"
    return Refused(text, "number_of_another", other.patient_id)


def _is_numbered(tx: Tx, imported: Patient, found: PatientMatch) -> bool:
    """Return True if a СНИЛС or policy leads to the patient who was found, also one that is no longer in force."""
    if found.patient is None:
        return False
    former = patient_merges.former_data(tx, [found.patient.stored_id]).get(found.patient.stored_id, [])
    return any(patient_match.shared_numbers(imported, each) for each in (found.patient, *former))


def _keep_number(tx: Tx, known: Patient, imported: Patient, actor: Actor, clinic: Clinic) -> Patient:
    """Let another card number lead to a patient from now on, as that of a card that was merged into theirs."""
    other = typed_patients.add(tx, replace(imported, snils="", policy=""))
    merges.merge(tx, known.stored_id, other.stored_id, (), (known.revision, other.revision), actor, clinic)
    return patients.get(tx, known.stored_id) or known


def _alike(tx: Tx, added: Patient, imported: Patient) -> list[SimilarCard]:
    """Return the cards that may be a new patient's as well, also as they were before."""
    found = patient_index.similar_cards(tx, added)
    described = patient_index.match(tx, replace(imported, patient_id=""))
    before = [] if described.likeness is Likeness.SIMILAR else described.patients
    seen = {added.id, *(each.patient.id for each in found)}
    return [*found, *(SimilarCard(each, None) for each in before if each.id not in seen)]


def _noted(tx: Tx, patient: Patient, similar: Iterable[SimilarCard], place: ImportPlace) -> ImportedPatient:
    found = tuple(similar)
    similar_imports.put(tx, patient.stored_id, [each.patient.stored_id for each in found], place)
    if found:
        tx.notify()
    return ImportedPatient(patient, found)


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
