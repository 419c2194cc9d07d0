"""How studies are read: opinions that can be compared, reads of one or two readers, and what they come to. Pure.

A study that is read once needs one read; one that is read twice needs two that agree, else a third reader decides.
States are derived from the reads each time and never stored.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from broker.domain.patients.people import NO_NAME, PersonName

MAMMOGRAPHY = "MG"
ROUTINE = frozenset({1, 2})  # BI-RADS categories after which nothing is done
BI_RADS = range(7)


class Finding(StrEnum):
    """What a reader finds; the same four for every kind of study."""

    NORM = "norm"
    KNOWN = "known"  # something is there, and no further examination is needed
    RECALL = "recall"  # further examination
    TECHNICAL = "technical"  # the images cannot be read: to be made again


class OpinionForm(StrEnum):
    """How an opinion is given."""

    FINDINGS = "findings"  # one of the four
    BI_RADS = "bi_rads"  # a category of each breast, or technical


def form_of(modality: str) -> OpinionForm:
    """Return how opinions on studies of a modality are given."""
    return OpinionForm.BI_RADS if modality == MAMMOGRAPHY else OpinionForm.FINDINGS


@dataclass(frozen=True, slots=True)
class Opinion:
    """What a reader finds, in a form that can be compared; `right` and `left` are BI-RADS categories of the breasts."""

    finding: Finding
    side: str = ""  # R, L, B (both), or not said
    right: int | None = None
    left: int | None = None

    @classmethod
    def of_breasts(cls, right: int, left: int) -> Opinion:
        """Return the opinion that two BI-RADS categories are."""
        if right in ROUTINE and left in ROUTINE:
            return cls(Finding.NORM if right == left == 1 else Finding.KNOWN, right=right, left=left)
        return cls(Finding.RECALL, right=right, left=left)

    @property
    def is_routine(self) -> bool:
        """True if nothing follows from it."""
        return self.finding in (Finding.NORM, Finding.KNOWN)

    @property
    def scale(self) -> str:
        """The BI-RADS categories as a report states them; empty where none are given."""
        return f"BI-RADS R:{self.right} L:{self.left}" if self.right is not None and self.left is not None else ""


def problems(opinion: Opinion, form: OpinionForm) -> dict[str, str]:
    """Return what is wrong with an opinion in a form: field -> problem code."""
    if form is OpinionForm.FINDINGS:
        return {"opinion": "unknown"} if (opinion.right, opinion.left) != (None, None) else {}
    if opinion.finding is Finding.TECHNICAL:
        return {}
    right, left = opinion.right, opinion.left
    if right is None or left is None:
        return {"opinion": "required"}
    if right not in BI_RADS or left not in BI_RADS or Opinion.of_breasts(right, left).finding is not opinion.finding:
        return {"opinion": "unknown"}
    return {}


class Arbitration(StrEnum):
    """When a third reader decides."""

    DISCORDANT = "discordant"  # where the two differ
    RECALLS = "recalls"  # also where both recall


def agree(one: Opinion, other: Opinion, *, strict: bool = False) -> bool:
    """Return True if two opinions come to the same; `strict` also compares the numbers of BI-RADS categories."""
    if Finding.TECHNICAL in (one.finding, other.finding):
        return one.finding is other.finding
    if one.right is not None and other.right is not None:
        pairs = ((one.right, other.right), (one.left, other.left))
        return all(a == b if strict else (a in ROUTINE) == (b in ROUTINE) for a, b in pairs)
    if one.is_routine != other.is_routine:
        return False
    sides = {one.side, other.side} - {""}
    return one.is_routine or len(sides) < 2


@dataclass(frozen=True, slots=True)
class Read:
    """One reader's opinion on a study, with the words that become the report; a draft until it is given."""

    order_id: int
    reader: str = ""  # login
    reader_name: PersonName = NO_NAME
    reader_snils: str = ""
    reader_position: str = ""
    opinion: Opinion | None = None
    description: str = ""
    conclusion: str = ""
    recommendations: str = ""
    effective_dose: float | None = None  # mSv
    images: int = 0  # the revision of the images that it is about: `reports.images`
    patient_id: int = 0  # the card that they were of
    arbitrates: bool = False
    decided_with: PersonName = NO_NAME  # the other reader, where the two who differed have decided together
    given_at: datetime | None = None  # UTC; None: a draft
    stands_at: datetime | None = None  # UTC: until then its reader may take it back
    revision: int = 0  # 0: was never saved
    id: int | None = None

    def stands(self, now: datetime) -> bool:
        """Return True if it can no longer be taken back; `now` is UTC."""
        return self.stands_at is not None and self.stands_at <= now

    def is_held(self, now: datetime) -> bool:
        """Return True if it is given and can still be taken back."""
        return self.given_at is not None and not self.stands(now)


