"""The patient index: who of ours somebody is who was described, not chosen."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from broker.domain.patients import identity, latin_typing, names, patient_match
from broker.domain.patients.patient_match import PatientMatch, SimilarCard
from broker.domain.patients.people import Patient
from broker.domain.studies.performed import PerformedStep
from broker.store.database import Reader
from broker.store.queries.patients import patient_search
from broker.store.tables.patients import former_names, patient_merges, patients

_MOST_SPELLED = 200  # people with a name in the other alphabet; with the same birth date everybody is looked at


def match(reader: Reader, person: Patient) -> PatientMatch:
    """Return who of ours a person is; see `domain.patients.patient_match` for the rules.

    For a stored person (`person.id`), cards that were declared to be another person's are not similar.
    """
    person = patients.with_current_number(reader, person)
    different = patient_merges.different(reader, person.id) if person.id is not None else frozenset()
    known = [
        *patients.candidates(reader, person),
        *patient_merges.former_bearers(reader, person),
        *_spelled_otherwise(reader, person),
    ]
    former = patient_merges.former_data(reader, {each.stored_id for each in known})
    return patient_match.match(person, known, different, former)


def similar_cards(reader: Reader, patient: Patient) -> list[SimilarCard]:
    """Return the other cards that may be this patient's, with the reasons, and without those that are not."""
    found = [*patients.candidates(reader, patient), *_spelled_otherwise(reader, patient)]
    others = list({each.id: each for each in found if each.id != patient.id}.values())
    return patient_match.similar_cards(patient, others, patient_merges.different(reader, patient.stored_id))


def _spelled_otherwise(reader: Reader, person: Patient) -> list[Patient]:
    """Return those whose name may be this one in the other alphabet, whatever their birth date.

    A Latin name is looked up as the search does, a Cyrillic one by every way to write it.
    """
    name = person.name
    if not (names.stated(name.family) and names.stated(name.given) and names.identifies(name)):
        return []
    short = f"{name.family} {name.given}"
    if not (names.is_cyrillic(name.family) and names.is_cyrillic(name.given)):
        found = patient_search.search(reader, short, _MOST_SPELLED).patients
        return [each for each in found if names.is_cyrillic(str(each.name))]
    return _in_latin(reader, names.fold(name.family), names.fold(name.given))


def _in_latin(reader: Reader, family: str, given: str) -> list[Patient]:
    """Return those whose card has these names in Latin letters, by any of the usual ways to write them."""

    def is_known(beginning: str) -> bool:
        sql = "SELECT 1 FROM patient WHERE name_key >= :low AND name_key < :high LIMIT 1"
        return bool(reader.rows(sql, {"low": beginning, "high": beginning + patients.PREFIX_END}))

    found = [
        patients.from_row(row)
        for spelled in latin_typing.latin_beginnings(family, is_known, names.NAME_LENGTH)
        for row in reader.rows(
            "SELECT * FROM patient WHERE name_key > :family || ' ' AND name_key < :family || '!'"
            " AND merged_into IS NULL LIMIT :limit",
            {"family": spelled, "limit": _MOST_SPELLED},
        )
    ]
    return [each for each in found if latin_typing.has_word(names.fold(each.name.given), given)]


def contradictions_of(reader: Reader, patient: Patient, step: PerformedStep) -> list[str]:
    """Return in which fields the patient of a performed step contradicts ours, as `contradictions` does."""
    reported = step.patient_name, step.patient_id, step.patient_birth_date, step.patient_sex
    return contradictions(reader, patient, *reported)


def contradictions(
    reader: Reader, patient: Patient, name: str, patient_id: str, birth_date: str, sex: str = ""
) -> list[str]:
    """Return in which fields the patient that a device or an archive names contradicts ours, with all of their cards.

    The values are those of `identity.contradictions`. The card number of another patient of ours contradicts whatever
    the name: namesakes differ in nothing else.
    """
    found = identity.contradictions(patient, name, patient_id, birth_date, sex)
    if found:
        found = identity.contradictions_of_cards(cards(reader, patient), name, patient_id, birth_date, sex)
    if "patient_id" not in found and foreign_ids(reader, patient, [patient_id]):
        found.append("patient_id")
    return found


def walk_in_contradictions(
    reader: Reader, patient: Patient, name: str, patient_id: str, birth_date: str, sex: str = ""
) -> list[str]:
    """Return in which fields the patient of a study without an order contradicts the one who is registered for it.

    A number that a device made up for somebody who was not on its list contradicts nothing; another card's does.
    """
    found = contradictions(reader, patient, name, patient_id, birth_date, sex)
    is_foreign = bool(foreign_ids(reader, patient, [patient_id]))
    return [field for field in found if field != "patient_id" or is_foreign]


def cards(reader: Reader, patient: Patient) -> tuple[Patient, ...]:
    """Return a patient's card, and what it was before; of a patient who was only typed, what was typed."""
    return (patient, *(former_cards(reader, patient) if patient.id is not None else ()))


def former_cards(reader: Reader, patient: Patient) -> tuple[Patient, ...]:
    """Return the cards that were merged into a patient's, and the patient by the names that the card had before.

    Devices and the archive have what was made before a marriage under the former name.
    """
    merged = patients.merged_cards(reader, patient.stored_id)
    named = former_names.of_cards(reader, [patient.stored_id], same_person=True)
    return (*merged, *(replace(patient, name=name) for name in named if names.identifies(name)))


def foreign_ids(reader: Reader, patient: Patient, patient_ids: Iterable[str]) -> frozenset[str]:
    """Return those of these Patient IDs that are the card numbers of other patients of ours."""
    owners = {id: patients.find_by(reader, "patient_id", id) for id in patient_ids if id}
    return frozenset(id for id, owner in owners.items() if owner is not None and owner.id != patient.id)
