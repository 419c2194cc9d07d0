"""What an image archive says of an order's studies, and how far that is believed. Pure.

An archive may answer with what it was not asked for, may hold two people under one Study Instance UID, may remember the
numbers of an earlier program, and may lose the letters of a name. A study that fits its order in everything is
believed. Any other that bears the order's UID or number is a discrepancy, and waits for a person.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final, NamedTuple

from broker.domain.orders import Order
from broker.domain.patients import identity
from broker.domain.patients.people import Patient

# A time zone and a wrong clock account for this much between a referral and a study that was made for it.
CLOCKS_DIFFER = timedelta(days=2)


class StudyKey(NamedTuple):
    """What tells one answer of an archive from another: the study, its number, and the patient as it stands there."""

    study_instance_uid: str
    accession_number: str
    patient_name: str
    patient_id: str
    birth_date: str


@dataclass(frozen=True, slots=True)
class ArchiveStudy:
    """What an archive holds of a study of one patient."""

    study_instance_uid: str
    accession_number: str = ""
    images: int | None = None  # None: the archive does not tell
    modality: str = ""
    patient_name: str = ""  # PN
    patient_id: str = ""
    birth_date: str = ""  # DA
    start: datetime | None = None  # local clinic time, naive

    @property
    def key(self) -> StudyKey:
        """Return what this answer is known by."""
        return StudyKey(
            self.study_instance_uid, self.accession_number, self.patient_name, self.patient_id, self.birth_date
        )


class DiscrepancyKind(StrEnum):
    """Why a study in the archive is not taken for an order's; the gravest first."""

    OTHER_PATIENT = "other_patient"  # its patient contradicts the order's
    SEVERAL_PATIENTS = "several_patients"  # the order's Study Instance UID lies under several patients
    SEVERAL_STUDIES = "several_studies"  # the order's number belongs to several studies, none with its UID
    OTHER_NUMBER = "other_number"  # the order's UID, another accession number
    OTHER_UID = "other_uid"  # the order's number, another UID: another order's, or beside a study with the order's own
    OLDER = "older"  # made before its referral
    UNREADABLE = "unreadable"  # nothing of its patient can be compared with the order's


class DiscrepancyState(StrEnum):
    """What became of a discrepancy."""

    OPEN = "open"
    ACCEPTED = "accepted"  # a person says that it is this order's study
    DISMISSED = "dismissed"  # a person says that it is not


@dataclass(frozen=True, slots=True)
class Doubt:
    """A study in the archive that bears an order's UID or number and does not fit the order, and why."""

    kind: DiscrepancyKind
    study: ArchiveStudy


@dataclass(frozen=True, slots=True)
class Discrepancy(Doubt):
    """A doubt as it is kept, with what became of it."""

    id: int
    order_id: int
    state: DiscrepancyState
    first_at: datetime  # UTC: since when it is known


@dataclass(frozen=True, slots=True)
class Comparison:
    """What an archive's answer is worth: the studies that are the order's, and those that do not fit it."""

    believed: tuple[ArchiveStudy, ...] = ()  # more than one only where a person has said so
    doubts: tuple[Doubt, ...] = ()

    @property
    def images(self) -> int | None:
        """Return how many images the archive holds of the order; None if it has its study and does not tell."""
        known = [study.images for study in self.believed if study.images is not None]
        return sum(known) if known or not self.believed else None


def numbers(order: Order) -> tuple[str, ...]:
    """Return the accession numbers by which an order's study may be known."""
    return tuple(dict.fromkeys(filter(None, (order.accession_number, order.bus_accession_number))))


def concerns(order: Order, study: ArchiveStudy) -> bool:
    """Return True if a study bears the order's UID or one of its numbers: anything else answers another question."""
    own = study.study_instance_uid == order.study_instance_uid
    return own or bool(study.study_instance_uid and study.accession_number in numbers(order))


def is_older(order: Order, study: ArchiveStudy) -> bool:
    """Return True if a study was made before its referral, by more than a time zone and a wrong clock account for."""
    return study.start is not None and study.start < order.authored_on.replace(tzinfo=None) - CLOCKS_DIFFER


