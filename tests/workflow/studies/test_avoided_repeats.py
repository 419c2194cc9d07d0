"""What was not ordered because it was made already is counted, once, and not if it was ordered after all."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from broker.domain.errors import Forbidden
from broker.domain.studies.avoided_repeats import AvoidedCount, AvoidedRepeat
from broker.store.database import Store
from broker.store.queries.studies import avoided_repeats as query
from broker.workflow.referrals import referrals
from broker.workflow.studies import avoided_repeats
from tests.support.factory import CLINIC, REGISTRAR, XRAY, draft

KNEE = AvoidedRepeat("form 1", "000001", "WLB-KNEE", "DX", "2026-11-12 DX K2611-0001", 0.01)


def counts(store: Store) -> list[AvoidedCount]:
    with store.read() as reader:
        now = store.clock()
        return query.counts(reader, now - timedelta(days=1), now + timedelta(seconds=1))


def test_a_form_counts_once_with_the_dose_of_the_earlier_study(store: Store) -> None:
    for avoided in (KNEE, KNEE, replace(KNEE, submission_id="form 2", effective_dose=None)):
        store.write(avoided_repeats.note, avoided, REGISTRAR)
    store.write(avoided_repeats.note, replace(KNEE, submission_id="form 3", modality="CT"), REGISTRAR)
    assert counts(store) == [AvoidedCount("DX", 2, 1, 0.01), AvoidedCount("CT", 1, 0, 0.01)]
    with store.read() as reader:
        now = store.clock()
        assert query.counts(reader, now + timedelta(seconds=1), now + timedelta(days=1)) == []
        assert reader.value("SELECT count(*) FROM audit WHERE action = 'repeat_avoided'") == 3


def test_what_is_ordered_after_all_was_not_avoided(store: Store) -> None:
    store.write(avoided_repeats.note, KNEE, REGISTRAR)
    store.write(referrals.register, draft(submission_id=KNEE.submission_id), REGISTRAR, CLINIC)
    assert counts(store) == []


def test_who_may_not_order_avoids_nothing(store: Store) -> None:
    with pytest.raises(Forbidden):
        store.write(avoided_repeats.note, KNEE, XRAY)
