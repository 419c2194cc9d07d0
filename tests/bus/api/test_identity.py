"""Whom a local МИС means: two people never become one Patient here, and none of them gets the other's card."""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy
from dataclasses import replace
from datetime import date
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from broker.bus.api import people
from broker.store.database import Store
from broker.store.queries import inbox
from broker.store.tables import clients
from broker.workflow import patient_correction
from tests.bus.api.clinic import NAME, ApiClinic
from tests.bus.bundles import SNILS, Resource, accepted, call, concept, id_of, of, order, own_id, post
from tests.support import factory
from tests.support.factory import REGISTRAR
from ui.text import referral_fields

ONE, OTHER = "11223344595", "08765430300"
ANNA: Resource = {"name": [{"family": "Ёлкина", "given": ["Анна", "Сергеевна"]}], "birthDate": "1961-03-12"}
# What another description under one СНИЛС makes of the person: the same one, or another.
SAME: list[dict[str, Any]] = [
    {},
    {"name": [{"family": "ЕЛКИНА", "given": ["Анна", "Сергеевна"]}]},
    {"name": [{"family": "Ёлкина", "given": ["Анна"]}]},
]
DIFFERENT: list[dict[str, Any]] = [
    {"name": [{"family": "Ёлкина", "given": ["Алла", "Сергеевна"]}]},
    {"birthDate": "1961-12-03"},
    {"gender": "male"},
]
MARRIED: Resource = {"name": [{"family": "Сосновская", "given": ["Анна", "Сергеевна"]}]}
STEPAN: Resource = {"name": [{"family": "Попов", "given": ["Степан"]}], "birthDate": "1938-02-17", "gender": "male"}
# Two people under one card number of the client: what differs, and the reason that people see.
CONTRADICTING: list[tuple[Resource, str]] = [
    ({"name": [{"family": "Ёлкина", "given": ["Алла", "Сергеевна"]}]}, "number_other_name"),
    ({"name": [{"family": "Ёлкина", "given": ["Анна", "Петровна"]}]}, "number_other_name"),
    ({"name": [{"family": "Попова", "given": ["Ольга"]}]}, "number_other_name"),
    ({"name": [{"family": "Попов", "given": ["Степан"]}], "gender": "male"}, "number_other_sex"),
    (MARRIED | {"birthDate": "1961-12-03"}, "number_other_birth_date"),
    ({"birthDate": "1961-12-03"}, "number_other_birth_date"),
    ({"birthDate": "1962"}, "number_other_birth_date"),
    ({"gender": "male"}, "number_other_sex"),
    ({"gender": "male", "birthDate": "1938-02-17"}, "number_other_birth_date"),
    (STEPAN, "number_other_birth_date"),
]


@pytest.fixture
def accepting(store: Store) -> Iterator[ApiClinic]:
    opened = ApiClinic(store, auto_accept={"DX": "XRAY_14"})
    yield opened
    opened.close()


def described(*identifiers: Resource, number: str, **changes: Any) -> Resource:
    """Make an order for Анна with these identifiers, and these members of the Patient changed."""
    sent = order()
    of(sent, "ServiceRequest")["code"] = concept("urn:oid:1.2.643.2.69.1.2.900", "KNEE") | {
        "text": "Рентгенография коленного сустава"
    }
    person = of(sent, "Patient")
    person |= deepcopy(ANNA | changes)
    if person["birthDate"] is None:
        del person["birthDate"]
    person["identifier"] = [own_id(number), *identifiers]
    return sent


def snils(value: str, **more: Any) -> Resource:
    return {"system": SNILS, "value": value, **more}


def patient_of(clinic: ApiClinic, sent: Resource) -> str:
    return id_of(accepted(clinic.server, sent), "Patient")


def stored(clinic: ApiClinic, id: str) -> Resource:
    with clinic.store.read() as reader:
        found = clients.resource(reader, NAME, "Patient", id.rpartition("/")[2])
    assert found is not None
    return found


def cards(clinic: ApiClinic) -> int:
    with clinic.store.read() as reader:
        return int(reader.value("SELECT count(*) FROM patient"))


