"""The region's data at the desk: offered beside what is typed, taken by a person, never over it."""

from __future__ import annotations

import json
import threading
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from nicegui.elements.mixins.text_element import TextElement
from nicegui.testing import User

from broker.domain.actors import Actor
from broker.domain.patients.people import Patient, PersonName
from broker.domain.patients.region_people import RegionAnswer, RegionPerson, RegionQuestion
from broker.store.database import Tx
from broker.workflow.patients import region_people
from broker.workflow.referrals import referrals
from tests.support import factory
from tests.support.factory import CLINIC, KUZNETSOVA, REGISTRAR
from tests.support.waiting import assert_stays, wait_until_async
from tests.ui.conftest import person
from tests.ui.desk.hands import Hands
from tests.ui.scene import press
from ui.services import Services

TYPED = {"last": "Кузнецова", "first": "Марина", "born": "12.03.1961"}
MAIDEN = replace(KUZNETSOVA, name=replace(KUZNETSOVA.name, family="Попова"))


@dataclass
class Region:
    """A region that answers at once."""

    people: tuple[RegionPerson, ...] = ()
    by_name: bool = True
    asked: list[RegionQuestion] = field(default_factory=list)

    def ask(self, question: RegionQuestion, actor: Actor) -> RegionAnswer | None:
        if question not in self.asked:
            self.asked.append(question)
        return RegionAnswer(self.people)


@pytest.fixture
def region() -> Region:
    return Region((knows(),))


@pytest.fixture
def services(services: Services, region: Region) -> Services:
    return replace(services, region=region)


def knows(patient: Patient = KUZNETSOVA, standing: str = "", id: str = "p1") -> RegionPerson:
    return RegionPerson(f"Patient/{id}", patient, standing)


def offered(user: User) -> list[str]:
    """Return the texts of the box; empty while it is hidden."""
    assert user.client
    [box] = [each for each in user.client.elements.values() if "region" in each.classes]
    texts = [each.text for each in box.descendants() if isinstance(each, TextElement) and each.text]
    return [each.replace("\u2011", "-").replace("\u00a0", " ") for each in texts] if box.visible else []


async def shown(user: User) -> list[str]:
    await wait_until_async(lambda: offered(user))
    return offered(user)


def trail(services: Services, action: str) -> list[dict[str, object]]:
    with services.store.read() as reader:
        return [
            json.loads(row["details"]) for row in reader.rows("SELECT details FROM audit WHERE action = ?", [action])
        ]


async def test_empty_fields_are_filled_marked_and_audited_and_what_was_typed_stays(
    services: Services, region: Region
) -> None:
    async with person(services) as user:
        await user.open("/desk")
        hands = Hands(user)
        for name, value in {**TYPED, "last": "кузнецова"}.items():
            hands.type(name, value)
        assert (
            "допишет: отчество Петровна, пол женский, СНИЛС 112-233-445 95, полис ОМС 7800 0000 1234 5671"
            in await shown(user)
        )
        press(user, "Alt+4")
        await wait_until_async(lambda: hands.control("middle").value == "Петровна")
        assert hands.values("last", "sex", "snils", "policy") == [
            "Кузнецова",
            "F",
            "112-233-445 95",
            "7800 0000 1234 5671",
        ]
        assert [hands.note(name) for name in ("last", "middle", "snils")] == ["", "Из региона", "Из региона"]
        await wait_until_async(lambda: trail(services, "region_take"))
        assert trail(services, "region_take") == [
            {"reference": "Patient/p1", "fields": ["middle", "sex", "snils", "policy"]}
        ]
        hands.type("middle", "Павловна")
        assert hands.note("middle") == ""


async def test_nothing_is_asked_while_the_typing_is_incomplete(services: Services, region: Region) -> None:
    async with person(services) as user:
        await user.open("/desk")
        hands = Hands(user)
        for name, value in (("last", "Кузнецова"), ("first", "Марина"), ("snils", "112-233-445"), ("born", "12.03.19")):
            hands.type(name, value)
        await assert_stays(lambda: region.asked == [])
        with user.client or pytest.fail("no page"):
            hands.control("snils").value = ""
            hands.control("born").value = "12.03.1961"  # the last digit ends it
        assert await shown(user)
        with user.client or pytest.fail("no page"):
            hands.control("first").value = "Мари"  # and now the name is being changed
        await assert_stays(lambda: len(region.asked) == 1)
        hands.do("first", "blur")
        await wait_until_async(lambda: len(region.asked) == 2)
        assert region.asked[1].name == PersonName("Кузнецова", "Мари")