@dataclass(frozen=True, slots=True)
class Deferral:
    """A study that a reader has put aside."""

    order_id: int
    reader: str  # login
    reader_title: str
    reason: str
    at: datetime  # UTC


class ReadingStage(StrEnum):
    """What a study waits for."""

    FIRST = "first"
    SECOND = "second"
    ARBITRATION = "arbitration"
    CONCLUDED = "concluded"


@dataclass(frozen=True, slots=True)
class ReadingRules:
    """The clinic's rules of reading."""

    hold_minutes: int = 10  # so long a reader may take an opinion back
    lease_minutes: int = 15  # so long after the last sign of its reader a study stays with them
    arbitration: Arbitration = Arbitration.DISCORDANT
    strict: bool = False  # BI-RADS categories are compared by their numbers
    own_referrals: bool = False  # doctors read what they referred themselves
    decide_together: bool = False  # two readers who differ may decide also where there is a third one
    deadline_hours: int = 24  # from the end of a study to its report
    over_read_hours: int = 24  # within which a signed report that a colleague was asked about is read over
    pause_seconds: int = 2  # so long after a study is drawn the keys of opinions do nothing


@dataclass(frozen=True, slots=True)
class Case:
    """What the reads of a study's present images come to. `standing` are in the order in which they were given."""

    stage: ReadingStage
    standing: tuple[Read, ...] = ()
    held: Read | None = None  # one that its reader may still take back

    @property
    def decisive(self) -> Read | None:
        """The read whose words are the report's, once the case is concluded."""
        if self.stage is not ReadingStage.CONCLUDED:
            return None
        return next((read for read in self.standing if read.arbitrates), self.standing[0])

    def is_reader(self, login: str) -> bool:
        """Return True if somebody has given a read on these images."""
        return any(read.reader == login for read in (*self.standing, *([self.held] if self.held else [])))


def case(reads: Sequence[Read], needed: int, rules: ReadingRules, now: datetime) -> Case:
    """Return what the given reads of one image set come to; `needed` is 1 or 2, `now` is UTC."""
    given = sorted(
        (read for read in reads if read.given_at), key=lambda read: (read.given_at, read.arbitrates, read.id)
    )
    standing = tuple(read for read in given if read.stands(now))
    held = next((read for read in given if not read.stands(now)), None)
    return Case(_stage(standing, needed, rules), standing, held)


def _stage(standing: Sequence[Read], needed: int, rules: ReadingRules) -> ReadingStage:
    if any(read.arbitrates for read in standing):
        return ReadingStage.CONCLUDED
    if len(standing) < needed:
        return ReadingStage.SECOND if standing else ReadingStage.FIRST
    if needed == 1:
        return ReadingStage.CONCLUDED
    first, second = (read.opinion for read in standing[:2])
    if first is None or second is None or not agree(first, second, strict=rules.strict):
        return ReadingStage.ARBITRATION
    is_recall = first.finding is Finding.RECALL or second.finding is Finding.RECALL
    if rules.arbitration is Arbitration.RECALLS and is_recall:
        return ReadingStage.ARBITRATION
    return ReadingStage.CONCLUDED
