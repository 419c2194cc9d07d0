"""One message of the exchange: every attempt with its reason, and the exact JSON of both sides."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime

from nicegui import ui

from broker.domain.actors import Actor
from broker.domain.incoming import ArrivalKind, ArrivalRecord
from broker.domain.messages import OutboxState
from broker.domain.patients import patient_merge
from broker.domain.patients.confirmation import Confirmation
from broker.domain.patients.people import Patient
from broker.security import permissions
from broker.security.permissions import Permission
from broker.store.database import Reader
from broker.store.queries import exchange_state, inbox, order_card
from broker.store.queries.exchange_state import OutboundLine
from broker.workflow import outbox
from broker.workflow.referrals import incoming_referrals
from broker.workflow.studies import external_results
from ui.exchange import ledger
from ui.layout.frame import frame
from ui.live import attempt, current_actor, follow, latest, read_as_viewer
from ui.services import Services
from ui.text import bus, links, words
from ui.text import patient_cards as card_words
from ui.text.referral_fields import LABELS, listed
from ui.widgets import theme
from ui.widgets.memo import Memo
from ui.widgets.theme import text

_COMPARED = ("family", "given", "middle", "birth_date", "birth_year", "sex", "snils", "policy")
SHOWN = 200_000  # characters of a JSON that are shown


def build(services: Services) -> None:
    """Add the routes of a sent and of a received message."""

    @ui.page("/exchange/out/{seq}", title="Сообщение шине")
    async def sent(seq: int) -> None:
        await _open(services, lambda reader: _sent(reader, seq))

    @ui.page("/exchange/in/{id}", title="Сообщение от шины")
    async def received(id: int) -> None:
        await _open(services, lambda reader: _received(reader, id))


@dataclass(frozen=True, slots=True)
class MessageView:
    """A sent or received message as the page shows it."""

    title: str
    number: str
    standing: tuple[str, str, str]
    facts: tuple[tuple[str, str, datetime | None], ...]  # name, words or else an instant
    attempts: tuple[tuple[datetime, str, str], ...]  # instant, outcome, answer
    content: str  # the exact JSON
    resend: bool  # may be sent, or tried, again
    dismissable: bool = False  # a result that was set aside
    seq: int = 0  # of a sent message
    item_id: int = 0  # of a received one
    doubt: Doubt | None = None  # a result whose patient contradicts ours


@dataclass(frozen=True, slots=True)
class Doubt:
    """Our patient, whom a result names instead, and in which fields they contradict each other."""

    version: str  # of the result
    patient: Patient
    about: Patient
    fields: tuple[str, ...]


def _sent(reader: Reader, seq: int) -> MessageView | None:
    message: OutboundLine | None = exchange_state.line(reader, seq)
    if message is None:
        return None
    row = message.row
    return MessageView(
        title=f"{bus.MESSAGES[row.kind]}: {message.patient}",
        number=message.accession_number,
        standing=ledger.sent_outcome(message),
        facts=(
            ("Записано", "", row.created_at),
            ("Принято", "", row.delivered_at),
            ("Попыток", str(row.attempts), None),
        ),
        attempts=tuple(
            (at, bus.attempt(outcome, reason), answer)
            for at, outcome, reason, answer in exchange_state.attempts(reader, seq)
        ),
        content=exchange_state.sent_json(reader, seq),
        resend=row.state is OutboxState.NEEDS_ATTENTION and not bus.waits_on_card(row.reason),
        seq=row.seq,
    )


def _received(reader: Reader, id: int) -> MessageView | None:
    item: ArrivalRecord | None = inbox.item(reader, id)
    if item is None:
        return None
    return MessageView(
        title=bus.ARRIVALS[item.kind],
        number=item.accession_number,
        standing=ledger.received_outcome(item),
        facts=(
            ("От кого", "шина" if item.source == "bus" else item.source, None),
            ("На шине", item.reference, None),
            ("Пришло", "", item.first_at),
            ("Изменилось", "", item.at),
            ("Попыток", str(item.attempts), None),
        ),
        attempts=((item.at, bus.arrival(item.state, item.reason), ""),) if item.reason else (),
        content=inbox.item_json(reader, id),
        resend=item.may_be_read_again,
        dismissable=item.kind is ArrivalKind.RESULT and item.may_be_read_again,
        item_id=item.id,
        doubt=_doubt(reader, item),
    )


def _doubt(reader: Reader, item: ArrivalRecord) -> Doubt | None:
    order = order_card.order(reader, item.accession_number) if item.contradicts else None
    if order is None or item.about is None:
        return None
    return Doubt(item.version, order.patient, item.about, item.contradicts)


async def _open(services: Services, read: Callable[[Reader], MessageView | None]) -> None:
    actor = current_actor(services)
    with frame(services, actor, "/exchange"), ui.element("div").classes("page message"):
        ui.link("Назад", "/exchange").classes("unseen").props("data-back tabindex=-1")
        found = await read_as_viewer(services, read)
        if found is None:
            theme.empty("Такого сообщения нет.", "Журнал обмена:", "")
            ui.link("Обмен с шиной", "/exchange").classes("alone")
            return
        page = MessagePage(services, actor)
        refresh = latest(services, read, page.show)
        follow(services, refresh)
        await refresh()


class MessagePage:
    """One open message."""

    def __init__(self, services: Services, actor: Actor) -> None:
        self._services = services
        self._resends = permissions.may(actor, Permission.RESEND)
        self._amends = permissions.may(actor, Permission.AMEND)
        self._shown: MessageView | None = None
        self._box = Memo(ui.element("div"))
        with theme.dialog("ours", "Это точно наш пациент?", danger="Да, наш", on_danger=self._take, leave="Нет"):
            self._question = text("p", "", "muted")

    def show(self, found: MessageView | None) -> None:
        """Draw the message; None leaves what is shown."""
        if found is None:
            return
        self._shown = found
        self._box.show(found, lambda: self._draw(found))

    def _draw(self, found: MessageView) -> None:
        icon, tone, answer = found.standing
        with ui.element("div").classes("page-head"):
            text("h1", found.title)
            ui.element("div").classes("spring")
            if found.number:
                ui.link(f"Исследование {found.number}", links.card(found.number)).classes("btn")
            if found.resend and self._resends:
                theme.button(
                    "Отправить снова" if not found.item_id else "Попробовать ещё раз", self._again, icon="sync"
                )
            if found.doubt and self._amends:
                theme.button("Это наш пациент", self._ask).props("data-opens=ours")
            if found.dismissable and self._amends:
                theme.button("Чужой, убрать" if found.doubt else "Не наше, убрать", self._dismiss)
        with ui.element("div").classes(f"verdict tone-{tone}").props("role=status"):
            ui.icon(icon).props("aria-hidden=true")
            text("p", answer)
        if found.doubt:
            self._draw_doubt(found.doubt)
        with theme.section("Ход"):
            theme.facts([(name, self._when(at) if at else value) for name, value, at in found.facts if value or at])
            with ui.element("ol").classes("attempts"):
                for at, outcome, evidence in reversed(found.attempts):
                    with ui.element("li"):
                        text("time", self._when(at), "muted nowrap")
                        text("span", outcome)
                        if evidence:
                            with ui.element("details"):
                                text("summary", "Ответ шины")
                                text("pre", pretty(evidence))
        with theme.section("Точное содержание", "как передано"):
            if found.content:
                text("pre", pretty(found.content))
            else:
                text("p", "Не хранится: ещё не передавали, или срок хранения прошёл.", "muted")

    def _draw_doubt(self, doubt: Doubt) -> None:
        """Draw our patient beside whom the result names: every field that one of them has, with what contradicts."""
        with theme.section("Чей это результат?"), ui.element("table").classes("two-sides"):
            text("caption", "Наш пациент и пациент результата", "unseen")
            with ui.element("thead"), ui.element("tr"):
                for word in ("Что", f"У нас, карта {doubt.patient.patient_id}", "В результате", ""):
                    text("th", word).props("scope=col")
            with ui.element("tbody"):
                for field in _COMPARED:
                    ours, theirs = (patient_merge.value(each, field) for each in (doubt.patient, doubt.about))
                    if not (ours or theirs):
                        continue
                    with ui.element("tr").classes("differs" if field in doubt.fields else ""):
                        text("th", LABELS[field]).props("scope=row")
                        text("td", card_words.shown(field, ours))
                        text("td", card_words.shown(field, theirs))
                        with ui.element("td"):
                            if field in doubt.fields:
                                theme.state_chip("attention", "не сходится")

    def _ask(self) -> None:
        if self._shown and self._shown.doubt:
            doubt, number = self._shown.doubt, self._shown.number
            differ = listed(doubt.fields)
            who = f"{doubt.patient.name}, {number}"
            self._question.set_text(f"{who}. В результате другое: {differ}. Результат встанет в карту этого пациента.")

    async def _take(self) -> None:
        services, found = self._services, self._shown
        if found is None or found.doubt is None:
            return
        doubt, actor = found.doubt, current_actor(services)
        seen = Confirmation(doubt.patient, doubt.fields)
        done = await attempt(
            lambda: services.store.write(external_results.take_as_ours, found.item_id, doubt.version, actor, seen)
        )
        if done:
            theme.show_message("Записано: результат нашего пациента. Прочитаем его при следующем обращении к шине")

    def _when(self, at: datetime) -> str:
        return words.moment(at, self._services.clinic.zone, self._services.today())

    async def _dismiss(self) -> None:
        services, found = self._services, self._shown
        if found is None:
            return
        actor = current_actor(services)
        if await attempt(lambda: services.store.write(incoming_referrals.dismiss_result, found.item_id, actor)):
            theme.show_message("Убрано: результат к направлению не отнесён")

    async def _again(self) -> None:
        services, found = self._services, self._shown
        if found is None:
            return
        actor = current_actor(services)
        if found.item_id:
            done = await attempt(lambda: services.store.write(incoming_referrals.retry, found.item_id, actor))
        else:
            done = await attempt(lambda: bool(services.store.write(outbox.resend_message, found.seq, actor)))
        if done:
            theme.show_message("Снова в очереди")


def pretty(content: str) -> str:
    """Return JSON indented; what is not JSON, or was cut, is returned as it is."""
    with suppress(ValueError, RecursionError):
        content = json.dumps(json.loads(content), ensure_ascii=False, indent=2)
    return content if len(content) <= SHOWN else f"{content[:SHOWN]}\n… ещё {len(content) - SHOWN} знаков"
