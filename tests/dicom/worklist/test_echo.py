"""A device that reports what its worklist gave it is never a device that names another patient."""

from __future__ import annotations

import os
import random
import unicodedata
from dataclasses import replace
from datetime import date

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from broker.dicom.codec import charset
from broker.dicom.worklist.response import Alterations, Style, fit_name
from broker.domain import validation
from broker.domain.patients import identity, incomplete, names
from broker.domain.patients.people import Patient, PersonName, Sex
from broker.workflow.devices import RANGES, RARE_CHARSETS
from tests.support.clock import TODAY

CASES = int(os.environ.get("ECHO", "200"))  # 10000 by hand
BORN = date(1961, 3, 12)
_CYRILLIC = "абвгдеёжзийклмнопрстуфхцчшщъыьэюяәғқңөұүһіїєґўҙҡҫѓќљњџ"
_LATIN = "aeiouyzxbcnńñéèêëöüäåøłđßıığşçțğễ"
# No name is made of soft signs only, of which nothing is left in Latin.
parts = st.one_of(*(st.text(each, min_size=1, max_size=14).map(str.capitalize) for each in (_CYRILLIC, _LATIN))).filter(
    names.transliterated
)
cards_of_clinic = st.integers(1, 999_999).map("{:06d}".format)
components = st.one_of(
    parts,
    st.builds("{}{}{}".format, parts, st.sampled_from(["-", "–", "\u2011", "'", "’", "ʼ", " "]), parts),
)


def _is_family(part: str) -> bool:
    """Return False for No, I and the like, which are signs beside «девочка»; and for two alphabets in one name."""
    alphabets = {unicodedata.name(char).split()[0] for char in part if char.isalpha()}
    return names.is_newborn(PersonName(part, "девочка")) and len(alphabets) == 1


people = st.builds(PersonName, components, components | st.just(""), components | st.just("")).filter(
    lambda name: (
        not {"family", "given", "middle"} & set(validation.patient_problems(_patient(name), TODAY))
        and names.identifies(name)
        and _is_family(name.family)
    )
)
# What stands in the place of a name, one name, an apostrophe first.
unnamed = st.one_of(
    st.builds(incomplete.numbered, st.sampled_from(list(Sex)).map(incomplete.unidentified_name), cards_of_clinic),
    st.builds(PersonName, st.just("Неизвестный"), st.integers(1, 999).map("№{}".format)),
    st.builds(incomplete.newborn_name, people, st.sampled_from([Sex.FEMALE, Sex.MALE])),
    st.builds(PersonName, parts, st.sampled_from(["девочка 1", "мальчик 2", "новорождённая"])),
    st.builds(PersonName, parts),
    st.builds(PersonName, parts.map("'т {}".format), parts),
)
CARDS = ["000001", "К-17", "Ж/5", "Щ17", "A-1", "ХМ-2026/000123"]
cards = st.sampled_from(CARDS)
styles = st.builds(
    Style,
    st.sampled_from([charset.UTF_8, charset.CYRILLIC, charset.LATIN, "GB18030", *RARE_CHARSETS]),
    st.integers(16, 64),
)


def _patient(name: PersonName, card: str = "000001") -> Patient:
    return Patient(name, BORN, Sex.FEMALE, patient_id=card)


@pytest.mark.slow
@settings(max_examples=CASES, deadline=None)
@given(people, cards, styles)
def test_an_echo_of_the_worklist_contradicts_nothing(name: PersonName, card: str, style: Style) -> None:
    reported = fit_name(names.to_dicom(name), style, Alterations())
    number = charset.fit(card, style.charset)
    assert identity.contradictions(_patient(name, card), reported, number, "19610312", "F") == []


@pytest.mark.slow
@settings(max_examples=CASES, deadline=None)
@given(unnamed, cards, styles, st.sampled_from([None, 1961]))
def test_an_echo_of_somebody_who_is_not_fully_known_contradicts_nothing(
    name: PersonName, card: str, style: Style, year: int | None
) -> None:
    known = replace(_patient(name, card), birth_date=None, birth_year=year)
    reported = fit_name(names.to_dicom(name), style, Alterations())
    number = charset.fit(card, style.charset)
    for born in ("", "19000101"):  # what devices make of a date that was not sent
        assert identity.contradictions(known, reported, number, born, "F") == []


# Every way in which a device may be given a name: character sets that write the same letters are one; how many
# characters it takes, from the fewest on.
EVERY_STYLE = [
    Style(letters, longest)
    for letters in {codec: letters for letters, codec in charset.PYTHON_CODECS.items()}.values()
    for longest in (RANGES["longest"][0], 16, RANGES["longest"][1])
]
_SIGNS = ("-", "–", "\u2011", "'", "’", "ʼ", " ")


def _made_up(chance: random.Random) -> PersonName:
    """Return a name of one alphabet, some with two words in a component, or without patronymic or given name."""
    letters = chance.choice((_CYRILLIC, _CYRILLIC, _LATIN))

    def part() -> str:
        return "".join(chance.choices(letters, k=chance.randint(1, 14))).capitalize()

    components = [part() + (chance.choice(_SIGNS) + part() if chance.random() < 0.2 else "") for _ in range(3)]
    return PersonName(*components[: chance.choices((1, 2, 3), (1, 3, 12))[0]])


def _is_registered(name: PersonName) -> bool:
    wrong = {"family", "given", "middle"} & set(validation.patient_problems(_patient(name), TODAY))
    return not wrong and names.identifies(name) and _is_family(name.family)