async def test_of_several_none_is_chosen(services: Services, region: Region) -> None:
    region.people = (knows(), knows(replace(KUZNETSOVA, snils="08765430300", policy=""), id="p2"))
    async with person(services) as user:
        await user.open("/desk")
        hands = Hands(user)
        for name, value in TYPED.items():
            hands.type(name, value)
        assert "В регионе таких несколько: кто из них?" in await shown(user)
        assert hands.control("snils").value == ""
        press(user, "Alt+5")
        await wait_until_async(lambda: hands.control("snils").value == "087-654-303 00")


async def test_another_family_name_is_said_and_stays_as_it_was_typed(services: Services, region: Region) -> None:
    region.people = (knows(MAIDEN),)
    async with person(services) as user:
        await user.open("/desk")
        hands = Hands(user)
        hands.type("last", "Кузнецова")
        hands.type("snils", "112-233-445 95")
        assert any(each.startswith("другое: фамилия Попова; допишет: имя Марина") for each in await shown(user))
        press(user, "Alt+4")
        await wait_until_async(lambda: hands.control("first").value == "Марина")
        assert hands.control("last").value == "Кузнецова"


@pytest.mark.parametrize(
    ("known", "says"),
    [
        (knows(replace(KUZNETSOVA, name=replace(KUZNETSOVA.name, given="Мария"))), "другое: имя Мария"),
        (knows(standing="deceased"), "по данным региона умер"),
        (knows(standing="replaced"), "карту в регионе объединили с другой"),
    ],
)
async def test_somebody_else_and_a_closed_record_are_shown_and_cannot_be_taken(
    services: Services, region: Region, known: RegionPerson, says: str
) -> None:
    region.people = (known,)
    async with person(services) as user:
        await user.open("/desk")
        hands = Hands(user)
        for name, value in {"first": "Марина", "snils": "112-233-445 95"}.items():
            hands.type(name, value)
        assert any(each.startswith(says) for each in await shown(user))
        assert "Взять" not in offered(user)


def become_somebody_else(user: User, hands: Hands) -> None:
    with user.client or pytest.fail("no page"):
        for name, value in {"last": "Петрова", "first": "Ольга", "born": "01.02.1990"}.items():
            hands.control(name).value = value


async def test_an_offer_is_not_taken_into_a_form_that_became_somebody_elses_before_the_key_was_pressed(
    services: Services, region: Region
) -> None:
    async with person(services) as user:
        await user.open("/desk")
        hands = Hands(user)
        for name, value in TYPED.items():
            hands.type(name, value)
        await shown(user)
        region.people = ()
        become_somebody_else(user, hands)  # and the key is pressed before the pause of the keyboard has ended
        press(user, "Alt+4")
        await user.should_see("посмотрите ещё раз, тот ли это человек")
        assert hands.values("last", "middle", "snils", "policy") == ["Петрова", "", "", ""]
        assert trail(services, "region_take") == []


async def test_an_offer_is_not_taken_into_a_form_that_became_somebody_elses_while_that_was_written(
    services: Services, region: Region, monkeypatch: pytest.MonkeyPatch
) -> None:
    writes, may_go_on, original = threading.Event(), threading.Event(), region_people.note_taken

    def slow(tx: Tx, *args: Any) -> None:
        writes.set()
        assert may_go_on.wait(60)
        original(tx, *args)

    monkeypatch.setattr(region_people, "note_taken", slow)
    async with person(services) as user:
        await user.open("/desk")
        hands = Hands(user)
        for name, value in TYPED.items():
            hands.type(name, value)
        await shown(user)
        press(user, "Alt+4")
        await wait_until_async(writes.is_set)
        become_somebody_else(user, hands)
        may_go_on.set()
        await user.should_see("посмотрите ещё раз, тот ли это человек")
        assert hands.values("last", "middle", "snils", "policy") == ["Петрова", "", "", ""]


async def test_about_one_of_ours_the_region_is_not_asked(services: Services, region: Region) -> None:
    services.store.write(referrals.register, factory.draft(), REGISTRAR, CLINIC)
    async with person(services) as user:
        await user.open("/desk")
        hands = Hands(user)
        hands.type("sex", "F")
        for name, value in {**TYPED, "middle": "Петровна"}.items():
            hands.type(name, value)
        await assert_stays(lambda: offered(user) == [])


async def test_without_a_region_nothing_is_offered(services: Services) -> None:
    async with person(replace(services, region=None)) as user:
        await user.open("/desk")
        for name, value in TYPED.items():
            Hands(user).type(name, value)
        await assert_stays(lambda: offered(user) == [])
