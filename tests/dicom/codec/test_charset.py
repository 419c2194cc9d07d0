"""What a character set lacks is written in letters that it has; nothing is dropped."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.dicom.codec import charset


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


@pytest.mark.parametrize(
    ("text", "fitted"),
    [
        ("Щербакова^Юлия^Ёлкина", "Shcherbakova^Iuliia^Elkina"),
        ("ЖУКОВ^ЩУКА", "ZHUKOV^SHCHUKA"),
        ("Қасымжомарт", "Kasymzhomart"),
        ("Їжак", "Izhak"),
        ("№ 5 «Заря» – …", 'No 5 "Zaria" - ...'),
        ("Müller", "Muller"),
        ("日本", "??"),
    ],
)
def test_latin_letters_are_those_of_passports(text: str, fitted: str) -> None:
    assert charset.fit(text, charset.LATIN) == fitted
    assert fitted.isascii()


WITH_CYRILLIC = (charset.UTF_8, charset.CYRILLIC, "ISO 2022 IR 144", "GB18030", "GBK")


@pytest.mark.parametrize(
    ("text", "term", "fitted"),
    [
        ("Щербакова^Юлия", "ISO_IR 100", "Shcherbakova^Iuliia"),
        ("Мюллер-Müller «Заря» №5", "ISO_IR 100", "Miuller-Müller «Zaria» No5"),
        ("ЖУКОВ Ş", "ISO_IR 148", "ZHUKOV Ş"),
        ("Š Жук", "ISO_IR 101", "Š Zhuk"),
        ("Š Жук", "ISO_IR 109", "S Zhuk"),
        ("Ωμέγα Жук é", "ISO_IR 126", "Ωμέγα Zhuk e"),
        ("Жук Müller", "ISO 2022 IR 144", "Жук Muller"),
        ("Жук Müller", "ISO 2022 IR 100", "Zhuk Müller"),
        ("Қасымов 日", "ISO_IR 100", "Kasymov ?"),
    ],
)
def test_a_set_without_cyrillic_letters_keeps_its_own_and_gets_the_others_in_latin(
    text: str, term: str, fitted: str
) -> None:
    assert charset.fit(text, term) == fitted


@pytest.mark.parametrize(
    ("text", "term", "changed"),
    [
        ("Кузнецова", charset.CYRILLIC, 0),
        ("Қасымова «Ә»", charset.CYRILLIC, 4),
        ("Қасымова", charset.UTF_8, 0),
        ("Кузнецова", charset.LATIN, 0),  # as the clinic wants it
        ("Кузнецова 日", charset.LATIN, 1),
        ("Кузнецова Müller", "ISO_IR 100", 0),
        ("Кузнецова Š", "ISO_IR 100", 1),
        ("Кузнецова", "GB18030", 0),
        ("Әлия?", "GBK", 1),
    ],
)
def test_what_is_written_otherwise_is_counted(text: str, term: str, changed: int) -> None:
    assert charset.fitted(text, term)[1] == changed


@given(st.text(max_size=30), st.sampled_from(sorted(charset.PYTHON_CODECS)))
def test_whatever_is_fitted_can_be_encoded_and_is_not_dropped(text: str, term: str) -> None:
    written = charset.fit(text, term)
    written.encode(charset.PYTHON_CODECS[term], "surrogatepass" if term == charset.UTF_8 else "strict")
    letters = [char for char in unicodedata.normalize("NFC", text) if char.isalpha() and char not in "ьЬъЪ"]
    assert len(written) >= len(letters) or term not in (*WITH_CYRILLIC, "")


@pytest.mark.parametrize(
    ("term", "meant"),
    [
        ("ISO IR 192", "ISO_IR 192"),
        ("ISO_IR_192", "ISO_IR 192"),
        ("iso-ir 192", "ISO_IR 192"),
        ("UTF-8", "ISO_IR 192"),
        ("utf8", "ISO_IR 192"),
        ("ISO-8859-5", "ISO_IR 144"),
        ("ISO2022IR144", "ISO 2022 IR 144"),
        ("windows-1251", "windows-1251"),
        ("CP1251", "windows-1251"),
        ("gb18030", "GB18030"),
        ("ISO_IR 144 ", "ISO_IR 144"),
        ("Not Supplied", ""),
        ("ISO 2022 IR 6", ""),
        ("ISO_IR 6", ""),
        ("ISO_IR 999", ""),
        ("KLINGON", ""),
        ("", ""),
    ],
)
def test_terms_are_taken_as_they_are_meant(term: str, meant: str) -> None:
    assert charset.intended(term) == meant


def test_utf_8_keeps_everything() -> None:
    assert charset.fit("Қ 日本 «Заря»", charset.UTF_8) == "Қ 日本 «Заря»"


@pytest.mark.parametrize(
    ("policy", "asked", "answered"),
    [
        ("auto", "ISO_IR 144", "ISO_IR 144"),
        ("auto", "ISO_IR 192", "ISO_IR 192"),
        ("auto", "ISO IR 144", "ISO_IR 144"),
        ("auto", "UTF-8", "ISO_IR 192"),
        ("auto", "ISO_IR 100", "ISO_IR 100"),
        ("auto", "ISO 8859-1", "ISO_IR 100"),
        ("auto", "ISO_IR 148", "ISO_IR 148"),
        ("auto", "ISO 2022 IR 6\\ISO 2022 IR 101", "ISO_IR 101"),
        ("auto", "ISO_IR 100\\ISO 2022 IR 144", "ISO_IR 144"),
        ("auto", "ISO_IR 126", "ISO_IR 192"),
        ("auto", "ISO_IR 6", "ISO_IR 192"),
        ("auto", "", "ISO_IR 192"),
        ("auto", "Not Supplied", "ISO_IR 192"),
        ("auto", "ISO 2022 IR 6\\ISO 2022 IR 144", "ISO_IR 144"),
        ("auto", "GB18030", "GB18030"),
        ("latin", "ISO_IR 192", "latin"),
        ("ISO_IR 144", "ISO_IR 192", "ISO_IR 144"),
        ("ISO_IR 192", "ISO_IR 144", "ISO_IR 192"),
    ],
)
def test_the_devices_policy_goes_before_what_it_asks_in(policy: str, asked: str, answered: str) -> None:
    assert charset.for_answer(policy, asked) == answered


def test_which_character_sets_have_cyrillic_letters() -> None:
    for term in ("ISO_IR 192", "ISO_IR 144", "\\ISO 2022 IR 144", "GB18030", "UTF-8"):
        assert charset.carries_cyrillic(term), term
    for term in ("", "ISO_IR 100", "ISO_IR 6", "\\ISO 2022 IR 87", "nonsense"):
        assert not charset.carries_cyrillic(term), term