def _contradictions(seed: int, count: int) -> list[tuple[PersonName, str, str, list[str]]]:
    """Return what contradicts in the echoes of so many names by devices of every style."""
    chance = random.Random(seed)
    tried, wrong = 0, []
    while tried < count:
        name, card = _made_up(chance), chance.choice(CARDS)
        if not _is_registered(name):
            continue
        tried += 1
        whole = names.to_dicom(name)
        given = {(fit_name(whole, each, Alterations()), charset.fit(card, each.charset)) for each in EVERY_STYLE}
        for reported, number in sorted(given):
            if found := identity.contradictions(_patient(name, card), reported, number, "19610312", "F"):
                wrong.append((name, reported, number, found))
    return wrong


@pytest.mark.slow
def test_no_echo_of_some_names_contradicts_whatever_a_device_is_given() -> None:
    assert _contradictions(seed=17, count=150) == []


BATCHES = 5  # of the ten thousand, for several processes


@pytest.mark.slow
@pytest.mark.parametrize("batch", range(BATCHES))
def test_no_echo_of_ten_thousand_names_contradicts_whatever_a_device_is_given(batch: int) -> None:
    assert _contradictions(seed=10_000 + batch, count=10_000 // BATCHES) == []


@pytest.mark.parametrize(
    ("family", "shown"), [("Щнук-Ноя", "Shchnuk-"), ("Петров Водкин", "Petrov V"), ("Аль-Хатиб", "Al-Khati")]
)
def test_a_sign_counts_as_a_character_of_a_family_name_that_is_cut(family: str, shown: str) -> None:
    known = _patient(PersonName(family, "Анна", "Ивановна"))
    assert fit_name(names.to_dicom(known.name), Style(charset.LATIN, 8), Alterations()) == shown
    assert identity.contradictions(known, shown, "", "19610312") == []
    assert identity.contradictions(known, "Petrova", "", "19610312") == ["patient_name"]


def _twins(one: PersonName, first: str, second: str) -> tuple[PersonName, PersonName]:
    """Return two who are registered under one name, one after the other."""
    return incomplete.numbered(one, first), incomplete.numbered(one, second, is_taken=True)


different_cards = st.tuples(cards_of_clinic, cards_of_clinic).filter(lambda pair: pair[0] != pair[1])
families = parts.filter(_is_family)
# Two of whom a name does not say who they are.
pairs = st.one_of(
    st.builds(
        lambda sex, cards: _twins(incomplete.unidentified_name(sex), *cards),
        st.sampled_from(list(Sex)),
        different_cards,
    ),
    st.builds(
        lambda mother, sex, cards: _twins(incomplete.newborn_name(mother, sex), *cards),
        people,
        st.sampled_from([Sex.FEMALE, Sex.MALE]),
        different_cards,
    ),
    st.builds(lambda cards: _twins(PersonName("Неизвестный", "1"), *cards), different_cards),
    st.builds(lambda family, cards: _twins(PersonName(family, "девочка"), *cards), families, different_cards),
    st.builds(
        lambda family, words: tuple(PersonName(family, f"девочка {word}") for word in words),
        families,
        st.sampled_from([("1", "2"), ("№1", "№2"), ("первая", "вторая")]),
    ),
    st.builds(lambda family: (PersonName(family, "мальчик", "1"), PersonName(family, "мальчик", "2")), families),
)


@pytest.mark.slow
@settings(max_examples=CASES, deadline=None)
@given(pairs, styles)
def test_two_without_a_name_look_different_on_every_device_and_their_images_are_kept_apart(
    pair: tuple[PersonName, PersonName], style: Style
) -> None:
    shown = [fit_name(names.to_dicom(name), style, Alterations()) for name in pair]
    assert names.fold(shown[0]) != names.fold(shown[1])
    for name, reported in zip(pair, shown, strict=True):
        assert identity.contradictions(_patient(name), reported, "", "19610312", "F") == []
    assert identity.contradictions(_patient(pair[0]), shown[1], "", "19610312", "F") == ["patient_name"]


@pytest.mark.parametrize(
    ("name", "letters", "longest", "shown"),
    [
        ("Неизвестный №004512", charset.LATIN, 16, "Neizv.^No004512"),
        ("Неизвестный №004512", charset.LATIN, 8, "No004512"),
        ("Новорождественская новорождённая №000014 мать Мария", charset.CYRILLIC, 20, "Новорожд^н/р^№000014"),
        ("Новорождественская новорождённая №000014 мать Мария", charset.LATIN, 20, "Novoro^n/r^No000014"),
        ("Иванова девочка 2", charset.UTF_8, 16, "Иванова^н/р^2"),
        ("Иванова девочка вторая", charset.LATIN, 20, "Ivanova^n/r^vtoraia"),
    ],
)
def test_the_number_survives_what_cuts_a_name(name: str, letters: str, longest: int, shown: str) -> None:
    assert fit_name(names.to_dicom(names.split(name)), Style(letters, longest), Alterations()) == shown


@pytest.mark.parametrize(
    ("card", "number", "same"),
    [
        ("К-17", "K-17", True),  # transliterated, or typed on another keyboard
        ("К-17", "-17", True),  # an archive that strips what its character set does not have
        ("К-17", "?-17", True),
        ("Щ17", "SHCH17", True),
        ("К-17", "М-17", False),
        ("К-17", "M-17", False),
        ("К-17", "K-18", False),
        ("000001", "000010", False),
        ("A-1", "-1", False),
    ],
)
def test_a_card_number_is_the_same_only_in_the_characters_that_a_device_has(card: str, number: str, same: bool) -> None:
    found = identity.contradictions(_patient(PersonName("Ким", "Анна"), card), "KIM^ANNA", number, "")
    assert found == ([] if same else ["patient_id"])
