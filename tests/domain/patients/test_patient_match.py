"""Who somebody is: certain only where nothing else is possible, and never the first of several."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.domain.patients import patient_match
from broker.domain.patients.patient_match import NUMBERS, Likeness, PatientMatch, Similarity
from broker.domain.patients.people import Patient, PersonName, Sex

BORN = date(1961, 3, 12)
ANNA = Patient(PersonName("Близнецова", "Анна", "Петровна"), BORN, Sex.FEMALE, id=1, patient_id="000001")
SNILS, OTHER_SNILS, POLICY = "11223344595", "08765430300", "7800000012345671"


def described(known: Patient, **changes: object) -> Patient:
    """Return how somebody describes a patient of ours: without our numbers."""
    return replace(known, id=None, patient_id="", revision=0, **changes)  # type: ignore[arg-type]


def match(person: Patient, *known: Patient) -> PatientMatch:
    return patient_match.match(person, known)


def test_full_name_birth_date_and_sex_are_one_person_while_only_one_bears_them() -> None:
    assert match(described(ANNA), ANNA).patient == ANNA
    assert match(described(ANNA), ANNA, replace(ANNA, id=2)).likeness is Likeness.SEVERAL
    assert match(described(ANNA), ANNA, replace(ANNA, id=2)).patient is None


@pytest.mark.parametrize("field", ["snils", "policy"])
def test_a_number_that_differs_makes_another_person_whatever_else_agrees(field: str) -> None:
    known = replace(ANNA, **{field: SNILS})  # type: ignore[arg-type]
    assert match(described(ANNA, **{field: OTHER_SNILS}), known).likeness is Likeness.NO_MATCH


def test_a_number_decides_between_namesakes() -> None:
    one, other = replace(ANNA, snils=SNILS), replace(ANNA, id=2, snils=OTHER_SNILS)
    assert match(described(ANNA, snils=OTHER_SNILS), one, other).patient == other
    assert match(described(ANNA), one, other).likeness is Likeness.SEVERAL
    assert match(described(ANNA, snils="16732486100"), one, other).likeness is Likeness.NO_MATCH


@pytest.mark.parametrize(
    ("changes", "fields"),
    [
        ({"name": PersonName("Близнецова", "Алла", "Петровна")}, ("name",)),
        ({"name": PersonName("Замужняя", "Анна", "Петровна")}, ("name",)),
        ({"birth_date": date(1961, 12, 3)}, ("birth_date",)),
        ({"sex": Sex.MALE}, ("sex",)),
        ({"policy": "7800000012345689"}, ("policy",)),
    ],
)
def test_a_number_of_ours_with_other_data_is_for_a_person_to_decide(
    changes: dict[str, object], fields: tuple[str, ...]
) -> None:
    found = match(described(ANNA, snils=SNILS, **changes), replace(ANNA, snils=SNILS, policy=POLICY))
    assert (found.likeness, found.fields, found.patient) == (Likeness.CONTRADICTORY, fields, None)


@pytest.mark.parametrize(
    "changes",
    [
        {"name": PersonName("БЛИЗНЕЦОВА", "Анна")},
        {"birth_date": None},
        {"sex": Sex.OTHER},
        {"policy": POLICY},
    ],
)
def test_what_is_not_said_beside_a_number_contradicts_nothing(changes: dict[str, object]) -> None:
    known = replace(ANNA, snils=SNILS)
    assert match(described(ANNA, snils=SNILS, **changes), known).patient == known


def test_two_numbers_that_name_two_people_name_nobody() -> None:
    one, other = replace(ANNA, snils=SNILS), replace(ANNA, id=2, policy=POLICY)
    found = match(described(ANNA, snils=SNILS, policy=POLICY), one, other)
    assert (found.likeness, found.fields) == (Likeness.CONTRADICTORY, ("snils", "policy"))


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"name": PersonName("Близнецова", "Анна")}, Similarity.MIDDLE),
        ({"name": PersonName("Близнецова", "Анна", "Петрвна")}, Similarity.LETTER),
        ({"name": PersonName("Близнецова", "Анан", "Петровна")}, Similarity.LETTER),
        ({"name": PersonName("Замужняя", "Анна", "Петровна")}, Similarity.FAMILY),
        ({"name": PersonName("Замужняя", "Анна")}, Similarity.FAMILY_AND_MIDDLE),
        ({"name": PersonName("Замужняя", "Анна", "Павловна")}, None),
        ({"name": PersonName("Замужняя", "Алла")}, None),
        ({"name": PersonName("Замужняя", "Анна"), "sex": Sex.OTHER}, None),
        ({"name": PersonName("Замужняя", "Анна"), "birth_date": date(1961, 12, 3)}, None),
        ({"name": PersonName("Bliznetsova", "Anna", "Petrovna")}, Similarity.SPELLING),
        ({"name": PersonName("BLIZNETCOVA", "ANNA")}, Similarity.SPELLING),
        ({"name": PersonName("Anna", "Bliznetsova")}, Similarity.SPELLING),
        ({"name": PersonName("Близнецова", "Anna")}, Similarity.SPELLING),
        ({"name": PersonName("Bliznetsova", "Anna"), "birth_date": None}, Similarity.SPELLING_ALONE),
        ({"name": PersonName("BLIZNETSOVA", "Anna", "Petrovna"), "birth_date": None}, Similarity.SPELLING_ALONE),
        (
            {"name": PersonName("Bliznetsova", "Anna"), "birth_date": None, "birth_year": 1961},
            Similarity.SPELLING_ALONE,
        ),
        ({"name": PersonName("Bliznetsova", "Anna"), "birth_date": None, "birth_year": 1960}, None),
        ({"name": PersonName("Bliznetsova", "Alla"), "birth_date": None}, None),
        ({"name": PersonName("Bliznetsova"), "birth_date": None}, None),
        ({"name": PersonName("Близнецова", "Анна"), "birth_date": None}, None),
        ({"name": PersonName("Bliznetsova", "Anna"), "birth_date": date(1961, 12, 3)}, Similarity.SWAPPED_DATE),
        ({"name": PersonName("Bliznetsova", "Anna"), "birth_date": date(1961, 3, 13)}, Similarity.DATE),
        ({"name": PersonName("Bliznetsova", "Anna"), "birth_date": date(1951, 3, 12)}, Similarity.YEAR),
        ({"name": PersonName("Bliznetsova", "Anna"), "birth_date": date(1984, 8, 15)}, None),
        ({"name": PersonName("Bliznetsova", "Alla", "Petrovna")}, None),
        ({"name": PersonName("Bliznetsova", "Anna", "Pavlovna")}, None),
        ({"name": PersonName("Bliznetsova")}, None),
        ({"birth_date": date(1961, 12, 3)}, Similarity.SWAPPED_DATE),
        ({"birth_date": date(1961, 8, 15)}, Similarity.DATE),
        ({"name": PersonName("Близнецва", "Анна")}, Similarity.LETTER),
        ({"name": PersonName("Близнецова", "Анна"), "birth_date": date(1961, 12, 3)}, Similarity.SWAPPED_DATE),
        ({"name": PersonName("Близнецова", "Анна"), "birth_date": date(1961, 3, 13)}, Similarity.DATE),
        ({"name": PersonName("Близнецова", "Анна"), "birth_date": date(1961, 8, 15)}, None),
        ({"name": PersonName("Близнецва", "Анна"), "birth_date": date(1961, 12, 3)}, Similarity.LETTER_AND_DATE),
        (
            {"name": PersonName("Близнецова", "Ана", "Петровна"), "birth_date": date(1961, 12, 3)},
            Similarity.LETTER_AND_DATE,
        ),
        ({"name": PersonName("Анна", "Близнецова", "Петровна")}, Similarity.EXCHANGED),
        ({"name": PersonName("Анна", "Близнецова")}, Similarity.EXCHANGED),
        ({"name": PersonName("Близнецова", "А", "П")}, Similarity.INITIALS),
        ({"name": PersonName("Близнецова", "А.П.")}, Similarity.INITIALS),
        ({"name": PersonName("Близнецова", "А")}, Similarity.INITIALS),
        ({"name": PersonName("Близнецова", "Анна", "П.")}, Similarity.INITIALS),
        ({"name": PersonName("Близнецова", "М", "П")}, None),
        ({"name": PersonName("Близнецова", "А", "С")}, None),
        ({"birth_date": date(1951, 3, 12)}, Similarity.YEAR),
        ({"name": PersonName("Близнецова", "Анна"), "birth_date": date(1951, 3, 12)}, Similarity.YEAR),
        ({"name": PersonName("Близнецова", "Анна"), "birth_date": date(1984, 3, 12)}, None),
        ({"sex": Sex.MALE}, Similarity.SEX),
        ({"sex": Sex.OTHER}, Similarity.SEX),
        ({"name": PersonName("Близнецова", "Алла", "Петровна"), "birth_date": date(1961, 8, 15)}, None),
        ({"birth_date": None}, None),
    ],
)
def test_somebody_similar_is_offered_with_the_reason_and_never_taken(
    changes: dict[str, object], why: Similarity | None
) -> None:
    person = described(ANNA, **changes)
    assert match(person, ANNA).patient is None
    if why:
        assert (match(person, ANNA).likeness, match(person, ANNA).patients) == (Likeness.SIMILAR, (ANNA,))
        assert patient_match.similarity(person, ANNA) is why


def test_people_without_a_birth_date_are_never_one_by_their_name() -> None:
    unknown = replace(ANNA, birth_date=None)
    assert match(described(unknown), unknown).patient is None
    assert match(described(unknown), unknown).likeness is Likeness.SIMILAR


people = st.builds(
    Patient,
    st.builds(
        PersonName,
        st.sampled_from(["Иванова", "ИВАНОВА", "Иваноова", "Петрова"]),
        st.sampled_from(["Анна", "Алла"]),
        st.sampled_from(["", "Петровна"]),
    ),
    st.sampled_from([None, BORN, date(1961, 12, 3), date(1961, 8, 15)]),
    st.sampled_from(Sex),
    snils=st.sampled_from(["", SNILS, OTHER_SNILS]),
    policy=st.sampled_from(["", POLICY]),
)
known_people = st.lists(people, max_size=5).map(
    lambda many: [replace(each, id=at, patient_id=f"{at:06}") for at, each in enumerate(many, 1)]
)


@given(people, known_people)
def test_whoever_is_certain_is_the_only_one_who_fits(person: Patient, known: list[Patient]) -> None:
    known = [*known, replace(person, id=99, patient_id="000099")]  # the very same is always among them
    found = match(person, *known)
    sharing = [each for each in known if any(getattr(person, field) == getattr(each, field) != "" for field in NUMBERS)]
    if found.patient is None:
        return
    assert not patient_match.contradictions(found.patient, person)
    if sharing:
        assert sharing == [found.patient]
    else:
        namesakes = [each for each in known if str(each.name).casefold() == str(person.name).casefold()]
        assert [each for each in namesakes if (each.birth_date, each.sex) == (person.birth_date, person.sex)] == [
            found.patient
        ]


@given(people, known_people, st.randoms())
def test_the_order_in_which_people_were_found_decides_nothing(
    person: Patient, known: list[Patient], random: Random
) -> None:
    shuffled = list(known)
    random.shuffle(shuffled)
    one, other = match(person, *known), match(person, *shuffled)
    assert one.likeness is other.likeness
    assert set(one.patients) == set(other.patients)


@given(st.text("абв", max_size=6), st.text("абв", max_size=6))
def test_one_letter_is_one_letter(one: str, other: str) -> None:
    """Compared with every single edit made by hand."""
    edits = {one[:at] + one[at + 1 :] for at in range(len(one))}
    edits |= {one[:at] + letter + one[at:] for at in range(len(one) + 1) for letter in "абв"}
    edits |= {one[:at] + letter + one[at + 1 :] for at in range(len(one)) for letter in "абв"}
    edits |= {one[:at] + one[at + 1] + one[at] + one[at + 2 :] for at in range(len(one) - 1)}
    assert patient_match.one_letter_apart(one, other) == (other in edits and one != other)
