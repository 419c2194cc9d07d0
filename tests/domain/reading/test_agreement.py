"""The figures of two readers are those of the textbook, and small numbers give none."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.domain.reading.agreement import FEWEST, ReadPair, agreement, by_reader
from broker.domain.reading.opinions import Finding, Opinion

NORM, KNOWN, RECALL, TECHNICAL = map(Opinion, Finding)


def pair(one: Opinion, other: Opinion, decided: Opinion | None = None, names: str = "ab") -> ReadPair:
    return ReadPair(names[0], names[1], one, other, decided or one, decided is not None)


def test_agreement_and_kappa_are_those_of_the_textbook() -> None:
    # Cohen's example: 20 and 15 agreed, 5 and 10 not: 0.70 observed, 0.50 by chance.
    pairs = [pair(NORM, NORM)] * 20 + [pair(RECALL, RECALL)] * 15
    pairs += [pair(NORM, RECALL, RECALL)] * 5 + [pair(RECALL, NORM, NORM)] * 10
    found = agreement(pairs)
    assert found.agreed == pytest.approx(0.7)
    assert found.kappa == pytest.approx(0.4)
    assert found.discordant == pytest.approx(0.3)
    assert found.first_recalls == pytest.approx(0.5)
    assert found.second_recalls == pytest.approx(0.4)
    assert found.recalls == pytest.approx(0.4)
    assert (found.arbitrated, found.second_only_right) == (15, 5)


def test_below_thirty_no_share_is_given() -> None:
    found = agreement([pair(NORM, NORM)] * (FEWEST - 1))
    assert (found.agreed, found.kappa, found.recalls, found.compared) == (None, None, None, 29)
    assert agreement([pair(NORM, NORM)] * FEWEST).agreed == 1


def test_images_that_one_could_not_read_are_counted_apart() -> None:
    found = agreement([pair(TECHNICAL, NORM, TECHNICAL)] * 5 + [pair(NORM, KNOWN)] * FEWEST)
    assert (found.pairs, found.technical, found.compared, found.agreed) == (FEWEST + 5, 5, FEWEST, 1)


def test_every_reader_has_their_own_figures() -> None:
    pairs = [pair(RECALL, NORM, NORM)] * 40 + [pair(NORM, NORM, names="ba")] * 10
    first, second = by_reader(pairs)
    assert (first.reader, first.as_first, first.as_second, first.recalls) == ("a", 40, 10, 40)
    assert (first.dismissed_share, second.dismissed_share) == (1, None)
    assert second.recall_share == 0


@given(st.lists(st.builds(pair, *[st.sampled_from([NORM, KNOWN, RECALL, TECHNICAL])] * 2)))
def test_every_pair_is_counted_once(pairs: list[ReadPair]) -> None:
    found = agreement(pairs)
    assert found.compared + found.technical == found.pairs == len(pairs)
    assert found.kappa is None or -1 <= found.kappa <= 1