def compare(
    order: Order,
    found: Iterable[ArchiveStudy],
    decided: Mapping[StudyKey, DiscrepancyState] | None = None,
    foreign_ids: Collection[str] = (),
    foreign_uids: Collection[str] = (),
    former: Sequence[Patient] = (),
) -> Comparison:
    """Compare what an archive answered with the order; `decided` is what people said of answers before.

    `foreign_ids` are the Patient IDs among the answers that other patients of this clinic have, `foreign_uids` the
    Study Instance UIDs that other orders have, `former` is what the patient's card was before a merge: images that were
    made then bear it.
    Of several patients under the order's UID the one that fits is believed. A number is believed where one study alone
    can be meant by it and none has the order's own UID.
    """
    decided, found = decided or {}, list(found)
    described = (order.patient, *former)
    objections = {each.key: _objection(order, each, described, foreign_ids, foreign_uids) for each in found}
    studies = _distinct(each for each in found if concerns(order, each))
    accepted = [each for each in studies if decided.get(each.key) is DiscrepancyState.ACCEPTED]
    rest = [each for each in studies if each.key not in decided]
    own = [each for each in rest if each.study_instance_uid == order.study_instance_uid]
    others = [each for each in rest if each.study_instance_uid != order.study_instance_uid]
    believed = [*accepted, *_fitting(described, own, objections)]
    if own or accepted:
        usual = DiscrepancyKind.OTHER_UID
    else:
        plausible = [each for each in others if objections[each.key] not in _IMPLAUSIBLE]
        usual = DiscrepancyKind.SEVERAL_STUDIES if len(plausible) > 1 else DiscrepancyKind.UNREADABLE
        believed = _fitting(described, plausible, objections) if len(plausible) == 1 else []
    several = DiscrepancyKind.SEVERAL_PATIENTS if len(own) > 1 else None
    doubts = [(each, several or objections[each.key] or DiscrepancyKind.UNREADABLE) for each in own]
    for each in others:
        objection = objections[each.key]
        doubts.append((each, objection if objection and objection in _IMPLAUSIBLE else usual))
    return Comparison(tuple(believed), tuple(Doubt(kind, each) for each, kind in doubts if each not in believed))


def _objection(
    order: Order,
    study: ArchiveStudy,
    described: Sequence[Patient],
    foreign_ids: Collection[str],
    foreign_uids: Collection[str],
) -> DiscrepancyKind | None:
    """Return what speaks against a study that bears the order's UID or number; None if nothing does."""
    contradicts = all(
        identity.contradictions(each, study.patient_name, study.patient_id, study.birth_date) for each in described
    )
    if contradicts or study.patient_id in foreign_ids:
        return DiscrepancyKind.OTHER_PATIENT
    if is_older(order, study):
        return DiscrepancyKind.OLDER
    if study.study_instance_uid in foreign_uids:
        return DiscrepancyKind.OTHER_UID
    if not _agreements(described, study):
        return DiscrepancyKind.UNREADABLE
    if study.accession_number and study.accession_number not in numbers(order):
        return DiscrepancyKind.OTHER_NUMBER
    return None


_IMPLAUSIBLE: Final = (DiscrepancyKind.OTHER_PATIENT, DiscrepancyKind.OLDER, DiscrepancyKind.OTHER_UID)


def _agreements(described: Sequence[Patient], study: ArchiveStudy) -> int:
    """Return in how many fields a study's patient is surely the order's, as the card is or was."""
    return max(len(identity.agreements(each, study.patient_name, study.patient_id)) for each in described)


def _fitting(
    described: Sequence[Patient], studies: Sequence[ArchiveStudy], objections: Mapping[StudyKey, DiscrepancyKind | None]
) -> list[ArchiveStudy]:
    """Return the one study that fits, if there is one: of several, the one whose patient agrees in more."""
    fitting = [each for each in studies if objections[each.key] is None]
    if len(fitting) > 1:
        agreed = [_agreements(described, each) for each in fitting]
        fitting = [each for each, count in zip(fitting, agreed, strict=True) if count == max(agreed)]
    return fitting if len(fitting) == 1 else []


def _distinct(studies: Iterable[ArchiveStudy]) -> list[ArchiveStudy]:
    """Return each answer once; of one that came twice, the one with more images."""
    found: dict[StudyKey, ArchiveStudy] = {}
    for each in studies:
        if each.key not in found or (found[each.key].images or 0) < (each.images or 0):
            found[each.key] = each
    return list(found.values())
