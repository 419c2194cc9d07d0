"""How far two readers agree: the figures of double reading for the head of a clinic. Pure.

With a = both found nothing to follow, b = only the first wants a further examination, c = only the second, d = both;
reads of images that cannot be read are counted apart.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from broker.domain.reading.opinions import Finding, Opinion

FEWEST = 30  # below this a share says nothing and is not shown


@dataclass(frozen=True, slots=True)
class ReadPair:
    """A concluded study that two doctors read: who, what each found, and what was decided."""

    first: str  # login
    second: str
    first_opinion: Opinion
    second_opinion: Opinion
    decided: Opinion  # of the third reader where they differed, else the first one's
    was_arbitrated: bool = False


@dataclass(frozen=True, slots=True)
class Agreement:
    """The figures of a number of pairs; shares are None below FEWEST."""

    pairs: int
    technical: int
    both_routine: int  # a
    first_only: int  # b
    second_only: int  # c
    both_recall: int  # d
    arbitrated: int
    recalled: int  # in the end
    second_only_right: int  # of c, recalled in the end

    @property
    def compared(self) -> int:
        """The number of pairs in which both could read the images."""
        return self.both_routine + self.first_only + self.second_only + self.both_recall

    @property
    def agreed(self) -> float | None:
        """The observed agreement."""
        return _share(self.both_routine + self.both_recall, self.compared)

    @property
    def discordant(self) -> float | None:
        """The share in which one wants a further examination and the other does not."""
        return _share(self.first_only + self.second_only, self.compared)

    @property
    def first_recalls(self) -> float | None:
        """The share that the first reader wants to be examined further."""
        return _share(self.first_only + self.both_recall, self.compared)

    @property
    def second_recalls(self) -> float | None:
        """The share that the second reader wants to be examined further."""
        return _share(self.second_only + self.both_recall, self.compared)

    @property
    def recalls(self) -> float | None:
        """The share that is examined further in the end."""
        return _share(self.recalled, self.compared)

    @property
    def kappa(self) -> float | None:
        """Cohen's kappa: agreement beyond chance; None below FEWEST or where chance alone explains everything."""
        n = self.compared
        if n < FEWEST:
            return None
        a, b, c, d = self.both_routine, self.first_only, self.second_only, self.both_recall
        by_chance = ((a + b) * (a + c) + (d + c) * (d + b)) / n**2
        return None if by_chance == 1 else ((a + d) / n - by_chance) / (1 - by_chance)


def agreement(pairs: Sequence[ReadPair]) -> Agreement:
    """Return the figures of these pairs."""
    readable = [
        pair for pair in pairs if Finding.TECHNICAL not in (pair.first_opinion.finding, pair.second_opinion.finding)
    ]
    cells = [(pair.first_opinion.is_routine, pair.second_opinion.is_routine) for pair in readable]
    second_only = [pair for pair, cell in zip(readable, cells, strict=True) if cell == (True, False)]
    return Agreement(
        pairs=len(pairs),
        technical=len(pairs) - len(readable),
        both_routine=cells.count((True, True)),
        first_only=cells.count((False, True)),
        second_only=len(second_only),
        both_recall=cells.count((False, False)),
        arbitrated=sum(pair.was_arbitrated for pair in readable),
        recalled=sum(pair.decided.finding is Finding.RECALL for pair in readable),
        second_only_right=sum(pair.decided.finding is Finding.RECALL for pair in second_only),
    )


@dataclass(frozen=True, slots=True)
class ReaderFigures:
    """What one doctor has read, and what became of their recalls that were decided by a third."""

    reader: str  # login
    as_first: int
    as_second: int
    recalls: int
    own_recalls_arbitrated: int
    own_recalls_dismissed: int
    technical: int

    @property
    def reads(self) -> int:
        """How many studies the doctor has read with another."""
        return self.as_first + self.as_second

    @property
    def recall_share(self) -> float | None:
        """The share of recalls; None below FEWEST."""
        return _share(self.recalls, self.reads)

    @property
    def dismissed_share(self) -> float | None:
        """The share of own recalls, of those that a third decided on, that were dismissed; None below FEWEST."""
        return _share(self.own_recalls_dismissed, self.own_recalls_arbitrated)


def by_reader(pairs: Sequence[ReadPair]) -> list[ReaderFigures]:
    """Return the figures of every reader, those with most reads first."""
    found = []
    for login in {pair.first for pair in pairs} | {pair.second for pair in pairs}:
        own = [(pair, pair.first_opinion) for pair in pairs if pair.first == login]
        own += [(pair, pair.second_opinion) for pair in pairs if pair.second == login]
        arbitrated = [pair for pair, opinion in own if opinion.finding is Finding.RECALL and pair.was_arbitrated]
        found.append(
            ReaderFigures(
                reader=login,
                as_first=sum(pair.first == login for pair in pairs),
                as_second=sum(pair.second == login for pair in pairs),
                recalls=sum(opinion.finding is Finding.RECALL for _, opinion in own),
                own_recalls_arbitrated=len(arbitrated),
                own_recalls_dismissed=sum(pair.decided.finding is not Finding.RECALL for pair in arbitrated),
                technical=sum(opinion.finding is Finding.TECHNICAL for _, opinion in own),
            )
        )
    return sorted(found, key=lambda each: (-each.reads, each.reader))


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole >= FEWEST else None
