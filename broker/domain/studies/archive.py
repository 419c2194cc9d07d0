"""What an image archive says of an order's studies, and how far that is believed. Pure.

An archive may answer with what it was not asked for, may hold two people under one Study Instance UID, may remember the
numbers of an earlier program, and may lose the letters of a name. A study is believed that has the order's Study
Instance UID, or one under which the order's device reported its images by MPPS, and fits in everything. Any other that
bears the order's UID or number is a discrepancy, and waits for a person: numbers are typed, and used again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final, NamedTuple

from broker.domain.orders import Order
from broker.domain.patients import identity
from broker.domain.patients.people import Patient

# A time zone and a wrong clock account for this much between a referral and a study that was made for it.
CLOCKS_DIFFER = timedelta(days=2)
ZONES_DIFFER = timedelta(days=1)  # where nothing else is forgiven


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
    modality: str = ""  # several, of images, with strokes between them: PT/CT
    patient_name: str = ""  # PN
    patient_id: str = ""
    birth_date: str = ""  # DA
    start: datetime | None = None  # local clinic time, naive
    patient_sex: str = ""  # CS

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
    UNLINKED = "unlinked"  # it fits, but what was made under this order was found to be somebody else's before
    OWN_UID = "own_uid"  # all fits but the UID, which is no order's: a device's own, perhaps
    UNREFERRED = "unreferred"  # neither UID nor number of the order: a person had chosen the order for it
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
    return order.accession_numbers


@dataclass(frozen=True, slots=True)
class OrderEvidence:
    """What is known of an order, beside the order itself, when an answer of the archive is compared with it."""

    cards: tuple[Patient, ...] = ()  # merged into the patient's since
    foreign_ids: frozenset[str] = frozenset()  # Patient IDs among the answers that other patients of this clinic have
    foreign_uids: frozenset[str] = frozenset()  # Study Instance UIDs that other orders have, or were reported for them
    reported_uids: frozenset[str] = frozenset()  # Study Instance UIDs of what it was performed with: reported, believed
    group_numbers: frozenset[str] = frozenset()  # accession numbers of the orders whose images lie under the same UIDs
    sibling_uids: frozenset[str] = frozenset()  # Study Instance UIDs of other orders of the same accession number
    decided: Mapping[StudyKey, DiscrepancyState] = field(default_factory=dict)  # what people said of answers before
    is_unlinked: bool = False  # it waits since what a device had reported for it turned out not to be this order's
    is_number_enough: bool = False  # its device has UIDs of its own, reports none, and an administrator knows it

    @property
    def uids(self) -> frozenset[str]:
        """The Study Instance UIDs that are the order's beside its own: as its device, or a person, has said."""
        accepted = (key.study_instance_uid for key, state in self.decided.items() if state is DiscrepancyState.ACCEPTED)
        return self.reported_uids.union(accepted)


NO_EVIDENCE: Final = OrderEvidence()


def concerns(order: Order, study: ArchiveStudy, evidence: OrderEvidence = NO_EVIDENCE) -> bool:
    """Return True if a study bears the order's UID or one of its numbers: anything else answers another question.

    A number that orders share says nothing where the UID is another one's of them.
    """
    uid = study.study_instance_uid
    return bool(uid) and (
        _is_own(order, study, evidence)
        or (study.accession_number in numbers(order) and uid not in evidence.sibling_uids)
    )


def has_modality(study: ArchiveStudy, modality: str) -> bool:
    """Return True if a study has images of a modality; a digital X-ray may call its own CR or DX."""
    return not {modality, _ALIKE.get(modality, modality)}.isdisjoint(study.modality.split("/"))


_ALIKE: Final = {"CR": "DX", "DX": "CR"}


def is_older(order: Order, study: ArchiveStudy) -> bool:
    """Return True if a study was made before its referral, by more than a time zone and a wrong clock account for."""
    return study.start is not None and study.start < order.authored_on.replace(tzinfo=None) - CLOCKS_DIFFER


