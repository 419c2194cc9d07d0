"""«Решаем вместе»: two readers who differ see both reads, one proposes, the other confirms, also at one screen."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import pytest
from nicegui import ui
from nicegui.testing import User

from broker.domain.actors import Actor, ActorKind, Role
from broker.domain.orders import Order
from broker.domain.reading.opinions import Finding, Opinion
from broker.domain.reading.reports import Report
from broker.store.tables.reading import reports as stored
from broker.workflow import accounts
from broker.workflow.reading import joint_decisions, reads
from broker.workflow.reading.reports import ReportText
from tests.support.factory import CLINIC, SYSTEM
from tests.support.waiting import wait_until_async
from tests.ui.conftest import PASSWORD, person
from tests.ui.reading.report.test_page import DOCTOR, done, field_of
from tests.ui.reading.report.test_revision import push
from tests.ui.scene import Scene
from ui.services import Services

pytestmark = pytest.mark.usefixtures("scene")
OTHER = Actor(ActorKind.PERSON, "larin", "Ларин П. С.", frozenset({Role.RADIOLOGIST}))
ADMIN = Actor(ActorKind.PERSON, "admin", "Седов И. И.", frozenset({Role.ADMINISTRATOR}))


@pytest.fixture(autouse=True)
def no_failure(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    yield
    assert not [each for each in caplog.get_records("call") if each.levelname == "ERROR"]


@pytest.fixture
def order(scene: Scene, services: Services) -> Order:
    """A study on which two doctors differ, in a clinic that has no third one."""
    made = done(scene)
    other = accounts.new_account("larin", "Ларин П. С.", frozenset({Role.RADIOLOGIST}), PASSWORD)
    scene.store.write(accounts.add_account, other, SYSTEM)
    scene.store.write(reads.set_double, frozenset({made.procedure_code}), ADMIN)
    for who, finding, said in ((DOCTOR, Finding.NORM, "Норма."), (OTHER, Finding.RECALL, "Тень справа.")):
        with scene.store.read() as reader:
            seen = stored.images(reader, made)
        scene.store.write(reads.give, made.id, 0, Opinion(finding), ReportText("", said), who, CLINIC, seen)
        scene.now += timedelta(minutes=CLINIC.reading.hold_minutes)
        scene.store.write(reads.conclude_due, CLINIC)
    return made


def report(scene: Scene, order: Order) -> Report | None:
    with scene.store.read() as reader:
        return stored.signed(reader, order.id)


def choose(user: User, name: str, value: str) -> None:
    found = [each for each in user.find(ui.select).elements if each.props.get("for") == f"together-{name}"]
    for each in found:
        assert isinstance(each, ui.select)
        each.set_value(value)


def type_password(user: User, typed: str) -> None:
    [field] = [each for each in user.find(ui.input).elements if each.props.get("for") == "together-password"]
    field.set_value(typed)


async def propose(user: User, order: Order) -> None:
    await user.open(f"/together/{order.accession_number}")
    for said in ("Норма.", "Тень справа."):
        await user.should_see(said)
    choose(user, "opinion", "recall")
    field_of(user, "together-conclusion").set_value("Смотрели вместе: тень.")
    push(user, "Предложить решение")
    await user.should_see("Ждёт подтверждения: Ларин П. С.")


async def test_what_one_proposes_the_other_confirms(services: Services, scene: Scene, order: Order) -> None:
    async with person(services, "volskaya") as user:
        await user.open("/reading")
        await user.should_see("Решаем вместе")
        await user.should_see("Мнения разошлись, второй врач: Ларин П. С.")
        await propose(user, order)
        assert report(scene, order) is None
    async with person(services, "larin") as user:
        await user.open("/reading")
        await user.should_see("Предложено решение, второй врач: Вольская Т. А.")
        await user.open(f"/together/{order.accession_number}")
        await user.should_see("Смотрели вместе: тень.")
        push(user, "Согласен, решаем так")
        await wait_until_async(lambda: report(scene, order))
        await user.open(f"/reading/{order.accession_number}")
        await user.should_see("Вольская Т. А. и Ларин П. С. решили вместе")
        await user.open("/reading")
        await user.should_not_see("Решаем вместе")
    signed = report(scene, order)
    assert signed is not None
    assert (signed.conclusion, signed.author) == ("Смотрели вместе: тень.", "volskaya")


def sessions(scene: Scene, login: str) -> object:
    with scene.store.read() as reader:
        return reader.value(
            "SELECT count(*) FROM session s JOIN account a ON a.id = s.account_id WHERE a.login = ?", [login]
        )


async def test_at_one_screen_the_other_confirms_by_the_own_password(
    services: Services, scene: Scene, order: Order
) -> None:
    async with person(services, "volskaya") as user:
        await propose(user, order)
        type_password(user, "не тот")
        push(user, "Подтвердить и подписать")
        await user.should_see("Имя или пароль не подходят")
        assert report(scene, order) is None
        type_password(user, PASSWORD)
        push(user, "Подтвердить и подписать")
        await wait_until_async(lambda: report(scene, order))
        await wait_until_async(lambda: sessions(scene, "larin") == 0)  # the sign-in was for this alone
    with scene.store.read() as reader:
        confirmed = reader.one("SELECT actor FROM audit WHERE action = 'together_confirm'")
    assert confirmed is not None
    assert confirmed["actor"] == "larin"


async def test_the_words_of_a_read_can_be_taken_and_a_proposal_changed_and_taken_away(
    services: Services, scene: Scene, order: Order
) -> None:
    with scene.store.read() as reader:
        seen = stored.images(reader, order)
    said = ReportText("", "Предлагаю.")
    scene.store.write(joint_decisions.propose, order.id, 0, Opinion(Finding.KNOWN), said, OTHER, CLINIC, seen)
    async with person(services, "volskaya") as user:
        await user.open(f"/together/{order.accession_number}")
        await user.should_see("Предлагаю.")
        push(user, "Изменить")
        assert field_of(user, "together-conclusion").value == "Предлагаю."
        field_of(user, "together-conclusion").set_value("")
        push(user, "Предложить решение")
        await user.should_see("Напишите заключение")
        field_of(user, "together-conclusion").set_value("Иначе.")
        push(user, "Предложить решение")
        await user.should_see("Ждёт подтверждения: Ларин П. С.")
        push(user, "Убрать предложение")
        await user.should_not_see("Ждёт подтверждения")
        await user.should_see("Предложить решение")


async def test_others_are_shown_nothing(services: Services, scene: Scene, order: Order) -> None:
    for login in ("orlova", "admin"):
        async with person(services, login) as user:
            await user.open(f"/together/{order.accession_number}")
            await user.should_see("Решают врачи.")
            await user.should_not_see("Тень справа.")
    third = accounts.new_account("vera", "Вера В. В.", frozenset({Role.RADIOLOGIST}), PASSWORD)
    scene.store.write(accounts.add_account, third, SYSTEM)
    async with person(services, "volskaya") as user:  # now a third doctor decides
        await user.open(f"/together/{order.accession_number}")
        await user.should_see("Решать вместе здесь нечего.")
        await user.should_not_see("Тень справа.")
