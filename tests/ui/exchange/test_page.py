"""The exchange in words: what stands still, why, and what a person can do about it."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from nicegui import ui
from nicegui.testing import User

from broker.domain.actors import Actor, ActorKind
from broker.domain.incoming import ArrivalKind, ArrivalState, IncomingReferral
from broker.domain.messages import IMAGES_NOT_SEEN, OutboxKind
from broker.store.database import Store, Tx
from broker.store.queries.exchange_state import ExchangeState
from broker.store.tables import bus_channel, clients, incoming, outbox
from broker.store.tables.incoming import Arrival
from broker.workflow.referrals import incoming_referrals
from tests.support.clock import ZONE
from tests.support.factory import CLINIC, KUZNETSOVA, REGISTRAR
from tests.ui.conftest import person
from tests.ui.scene import Scene, buttons, only_table, press
from ui.exchange.page import exchange_status
from ui.services import Services
from ui.text import bus as bus_words

pytestmark = pytest.mark.usefixtures("scene")  # all of it is that day


@pytest.fixture
def connected(services: Services) -> Services:
    """A clinic that has a bus."""
    organisation = "3f2c1d7e-0a4b-4c59-9e1d-5b8f6a7c0d21"
    return replace(services, settings=replace(services.settings, has_bus=True, organisation=organisation))


NOW = datetime.fromisoformat("2026-11-24T06:47:00+00:00")
CALM = ExchangeState(
    waiting=0,
    oldest=None,
    channel="ok",
    reason="",
    since=None,
    retry_at=None,
    answered_at=NOW - timedelta(minutes=3),
    needs_attention=(),
    ledger=(),
)


def verdict(configured: bool = True, **changes: Any) -> tuple[str, str, str]:
    found = exchange_status(replace(CALM, **changes), configured, NOW, ZONE)
    return found.tone, found.what, found.todo


def test_the_first_line_shows_that_everything_is_sent() -> None:
    assert verdict() == ("green", "Всё отправлено. Последний ответ шины 09:44.", "")


def test_the_first_line_shows_how_long_and_why_it_waits() -> None:
    tone, what, todo = verdict(
        waiting=14,
        oldest=NOW - timedelta(hours=2, minutes=10),
        channel="waiting",
        reason="time-out: no connection",
        retry_at=NOW + timedelta(minutes=5),
    )
    assert tone == "red"
    assert what == (
        "В очереди 14, самое старое ждёт 2 ч 10 мин, причина: шина не отвечает, "
        "время ожидания вышло (соединение не установилось). Следующая попытка в 09:52."
    )
    assert todo == "Ничего не потеряно: уйдёт само."
    assert "вот-вот" in verdict(channel="waiting", reason="time-out", retry_at=NOW)[1]


def test_the_first_line_shows_what_to_do_about_a_refused_token() -> None:
    tone, what, todo = verdict(waiting=2, oldest=NOW, channel="paused", reason="token refused (HTTP 401)")
    assert (tone, what) == (
        "red",
        "Обмен стоит: шина не приняла токен (HTTP 401). В очереди 2, самое старое ждёт меньше минуты.",
    )
    assert "bus.token_file" in todo


def test_the_first_line_stays_calm_without_a_bus() -> None:
    assert verdict(configured=False)[:2] == ("slate", "Шина не настроена: направления остаются в клинике.")


@pytest.mark.parametrize(
    ("reason", "stated"),
    [
        ("cannot connect", "шина недоступна, соединение не устанавливается"),
        ("name not found: bus.test", "адрес шины не находится, проверьте его и сеть (bus.test)"),
        ("TLS: certificate expired", "не удаётся защищённое соединение (TLS) (certificate expired)"),
        ("HTTP 503", "сбой на стороне шины (HTTP 503)"),
        ("HTTP 429", "шина просит подождать (HTTP 429)"),
        ("not a FHIR answer: no resourceType", "по адресу шины отвечает что-то другое (no resourceType)"),
        ("Полис не найден", "Полис не найден"),
        ("", "причина неизвестна"),
    ],
)
def test_reasons_are_put_into_words(reason: str, stated: str) -> None:
    assert bus_words.bus_reason(reason) == stated


@pytest.mark.parametrize(
    ("ahead", "words"),
    [
        (timedelta(days=400), "Часы этого сервера отстают от часов шины на 400 дней."),
        (timedelta(hours=-3), "Часы этого сервера спешат против часов шины на 3 ч."),
    ],
)
async def test_a_clock_that_differs_from_the_bus_is_said(connected: Services, ahead: timedelta, words: str) -> None:
    async with person(replace(connected, bus_ahead=lambda: ahead)) as user:
        await user.open("/exchange")
        await user.should_see(words)
    async with person(connected) as user:
        await user.open("/exchange")
        await user.should_not_see("Часы этого сервера")


async def test_what_was_refused_is_sent_again_by_a_person(scene: Scene, connected: Services) -> None:
    order = scene.register("10:00")
    scene.refuse(order, "Полис <b>7800</b> не найден")
    async with person(connected) as user:
        await user.open("/exchange")
        await user.should_see("Отправлено всё, кроме 1 сообщения: надо исправить.")
        await user.should_see("Направление: Кузнецова М. П., записано 09:47")
        await user.should_see("Полис <b>7800</b> не найден")
        links = {each.text: each.props["href"] for each in user.find(ui.link).elements}
        assert links["Исправить"] == "/desk?order=K2611-0001"
        press(user, "Отправить снова")
        await user.should_see("В очереди 1, самое старое ждёт меньше минуты, отправляется.")
        await user.should_not_see("Надо исправить")


async def test_a_refusal_that_the_bus_did_not_take_is_shown_without_a_number_and_sent_again(
    scene: Scene, connected: Services
) -> None:
    came = IncomingReferral(task="t1", patient=KUZNETSOVA, requester="3b9d1c6a-7e42-4f0b-8a55-1d2c3e4f5a61")
    bus, arrival = Actor(ActorKind.BUS, "bus"), Arrival("bus", "Task/t1", "1", b"{}")
    scene.store.write(incoming_referrals.receive, came, arrival, bus, CLINIC, {})
    scene.store.write(incoming_referrals.decline, 1, "нет аппарата", REGISTRAR, CLINIC)
    scene.store.write(lambda tx: outbox.mark_needs_attention(tx, 1, "Недопустимый статус rejected", "HTTP 422"))
    async with person(connected) as user:
        await user.open("/board")
        await user.should_see("Шина не приняла отказ от направления")
        await user.open("/exchange")
        await user.should_see("Отказ от направления: Кузнецова М. П., записано 09:47")
        await user.should_see("без номера")
        press(user, "Отправить снова")
        await user.should_see("В очереди 1, самое старое ждёт меньше минуты, отправляется.")


async def test_what_a_doctor_has_to_look_at_first_is_not_sent_again_by_a_button(
    scene: Scene, connected: Services
) -> None:
    order = scene.register("10:00")
    scene.store.write(lambda tx: outbox.hold(tx, outbox.add(tx, order.id, OutboxKind.APPENDED), IMAGES_NOT_SEEN))
    async with person(connected) as user:
        await user.open("/exchange")
        await user.should_see("Пусть врач откроет протокол и подтвердит его: тогда регион узнает и о них")
        assert not buttons(user) & {"Отправить снова"}
        await user.open(f"/order/{order.accession_number}")
        await user.should_see("Регион не знает о новых снимках")
        assert not buttons(user) & {"Отправить снова"}


async def test_a_person_does_not_have_to_wait_for_the_next_attempt(scene: Scene, connected: Services) -> None:
    order = scene.register("10:00")
    scene.retry(order, "cannot connect")
    later = scene.now + timedelta(minutes=5)
    scene.store.write(lambda tx: bus_channel.set_state(tx, "waiting", "cannot connect", later, answered=False))
    async with person(connected) as user:
        await user.open("/exchange")
        await user.should_see("Следующая попытка в 09:52.")
        press(user, "Повторить сейчас")
        await user.should_see("отправляется.")
    async with person(connected, "volskaya") as radiologist:
        await radiologist.open("/exchange")
        assert not buttons(radiologist) & {"Отправить снова"}


async def test_the_ledger_shows_every_message_and_its_answer(scene: Scene, connected: Services) -> None:
    delivered, waits, refused = (scene.register("10:00", who) for who in ("Ли Ен", "Зуев Пётр", "Белова Инна"))
    scene.deliver(delivered)
    scene.retry(waits, "HTTP 503")
    scene.refuse(refused, "<script>")
    scene.cancel(waits)
    async with person(connected) as user:
        await user.open("/exchange")
        rows = only_table(user).rows
        assert {(row["number"], row["what"], row["answer"], row["tone"]) for row in rows} == {
            ("K2611-0001", "Направление, Ли Е.", "Принято", "green"),
            ("K2611-0002", "Направление, Зуев П.", "Ждёт: сбой на стороне шины (HTTP 503)", "slate"),
            ("K2611-0002", "Отмена, Зуев П.", "Ждёт", "slate"),
            ("K2611-0003", "Направление, Белова И.", "<script>", "red"),
        }


async def test_without_a_bus_the_page_shows_where_to_configure_it(user: User) -> None:
    await user.open("/exchange")
    await user.should_see("Шина не настроена: направления остаются в клинике.")
    await user.should_see("в разделе bus")


def arrive(store: Store, state: ArrivalState, reason: str = "") -> None:
    """Let something come down."""
    arrival = Arrival("bus", "Task/7", "1", b'{"resourceType": "Task", "note": "<script>alert(1)</script>"}')
    store.write(lambda tx: incoming.put(tx, ArrivalKind.REFERRAL, arrival, state=state, reason=reason))


async def test_what_could_not_be_read_is_shown_with_its_reason_and_can_be_tried_again(
    scene: Scene, connected: Services
) -> None:
    arrive(scene.store, ArrivalState.NEEDS_ATTENTION, "the Patient has neither a name nor a number")
    async with person(connected) as user:
        await user.open("/exchange")
        await user.should_see("Получено всё, кроме 1 сообщения: надо посмотреть.")
        await user.should_see("у пациента нет ни имени, ни номера")
        await user.open("/exchange/in/1")
        await user.should_see("Направление другой клиники")
        await user.should_see("<script>alert(1)</script>")  # as text
        press(user, "Попробовать ещё раз")
        await user.should_see("Повторим")


async def test_a_message_is_shown_with_every_attempt_and_its_exact_content(scene: Scene, connected: Services) -> None:
    order = scene.register("10:00")
    scene.retry(order, "time-out")
    scene.refuse(order, "Не заполнено: Condition.code", '{"issue": []}')
    scene.store.write(lambda tx: outbox.mark_uncertain(tx, 1, b'{"resourceType": "Bundle"}'))
    async with person(connected) as user:
        await user.open("/exchange/out/1")
        for stated in (
            "Не вышло: шина не отвечает",
            "Отказано: Не заполнено: Condition.code",
            '"resourceType": "Bundle"',
        ):
            await user.should_see(stated)
        press(user, "Отправить снова")
        await user.should_see("Ждёт")


async def test_a_missing_message_is_reported_as_missing(connected: Services) -> None:
    async with person(connected) as user:
        for path in ("/exchange/out/99", "/exchange/in/99"):
            await user.open(path)
            await user.should_see("Такого сообщения нет.")


async def test_the_ledger_shows_what_went_what_came_or_both(scene: Scene, connected: Services) -> None:
    scene.register("10:00")
    arrive(scene.store, ArrivalState.TAKEN)
    async with person(connected) as user:
        await user.open("/exchange")
        table = only_table(user)
        for word, ids in (("Получено", ["in/1"]), ("Отправлено", ["out/1"]), ("Всё", ["in/1", "out/1"])):
            press(user, word)
            assert sorted(row["id"] for row in table.rows) == ids


@pytest.mark.parametrize(
    ("reason", "stated"),
    [
        ("certificate refused (certificate has expired)", "bus.ca_file"),
        ("client certificate refused (unknown ca)", "bus.client_certificate"),
        ("token refused (HTTP 401)", "bus.token_file"),
    ],
)
def test_a_pause_shows_what_the_administrator_must_do(reason: str, stated: str) -> None:
    tone, _, todo = verdict(channel="paused", reason=reason)
    assert tone == "red"
    assert stated in todo


def test_what_contradicts_in_a_result_is_named() -> None:
    assert bus_words.incoming_reason("it is about another patient: snils, birth_date") == (
        "оно о другом пациенте: СНИЛС, дата рождения"
    )


def test_every_kind_of_message_has_its_words() -> None:
    assert set(bus_words.MESSAGES) == set(bus_words.MESSAGES_TAKEN) == set(OutboxKind)
    assert set(bus_words.ARRIVALS) == set(ArrivalKind)


async def test_programs_at_our_fhir_are_listed_with_what_they_deviate_in(scene: Scene, connected: Services) -> None:
    def registered(tx: Tx) -> None:
        clients.add(tx, "mis", "hash", "", send_to_bus=False)
        clients.note_deviations(tx, "mis", ["entry.request: нет url"])
        clients.note_deviations(tx, "mis", ["entry.request: нет url"])

    scene.store.write(registered)
    async with person(connected) as user:
        await user.open("/exchange")
        await user.should_see("mis: ещё не обращалась")
        await user.should_see("entry.request: нет url — 2 раза, последний")
