"""A referral and a study in the archive side by side, in words. Pure; it draws nothing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime

from broker.domain.orders import Order
from broker.domain.patients import identity, names
from broker.domain.patients.people import Patient, Sex
from broker.domain.studies import archive, passthrough
from broker.domain.studies.archive import ArchiveStudy, DiscrepancyKind
from ui.text import words
from ui.text.archive import LONGEST
from ui.text.referral_fields import SEXES


@dataclass(frozen=True, slots=True)
class ComparedRow:
    """One trait: what the referral says, what the archive says, and whether that fits (None: it says nothing)."""

    name: str
    ours: str
    theirs: str
    verdict: str
    fits: bool | None


_UID = "UID исследования"


def contradicting_fields(order: Order, study: ArchiveStudy, cards: Sequence[Patient] = ()) -> list[str]:
    """Return in which fields the patients contradict each other, as `archive_images.accept` wants them confirmed.

    `cards` were merged into the patient's since.
    """
    person = study.patient_name, study.patient_id, study.birth_date, study.patient_sex
    return identity.contradictions_of_cards((order.patient, *cards), *person)


def compared_rows(
    order: Order,
    study: ArchiveStudy,
    owner: Patient | None = None,
    cards: Sequence[Patient] = (),
    kind: DiscrepancyKind | None = None,
) -> list[ComparedRow]:
    """Return what tells whether a study is the referral's; `owner` is our patient with the study's Patient ID.

    `cards` were merged into the patient's since.
    """
    against = contradicting_fields(order, study, cards)
    each_card = (identity.agreements(card, study.patient_name, study.patient_id) for card in (order.patient, *cards))
    agreed = max(each_card, key=len)  # a name is shown as the same also where the birth date is another
    patient, planned = order.patient, order.steps[0].start
    older = archive.is_older(order, study)
    rows = [
        ComparedRow(
            "Имя",
            str(patient.name),
            _shown(str(names.from_dicom(study.patient_name))),
            *_verdict("patient_name", agreed, against, "совпало", "другой человек", "сверить нельзя"),
        ),
        ComparedRow(
            "Дата рождения",
            words.born(patient.born),
            _date(study.birth_date),
            *_birth_date(patient, study, against),
        ),
        ComparedRow("Пол", SEXES[patient.sex], _SEXES.get(study.patient_sex, "–"), *_sex(patient, study, against)),
        ComparedRow(
            "Номер карты",
            patient.patient_id,
            _shown(study.patient_id),
            *_card_number(study, agreed, against, owner),
        ),
        ComparedRow(
            "Номер исследования",
            " или ".join(archive.numbers(order)),
            _shown(study.accession_number),
            *(
                ("не указан", None)
                if not study.accession_number
                else ("совпал", True)
                if study.accession_number in archive.numbers(order)
                else ("другой", False)
            ),
        ),
        ComparedRow(
            _UID,
            order.study_instance_uid,
            _shown(study.study_instance_uid),
            *_uid(order, study, kind),
        ),
        ComparedRow(
            "Когда",
            f"{planned:%d.%m.%Y %H:%M}",
            _moment(study.start),
            *_time(study, older=older, late=kind is DiscrepancyKind.UNREFERRED),
        ),
        ComparedRow(
            "Вид", _kinds(passthrough.modalities(order)), _kinds(study.modality.split("/")), *_modality(order, study)
        ),
        ComparedRow("Снимков", "", "" if study.images is None else str(study.images), "", None),
    ]
    # That the UIDs differ says nothing where a referral is looked for.
    return [each for each in rows if each.name != _UID or kind is not DiscrepancyKind.UNREFERRED]


_SEXES: Mapping[str, str] = {Sex.FEMALE: SEXES[Sex.FEMALE], Sex.MALE: SEXES[Sex.MALE]}


def contradictions(rows: Iterable[ComparedRow]) -> str:
    """Return in words what speaks against a study being the referral's; empty if only signs are missing."""
    return ", ".join(f"{each.name}: «{each.theirs}»" for each in rows if each.fits is False)


def _sex(patient: Patient, study: ArchiveStudy, against: list[str]) -> tuple[str, bool | None]:
    if study.patient_sex not in _SEXES or patient.sex is Sex.OTHER:
        return "не указан", None
    return ("другой", False) if "patient_sex" in against else ("совпал", True)


def _uid(order: Order, study: ArchiveStudy, kind: DiscrepancyKind | None) -> tuple[str, bool | None]:
    if study.study_instance_uid == order.study_instance_uid:
        return "наш", True
    return ("свой, аппарата", None) if kind is DiscrepancyKind.OWN_UID else ("не наш", False)


def _time(study: ArchiveStudy, *, older: bool, late: bool) -> tuple[str, bool | None]:
    """Return whether a study's time fits; `late`: a referral that was written after it is what is looked for."""
    if study.start is None:
        return "не указано", None
    return ("раньше направления", None if late else False) if older else ("подходит", True)


def _verdict(
    field: str, agreed: list[str], against: list[str], yes: str, no: str, unknown: str
) -> tuple[str, bool | None]:
    return (no, False) if field in against else (yes, True) if field in agreed else (unknown, None)


def _birth_date(patient: Patient, study: ArchiveStudy, against: list[str]) -> tuple[str, bool | None]:
    if not study.birth_date or patient.born is None:
        return "не указана", None
    if patient.birth_date is None and "patient_birth_date" not in against:
        return "у нас только год", None
    return ("другая", False) if "patient_birth_date" in against else ("совпала", True)


def _card_number(
    study: ArchiveStudy, agreed: list[str], against: list[str], owner: Patient | None
) -> tuple[str, bool | None]:
    if not study.patient_id:
        return "не указан", None
    if "patient_id" in agreed:
        return "совпал", True
    if owner is not None:
        return f"{names.short(owner.name)}, у нас есть", False
    return ("другой", False) if "patient_id" in against else ("сверить нельзя", None)


def _modality(order: Order, study: ArchiveStudy) -> tuple[str, bool | None]:
    if not study.modality:
        return "не указан", None
    fits = any(archive.has_modality(study, each) for each in passthrough.modalities(order))
    return ("совпал", True) if fits else ("другой", None)


def _kinds(modalities: Iterable[str]) -> str:
    return "/".join(words.MODALITIES.get(each, each) for each in modalities)


def _shown(value: str) -> str:
    return names.cut(names.tidy(value), LONGEST) or "–"


def _date(value: str) -> str:
    try:
        return words.born(date.fromisoformat(value)) if value else "–"
    except ValueError:
        return _shown(value)


def _moment(start: datetime | None) -> str:
    return f"{start:%d.%m.%Y %H:%M}" if start else "–"
