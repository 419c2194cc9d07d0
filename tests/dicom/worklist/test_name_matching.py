"""Names are found however they were typed, and nobody else's."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.dicom.codec import transliteration
from broker.dicom.worklist import name_matching
from broker.domain.patients import names
from broker.domain.patients.people import PersonName
from tests.support.waiting import at_most

NAME = "Щербакова^Юлия^Сергеевна"


@pytest.mark.parametrize(
    "key",
    [
        "ЩЕРБАКОВА^ЮЛИЯ",
        "щербакова юлия",
        "Щербакова Юлия Сергеевна",
        "Щербакова Ю*",
        "Щербак?ва^Юлия",
        "^Юлия",
        "^^Сергеевна",
        "Щepбaкoвa",  # Latin p, e, a, o
        # Passports, road signs, standards, telegrams, maps, the handwriting of people.
        "Shcherbakova^Iuliia^Sergeevna",
        "SHCHERBAKOVA^YULIYA",
        "Scherbakova Yulia",
        "Shherbakova^Yuliya",
        "Ščerbakova^Julija",
        "Scerbakova^Iuliia",
        "Chtcherbakova^Ioulia",
        "Shcherbakova*",
        "shcher*",
        "*yuliya*",
        "Shch?rbakova^*",
        "^Yulia",
        "Shcherbakova^Yulia^Sergeyevna",
        "Iwanow=Щербакова",  # component groups: any may match
        "??????=Щербакова",
    ],
)
def test_a_name_is_found(key: str) -> None:
    assert name_matching.matches(key, NAME)


@pytest.mark.parametrize(
    "key",
    [
        "Щербаков",
        "Юлия",
        "Щербакова^Анна",
        "Щербакова^Юлия^Ивановна",
        "Shcherbakov",
        "Shcherbakova^Anna",
        "Yulia",
        "Shcherbakova Anna",
        "???????",
        "?????????^????^?????????",
        "?* ?*",
        "????=?????",
        "%",
        "_________",
        "*=Иванова",  # what one group leaves open another one may still ask for
        "Wcherbakova",
    ],
)
def test_another_name_is_not(key: str) -> None:
    assert not name_matching.matches(key, NAME)


@pytest.mark.parametrize("key", ["", "*", " ", "^^", "*^*", "**", "^^^^", "*=*", "=", "?*", "*?*", "?*^*"])
def test_a_name_of_nothing_but_stars_and_delimiters_asks_for_anybody(key: str) -> None:
    assert name_matching.is_universal(key)
    assert name_matching.matches(key, NAME)
    assert name_matching.matches(key, "")


@pytest.mark.parametrize(
    ("key", "undecodable"), [("??????", True), ("???^??", True), ("?* ?", True), ("??=??", True), ("Ли?", False)]
)
def test_question_marks_alone_are_what_a_device_sends_that_cannot_write_cyrillic(key: str, undecodable: bool) -> None:
    assert name_matching.is_undecodable(key) is undecodable


@pytest.mark.parametrize(
    ("key", "stored"),
    [
        ("Люксембург", "Люкceмбypг"),
        ("Lyuxemburg*", "Люксембургская"),
        ("Buc^Jerome", "Buc^Jérôme"),
        ("ÄNEAS^Rüdiger", "Aneas^Rudiger"),
        ("Елкин", "Ёлкин"),
        ("Yolkin", "Ёлкин"),
        ("Elkin", "Ёлкин"),
        ("Римский Корсаков", "Римский Корсаков^Николай"),
        ("Rimsky*", "Римский-Корсаков^Николай"),
        ("Zhukovsky^Dmitry", "Жуковский^Дмитрий"),
        ("Zukovskij^Dmitrij", "Жуковский^Дмитрий"),
        ("Chekhov", "Чехов"),
        ("Khasanov", "Хасанов"),
        ("Hasanov", "Хасанов"),
        ("Tsoi", "Цой"),
        ("Coj", "Цой"),
        ("Kasymov", "Қасымов"),
        ("王^小东", "Wang^XiaoDong=王^小东"),
        ("wang^xiaodong", "Wang^XiaoDong=王^小东"),
    ],
)
def test_pairs_that_are_one_name(key: str, stored: str) -> None:
    assert name_matching.matches(key, stored)


@pytest.mark.parametrize("key", ["*а^Марина^Петровна", "*^Марина^Петровна", "*а^Петровна", "*Marina^Petrovna"])
@pytest.mark.parametrize("end", ["", "^", "^^", " ^ ^"])
def test_trailing_empty_components_do_not_matter(key: str, end: str) -> None:
    assert name_matching.matches(key, f"Иванова^Марина^Петровна{end}")


LETTERS = st.text("абвгдеёжзийклмнопрстуфхцчшщыэюя", min_size=1, max_size=10).map(str.capitalize)


@given(LETTERS, LETTERS, st.sampled_from(transliteration.SCHEMAS))
def test_every_schema_finds_the_name_that_it_spells(family: str, given_name: str, schema: object) -> None:
    key = f"{schema.translate(family)}^{schema.translate(given_name)}"  # type: ignore[attr-defined]
    if transliteration.plain(key).strip("^").isascii():
        assert name_matching.matches(key, f"{family}^{given_name}")


@given(LETTERS)
def test_no_spelling_begins_otherwise_than_its_initial_may(word: str) -> None:
    possible = transliteration.initials(names.in_one_alphabet(word)[0])
    assert {each[:1] for each in transliteration.spellings(word)} <= possible or "" in possible


@given(
    st.builds(PersonName, LETTERS, st.one_of(st.just(""), LETTERS), st.one_of(st.just(""), LETTERS)),
    st.text("абвгдеёaeop*?^ =", max_size=8),
)
def test_the_beginning_given_to_the_index_never_leaves_a_match_out(name: PersonName, key: str) -> None:
    stored = names.to_dicom(name)
    for each in (key, stored[: len(key)] + "*", stored, str(name)[: len(key)] + "*", f"{name.family}^{key}"):
        if name_matching.matches(each, stored):
            assert names.fold(str(name)).startswith(name_matching.beginning(each))


def test_hostile_patterns_take_no_time() -> None:
    with at_most():
        for pattern in ("**а*а*а*!" * 7, "*a*a" * 16, "?*" * 32, "*^*" * 20):
            name_matching.matches(pattern[:64], "а" * 60 + "^Юлия")
            name_matching.matches(pattern[:64], "Щербаков" * 8)