def compare(order: Order, found: Iterable[ArchiveStudy], evidence: OrderEvidence = NO_EVIDENCE) -> Comparison:
    """Compare what an archive answered with the order.

    Of several patients under one UID of the order the one that fits is believed. A number alone is believed only where
    the device is known to make UIDs of its own, and the one study that bears it has everything that tells people apart.
    Where a study was taken off an order that waits, a person says whose any other is: both were made under one entry of
    the worklist, so the wrong one may fit as well.
    """
    decided, found = evidence.decided, list(found)
    objections = {each.key: _objection(order, each, evidence) for each in found}
    studies = _distinct(each for each in found if concerns(order, each, evidence))
    accepted = [each for each in studies if decided.get(each.key) is DiscrepancyState.ACCEPTED]
    rest = [each for each in studies if not _is_decided(order, each, evidence)]
    own = [each for each in rest if _is_own(order, each, evidence)]
    others = [each for each in rest if not _is_own(order, each, evidence)]
    by_uid: dict[str, list[ArchiveStudy]] = {}
    for each in own:
        by_uid.setdefault(each.study_instance_uid, []).append(each)
    believed = list(accepted)
    doubts: list[tuple[ArchiveStudy, DiscrepancyKind]] = []
    for group in by_uid.values():
        believed += _fitting(order, group, objections, evidence)
        several = DiscrepancyKind.SEVERAL_PATIENTS if len(group) > 1 else None
        doubts += [(each, several or objections[each.key] or DiscrepancyKind.UNREADABLE) for each in group]
    usual = DiscrepancyKind.OTHER_UID
    if not own and not accepted:
        plausible = [each for each in others if objections[each.key] not in _IMPLAUSIBLE]
        usual = DiscrepancyKind.SEVERAL_STUDIES if len(plausible) > 1 else DiscrepancyKind.OWN_UID
        if len(studies) == len(others) == 1 and _is_certain(order, others[0], objections, evidence):
            believed = others
    unlinked = [each for each in believed if each not in accepted and evidence.is_unlinked]
    believed = [each for each in believed if each not in unlinked]
    for each in others:
        objection = objections[each.key]
        is_plain = objection is None or (usual is not DiscrepancyKind.OWN_UID and objection not in _IMPLAUSIBLE)
        doubts.append((each, usual if is_plain or objection is None else objection))
    doubts = [(each, DiscrepancyKind.UNLINKED if each in unlinked else kind) for each, kind in doubts]
    return Comparison(tuple(believed), tuple(Doubt(kind, each) for each, kind in doubts if each not in believed))


def cards_of(order: Order, evidence: OrderEvidence) -> tuple[Patient, ...]:
    """Return the cards that the order's patient has, and has had, in this clinic."""
    return (order.patient, *evidence.cards)


def _is_decided(order: Order, study: ArchiveStudy, evidence: OrderEvidence) -> bool:
    """Return True if a person has decided about a study.

    Of a study that was unlinked it is not known under which number of the order, or without one, the archive has it.
    """
    own = ("", *numbers(order), *evidence.group_numbers)
    dismissed = (key for key, state in evidence.decided.items() if state is DiscrepancyState.DISMISSED)
    unnumbered = (key._replace(accession_number="") for key in dismissed if key.accession_number in own)
    return study.key in evidence.decided or (
        study.accession_number in own and study.key._replace(accession_number="") in unnumbered
    )


def _is_own(order: Order, study: ArchiveStudy, evidence: OrderEvidence) -> bool:
    return study.study_instance_uid == order.study_instance_uid or study.study_instance_uid in evidence.uids


def _objection(order: Order, study: ArchiveStudy, evidence: OrderEvidence) -> DiscrepancyKind | None:
    """Return what speaks against a study that bears the order's UID or number; None if nothing does."""
    cards = cards_of(order, evidence)
    reported = study.patient_name, study.patient_id, study.birth_date, study.patient_sex
    contradicts = identity.contradictions_of_cards(cards, *reported)
    if contradicts or study.patient_id in evidence.foreign_ids:
        return DiscrepancyKind.OTHER_PATIENT
    if is_older(order, study):
        return DiscrepancyKind.OLDER
    if study.study_instance_uid in evidence.foreign_uids:
        return DiscrepancyKind.OTHER_UID
    if not identity.agreements_of_cards(cards, *reported):
        return DiscrepancyKind.UNREADABLE
    if study.accession_number and study.accession_number not in (*numbers(order), *evidence.group_numbers):
        return DiscrepancyKind.OTHER_NUMBER
    return None


_IMPLAUSIBLE: Final = (DiscrepancyKind.OTHER_PATIENT, DiscrepancyKind.OLDER, DiscrepancyKind.OTHER_UID)


def _is_certain(
    order: Order,
    study: ArchiveStudy,
    objections: Mapping[StudyKey, DiscrepancyKind | None],
    evidence: OrderEvidence,
) -> bool:
    """Return True if a study that bears the order's number alone is believed: see `compare`."""
    person = study.patient_name, study.patient_id, study.birth_date, study.patient_sex
    return (
        evidence.is_number_enough
        and objections[study.key] is None
        and study.start is not None
        and study.start >= order.authored_on.replace(tzinfo=None) - ZONES_DIFFER
        and any(identity.is_certain(card, *person) for card in cards_of(order, evidence))
    )


def _fitting(
    order: Order,
    studies: Sequence[ArchiveStudy],
    objections: Mapping[StudyKey, DiscrepancyKind | None],
    evidence: OrderEvidence,
) -> list[ArchiveStudy]:
    """Return the one study that fits, if there is one: of several, the one whose patient agrees in more."""
    fitting = [each for each in studies if objections[each.key] is None]
    if len(fitting) > 1:
        cards = cards_of(order, evidence)
        people = [(each.patient_name, each.patient_id, each.birth_date, each.patient_sex) for each in fitting]
        agreed = [len(identity.agreements_of_cards(cards, *person)) for person in people]
        fitting = [each for each, count in zip(fitting, agreed, strict=True) if count == max(agreed)]
    return fitting if len(fitting) == 1 else []


def _distinct(studies: Iterable[ArchiveStudy]) -> list[ArchiveStudy]:
    """Return each answer once; of one that came twice, the one with more images."""
    found: dict[StudyKey, ArchiveStudy] = {}
    for each in studies:
        if each.key not in found or (found[each.key].images or 0) < (each.images or 0):
            found[each.key] = each
    return list(found.values())