@pytest.mark.parametrize("changes", SAME, ids=str)
def test_one_snils_with_data_that_agree_is_one_patient(accepting: ApiClinic, changes: dict[str, Any]) -> None:
    first = patient_of(accepting, described(snils(ONE), number="M-1"))
    assert patient_of(accepting, described(snils(ONE), number="M-2", **changes)) == first
    assert cards(accepting) == 1
    assert accepting.waiting() == []


@pytest.mark.parametrize("changes", DIFFERENT, ids=str)
def test_one_snils_with_other_data_is_another_patient_who_waits_for_a_person(
    accepting: ApiClinic, changes: dict[str, Any]
) -> None:
    first = patient_of(accepting, described(snils(ONE), number="M-1"))
    before = stored(accepting, first)
    assert patient_of(accepting, described(snils(ONE), number="M-2", **changes)) != first
    assert stored(accepting, first) == before
    [waits] = accepting.waiting()
    assert waits.problems == {"snils": "other_patient"}
    assert cards(accepting) == 1


def test_different_numbers_under_one_card_number_are_two_patients(accepting: ApiClinic) -> None:
    first = patient_of(accepting, described(snils(ONE), number="M-1"))
    assert patient_of(accepting, described(snils(OTHER), number="M-1")) != first
    assert cards(accepting) == 2


@pytest.mark.parametrize("changes", [*SAME, MARRIED], ids=str)
def test_a_completed_or_married_name_under_the_clients_own_card_number_stays_with_its_patient(
    accepting: ApiClinic, changes: Resource
) -> None:
    first = patient_of(accepting, described(number="M-1"))
    assert patient_of(accepting, described(number="M-1", **changes)) == first


@pytest.mark.parametrize(("changes", "reason"), CONTRADICTING, ids=str)
def test_one_card_number_with_other_data_is_another_patient_who_waits_for_a_person(
    accepting: ApiClinic, changes: Resource, reason: str
) -> None:
    first = patient_of(accepting, described(number="M-1"))
    before = stored(accepting, first)
    assert patient_of(accepting, described(number="M-1", **changes)) != first
    assert stored(accepting, first) == before
    [waits] = accepting.waiting()
    assert waits.problems == {"patient": reason}
    assert ("patient", reason) in referral_fields.PROBLEMS
    assert cards(accepting) == 1


@pytest.mark.parametrize(
    ("less", "other"),
    [
        (
            {"name": [{"family": "Ёлкина", "given": ["Анна"]}]},
            {"name": [{"family": "Ёлкина", "given": ["Анна", "Петровна"]}]},
        ),
        ({"gender": "unknown"}, {"gender": "male"}),
        ({"birthDate": "1961"}, {"birthDate": "1961-12-03"}),
        ({"birthDate": None}, {"birthDate": "1938-02-17"}),
    ],
    ids=str,
)
def test_a_description_that_says_less_opens_no_patient_to_another_person(
    clinic: ApiClinic, less: Resource, other: Resource
) -> None:
    first = patient_of(clinic, described(number="M-1"))
    before = stored(clinic, first)
    assert patient_of(clinic, described(number="M-1", **less)) == first
    after = stored(clinic, first)
    assert patient_of(clinic, described(number="M-1", **other)) != first
    assert stored(clinic, first) == after
    assert (after["gender"], after["birthDate"]) == (before["gender"], before["birthDate"])
    assert after["name"][0] == before["name"][0]


def test_whoever_was_created_under_anothers_card_number_before_the_order_waits_for_a_person(
    accepting: ApiClinic,
) -> None:
    patient_of(accepting, described(number="M-1"))
    person = of(described(number="M-1", **STEPAN), "Patient")
    assert call(accepting.server, "POST", "/Patient", person).status_code == 201
    patient_of(accepting, described(number="M-1", **STEPAN))
    assert [each.problems for each in accepting.waiting()] == [{"patient": "number_other_birth_date"}]


def test_whose_order_a_person_has_accepted_waits_no_more_nor_does_the_first_bearer_of_the_number(
    accepting: ApiClinic,
) -> None:
    first = patient_of(accepting, described(number="M-1"))
    second = patient_of(accepting, described(number="M-1", **STEPAN))
    accepting.accept()
    assert patient_of(accepting, described(number="M-1", **STEPAN)) == second
    assert patient_of(accepting, described(number="M-1")) == first
    assert accepting.waiting() == []
    assert cards(accepting) == 2


