"""The archive is asked for every awaited study in turn, and no odd answer of it stops the others."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace

import pytest

from broker.dicom.scu import archive
from broker.dicom.scu.archive import Archive, ArchiveAddress
from broker.domain.orders import Order
from broker.domain.studies.archive import ArchiveStudy
from broker.store.database import Store
from broker.workflow.referrals import referrals
from tests.support.factory import CLINIC, REGISTRAR, draft, soon

ARCHIVE = ArchiveAddress("PACS", "127.0.0.1", 104)


def register(store: Store, minutes: int = 30) -> Order:
    return store.write(referrals.register, draft(start=soon(minutes=minutes)), REGISTRAR, CLINIC)


def test_a_slow_archive_is_asked_for_every_study_in_turn(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    made = {register(store, minutes).id for minutes in range(30, 37)}
    now, asked = [0.0], []

    def slow(assoc: object, order: Order, uids: object) -> None:
        asked.append(order.id)
        now[0] += archive.LONGEST / 2 + 1

    @contextmanager
    def associated(self: Archive) -> Iterator[object]:
        yield SimpleNamespace(is_established=True)

    monkeypatch.setattr(archive, "ask", slow)
    monkeypatch.setattr(Archive, "_associated", associated)
    monkeypatch.setattr(archive, "studies_of_day", lambda assoc, on: None)
    looking = Archive(store, CLINIC, ARCHIVE, "WORKLIST", lambda: now[0])
    for _ in range(4):
        looking.look()
    assert set(asked) == made
    assert len(asked) == 8


def test_more_studies_than_a_look_asks_for_are_all_asked_for_in_the_end(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = {register(store, minutes).id for minutes in range(30, 35)}
    asked: list[int] = []

    @contextmanager
    def associated(self: Archive) -> Iterator[object]:
        yield SimpleNamespace(is_established=True)

    monkeypatch.setattr(archive, "ask", lambda assoc, order, uids: asked.append(order.id))
    monkeypatch.setattr(archive, "MOST", 2)
    monkeypatch.setattr(Archive, "_associated", associated)
    monkeypatch.setattr(archive, "studies_of_day", lambda assoc, on: None)
    looking = Archive(store, CLINIC, ARCHIVE, "WORKLIST")
    for _ in range(3):
        looking.look()
    assert set(asked) == made


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ([], [ArchiveStudy("1.1", images=None)]),
        ([ArchiveStudy("1.9", images=2)], [ArchiveStudy("1.1", images=2)]),
        ([ArchiveStudy("1.1", images=1)], [ArchiveStudy("1.1", images=1), ArchiveStudy("1.2", images=0)]),
    ],
)
def test_what_is_seen_for_the_first_time_has_not_settled_whatever_was_there_before(
    store: Store, before: list[ArchiveStudy], after: list[ArchiveStudy]
) -> None:
    order, seconds = register(store), [0.0]
    looking = Archive(store, CLINIC, ARCHIVE, "WORKLIST", lambda: seconds[0])
    assert not looking._is_settled(order, before)
    seconds[0] = 3600
    assert looking._is_settled(order, before)
    assert not looking._is_settled(order, after)
    seconds[0] += archive.STABLE
    assert looking._is_settled(order, list(reversed(after)))
