"""What a character set lacks is written in letters that it has; nothing is dropped."""

from __future__ import annotations

import pytest

from broker.dicom import charset


@pytest.mark.parametrize(
    ("text", "fitted"),
    [
        ("Ёлкина Ольга", "Ёлкина Ольга"),
        ("№ 5 «Заря» – …", '№ 5 "Заря" - ...'),
        ("Қасымжомарт", "Касымжомарт"),
        ("Müller", "Muller"),
        ("И\u0306ошкар", "Йошкар"),
        ("日本", "??"),
    ],
)
def test_iso_ir_144(text: str, fitted: str) -> None:
    assert charset.fit(text, charset.CYRILLIC) == fitted
    assert charset.fit(text, charset.CYRILLIC).encode("iso8859_5")


def test_utf_8_keeps_everything() -> None:
    assert charset.fit("Қ 日本 «Заря»", charset.UTF_8) == "Қ 日本 «Заря»"


@pytest.mark.parametrize(
    ("policy", "asked", "answered"),
    [
        ("auto", "ISO_IR 144", "ISO_IR 144"),
        ("auto", "ISO_IR 192", "ISO_IR 192"),
        ("auto", "ISO IR 144", "ISO_IR 144"),
        ("auto", "UTF-8", "ISO_IR 192"),
        ("auto", "ISO_IR 100", "ISO_IR 192"),
        ("auto", "", "ISO_IR 192"),
        ("auto", "Not Supplied", "ISO_IR 192"),
        ("ISO_IR 144", "ISO_IR 192", "ISO_IR 144"),
        ("ISO_IR 192", "ISO_IR 144", "ISO_IR 192"),
    ],
)
def test_the_devices_policy_goes_before_what_it_asks_in(policy: str, asked: str, answered: str) -> None:
    assert charset.for_answer(policy, asked) == answered