def test_somebody_without_a_name_is_named_later_under_the_same_card_number(clinic: ApiClinic) -> None:
    unnamed = {"name": [{"family": "Неизвестный"}]}
    first = patient_of(clinic, described(number="M-1", **unnamed))
    assert patient_of(clinic, described(number="M-1")) == first
    assert patient_of(clinic, described(number="M-1", **STEPAN)) != first


def test_the_same_card_number_of_two_systems_is_two_patients(clinic: ApiClinic) -> None:
    first = patient_of(clinic, described(number="M-1"))
    sent = described(number="M-1")
    of(sent, "Patient")["identifier"][0]["assigner"]["display"] = "1.2.643.2.69.1.2.777"
    assert patient_of(clinic, sent) != first


@pytest.mark.parametrize("former", [{"use": "old"}, {"period": {"end": "2020-01-01"}}], ids=str)
def test_a_number_that_is_out_of_force_makes_nobody_its_bearer(accepting: ApiClinic, former: Resource) -> None:
    patient_of(accepting, described(snils(ONE), number="M-1"))
    other = described(snils(ONE, **former), number="M-2", name=[{"family": "Попова", "given": ["Ольга"]}])
    second = patient_of(accepting, other)
    assert cards(accepting) == 2
    assert stored(accepting, second)["name"][0]["family"] == "Попова"
    with accepting.store.read() as reader:
        bearers = reader.rows("SELECT family FROM patient WHERE snils = ?", [ONE])
    assert [row["family"] for row in bearers] == ["Ёлкина"]


def test_a_card_number_of_the_client_that_has_ended_leads_to_its_former_bearer_no_more(clinic: ApiClinic) -> None:
    def numbered(**more: Any) -> str:
        sent = described(number="M-1")
        of(sent, "Patient")["identifier"] = [own_id("M-1") | more]
        return patient_of(clinic, sent)

    first = numbered(period={"end": "2020-01-01"})
    second = numbered()
    assert second != first
    assert numbered() == second


def test_a_namesake_with_the_number_out_of_force_does_not_take_the_bearers_place(clinic: ApiClinic) -> None:
    ended = {"period": {"end": "2020-01-01"}}
    popova = {"name": [{"family": "Попова", "given": ["Анна", "Сергеевна"]}]}
    first = patient_of(clinic, described(snils(ONE), number="M-1"))
    second = patient_of(clinic, described(snils(ONE, **ended), number="M-2", **popova))
    assert second != first
    assert stored(clinic, first)["name"][0]["family"] == "Ёлкина"
    assert patient_of(clinic, described(snils(ONE), number="M-3")) == first


def test_a_replaced_closed_or_deceased_patient_waits_for_a_person(accepting: ApiClinic) -> None:
    standings: list[dict[str, Any]] = [
        {"link": [{"other": {"reference": "Patient/1"}, "type": "replaced-by"}]},
        {"active": False},
        {"deceasedBoolean": True},
    ]
    for number, changes in enumerate(standings):
        answer = post(accepting.server, described(number=f"M-{number}", **changes))
        if answer.status_code != 200:
            assert answer.status_code == 422  # the profile does not know that member
            continue
        assert accepting.waiting()[-1].problems
    assert cards(accepting) == 0


@pytest.mark.parametrize("number", ["00000000000", "000-000-000 00", "11111111145"])
def test_a_placeholder_is_no_number_of_anybody(clinic: ApiClinic, number: str) -> None:
    answer = post(clinic.server, described(snils(number), number="M-1"))
    assert answer.status_code == 422
    assert clinic.waiting() == []


_TRAITS: list[dict[str, Any]] = [*SAME, *DIFFERENT]


@pytest.mark.slow
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    come=st.lists(
        st.tuples(st.sampled_from(_TRAITS), st.sampled_from((ONE, OTHER, "")), st.sampled_from(("M-1", "M-2"))),
        min_size=2,
        max_size=4,
    )
)
def test_however_people_come_each_patient_keeps_one_snils_and_one_birth_date_of_it(
    tmp_path_factory: pytest.TempPathFactory, come: list[tuple[dict[str, Any], str, str]]
) -> None:
    store = factory.open_store(tmp_path_factory.mktemp("people") / "worklist.sqlite")
    clinic = ApiClinic(store)
    try:
        seen: dict[str, set[str]] = {}
        for changes, number, card in come:
            sent = described(*([snils(number)] if number else []), number=card, **changes)
            id = patient_of(clinic, sent)
            seen.setdefault(id, set()).update({number} - {""})
        assert all(len(numbers) <= 1 for numbers in seen.values()), seen
    finally:
        clinic.close()
        store.close()


