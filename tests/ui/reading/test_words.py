"""Every state of an over-read, every purpose of a lease and every action in the trail has its Russian words."""

from __future__ import annotations

from broker.domain.audit import AuditAction
from broker.domain.reading.leases import LeasePurpose
from broker.domain.reading.over_reads import OverReadOutcome
from ui.reading.report import writing_lease
from ui.text import over_reads, words
from ui.widgets import theme


def test_every_outcome_of_an_over_read_has_a_state_and_a_word() -> None:
    assert set(over_reads.OUTCOMES) == set(OverReadOutcome)
    assert {state for state, _ in over_reads.OUTCOMES.values()} <= set(theme.STATES)


def test_every_lease_has_a_word_for_what_is_written() -> None:
    assert set(writing_lease.WHAT) == set(LeasePurpose)


def test_every_action_about_reading_has_words() -> None:
    reading = {each for each in AuditAction if each.value.startswith(("read_", "over_read", "together_", "report_"))}
    assert reading <= set(words.ACTIONS)
    assert all(words.ACTIONS[each].strip() for each in reading)
