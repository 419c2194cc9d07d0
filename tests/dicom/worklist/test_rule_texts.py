"""Every verdict has words, and what is against has a remedy or needs none."""

from __future__ import annotations

import inspect
import re
from zoneinfo import ZoneInfo

import pytest

from broker.dicom.worklist import explain, rule_texts
from broker.domain.clinic.device_advice import RuleResult

ZONE = ZoneInfo("Europe/Moscow")
CODES = sorted(set(re.findall(r'"([a-z]+(?:_[a-z]+)*)"', inspect.getsource(explain))) & set(rule_texts.WORDS))


def test_the_words_are_those_of_the_verdicts() -> None:
    assert sorted(rule_texts.WORDS) == CODES


@pytest.mark.parametrize("code", CODES)
@pytest.mark.parametrize("ok", [True, False])
def test_every_verdict_is_a_sentence(code: str, ok: bool) -> None:
    verdict = RuleResult("key", ok, code, {"at": "2026-11-24T06:47:00+00:00", "keyword": "Modality"})
    for words in (rule_texts.sentence(verdict, ZONE), rule_texts.remedy(verdict, "XRAY_14")):
        assert "{" not in words
    assert len(rule_texts.sentence(verdict, ZONE)) > 15
    assert not (ok and rule_texts.remedy(verdict, "XRAY_14"))


def test_instants_are_shown_in_the_clinics_time() -> None:
    verdict = RuleResult("contact", True, "asked", {"at": "2026-11-24T06:47:00+00:00"})
    assert rule_texts.sentence(verdict, ZONE) == "it asked for its list on 2026-11-24 09:47"


def test_a_code_without_words_is_shown_as_it_is() -> None:
    assert rule_texts.sentence(RuleResult("key", False, "something_new"), ZONE) == "something_new"
    assert rule_texts.remedy(RuleResult("key", False, "something_new"), "X") == ""