_PEOPLE = st.fixed_dictionaries(
    {
        "family": st.sampled_from(("Ёлкина", "Попова", "Сосновская")),
        "given": st.sampled_from(("Анна", "Алла", "Инна", "Ольга")),
        "middle": st.sampled_from(("Сергеевна", "Петровна")),
        "birthDate": st.dates(date(1920, 1, 1), date(2020, 12, 31)).map(str),
        "gender": st.sampled_from(("male", "female")),
    }
)


def as_patient(traits: dict[str, str]) -> Resource:
    name = {"family": traits["family"], "given": [each for each in (traits["given"], traits["middle"]) if each]}
    return {
        "resourceType": "Patient",
        "identifier": [own_id("M-1")],
        "name": [name],
        "birthDate": traits["birthDate"],
        "gender": traits["gender"],
    }


@given(one=_PEOPLE, other=_PEOPLE, trait=st.sampled_from(("given", "middle", "birthDate", "gender")))
def test_two_people_who_differ_in_one_trait_are_never_the_same_under_one_card_number(
    one: dict[str, str], other: dict[str, str], trait: str
) -> None:
    assume(one[trait] != other[trait])
    differing = one | {trait: other[trait]}
    for first, second in ((one, differing), (differing, one), (one, other), (other, one)):
        assert not is_same(as_patient(first), as_patient(second))
    assert is_same(as_patient(one), as_patient(one | {"family": other["family"]}))


@given(one=_PEOPLE, other=_PEOPLE, trait=st.sampled_from(("middle", "birthDate", "gender")))
def test_what_a_later_description_leaves_out_goes_on_telling_people_apart(
    one: dict[str, str], other: dict[str, str], trait: str
) -> None:
    assume(one[trait] != other[trait])
    less = one | {trait: {"middle": "", "birthDate": one["birthDate"][:4], "gender": "unknown"}[trait]}
    assert is_same(as_patient(one), as_patient(less))
    kept = people.completed(as_patient(one), as_patient(less), date(2026, 11, 24))
    assert is_same(kept, as_patient(one))
    assert not is_same(kept, as_patient(one | {trait: other[trait]}))


def is_same(one: Resource, other: Resource) -> bool:
    return people.is_same(one, other, date(2026, 11, 24), by_snils=False)


def test_people_see_who_of_ours_bears_the_number_under_which_another_one_is_described(accepting: ApiClinic) -> None:
    patient_of(accepting, described(number="M-1"))
    patient_of(accepting, described(number="M-2", **STEPAN))
    patient_of(accepting, described(number="M-1", birthDate="1961-12-03"))
    [waits] = accepting.waiting()
    with accepting.store.read() as reader:
        [bearer] = inbox.bearers_of_number(reader, waits)
    assert (bearer.name.family, str(bearer.birth_date)) == ("Ёлкина", ANNA["birthDate"])


def test_a_card_that_is_corrected_as_the_client_has_corrected_it_takes_the_referral(accepting: ApiClinic) -> None:
    patient_of(accepting, described(number="M-1"))
    patient_of(accepting, described(number="M-1", birthDate="1961-12-03"))
    [waits] = accepting.waiting()
    with accepting.store.read() as reader:
        [bearer] = inbox.bearers_of_number(reader, waits)
    corrected = replace(bearer, birth_date=date(1961, 12, 3))
    accepting.store.write(patient_correction.correct, corrected, REGISTRAR, accepting.clinic)
    order = accepting.accept()
    assert order.patient.id == bearer.id
    assert cards(accepting) == 1
    # What the client sends of its corrected patient from now on waits no more.
    patient_of(accepting, described(number="M-1", birthDate="1961-12-03"))
    assert accepting.waiting() == []
    assert cards(accepting) == 1
