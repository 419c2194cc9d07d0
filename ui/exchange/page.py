"""The exchange with the region: whether it works, what needs attention and why, and the ledger. Live."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta, tzinfo

from nicegui import ui

from broker.domain.actors import Actor
from broker.domain.incoming import ArrivalRecord, ArrivalState
from broker.domain.lifecycle import Event, allowed
from broker.security import permissions
from broker.security.permissions import Permission
from broker.store.database import Reader
from broker.store.queries import access, exchange_state, inbox
from broker.store.queries.access import Client, Deviation
from broker.store.queries.exchange_state import ExchangeState, OutboundLine
from broker.workflow import outbox
from ui.exchange import ledger
from ui.layout.frame import frame
from ui.live import attempt, current_actor, follow, latest
from ui.services import Services
from ui.text import bus, links, patient_cards, words
from ui.widgets import theme
from ui.widgets.keyed_list import KeyedList, redraw_row
from ui.widgets.memo import Memo
from ui.widgets.theme import text

KEPT = 100  # rows of the ledger that are shown


def build(services: Services) -> None:
    """Add the route /exchange."""

    @ui.page("/exchange", title="Обмен с шиной")
    async def exchange() -> None:
        actor = current_actor(services)
        with frame(services, actor, "/exchange"), ui.element("div").classes("page"):
            page = ExchangePage(services, actor)
            refresh = latest(services, page.read, page.show)
            follow(services, refresh)
            await refresh()


@dataclass(frozen=True, slots=True)
class ExchangeStatus:
    """The first line of the page: the state of the exchange, and what to do about it."""

    tone: str  # of theme.STATES
    icon: str
    what: str
    todo: str = ""


def exchange_status(
    found: ExchangeState, configured: bool, now: datetime, zone: tzinfo, unread: int = 0
) -> ExchangeStatus:
    """Return the state of the exchange in words; `now` is UTC, `unread` the number of unreadable received messages."""
    today = now.astimezone(zone).date()
    if not configured:
        return ExchangeStatus(
            "slate",
            "cloud_off",
            "Шина не настроена: направления остаются в клинике.",
            "Адрес шины и файл с токеном администратор указывает в настройках программы, в разделе bus.",
        )
    queue = f"В очереди {found.waiting}" if found.waiting else ""
    if found.oldest and queue:
        queue += f", самое старое ждёт {words.duration(now - found.oldest)}"
    if found.channel == "paused":
        what = f"Обмен стоит: {bus.bus_reason(found.reason)}."
        return ExchangeStatus(
            "red",
            "error",
            f"{what} {queue}." if queue else what,
            bus.bus_remedy(found.reason),
        )
    if found.channel == "waiting":
        what = f"{queue or 'Шина не отвечает'}, причина: {bus.bus_reason(found.reason)}."
        soon = found.retry_at is None or found.retry_at <= now
        retry = "вот-вот" if soon or found.retry_at is None else f"в {words.moment(found.retry_at, zone, today)}"
        return ExchangeStatus("red", "error", f"{what} Следующая попытка {retry}.", "Ничего не потеряно: уйдёт само.")
    if queue:
        return ExchangeStatus("blue", "sync", f"{queue}, отправляется.")
    if found.needs_attention:
        number = words.plural(len(found.needs_attention), "сообщения", "сообщений", "сообщений")
        return ExchangeStatus("amber", "schedule", f"Отправлено всё, кроме {number}: надо исправить.")
    if unread:
        number = words.plural(unread, "сообщения", "сообщений", "сообщений")
        return ExchangeStatus("amber", "schedule", f"Получено всё, кроме {number}: надо посмотреть.")
    answered = f" Последний ответ шины {words.moment(found.answered_at, zone, today)}." if found.answered_at else ""
    return ExchangeStatus("green", "cloud_done", f"Всё отправлено.{answered}")


def clock_warning(ahead: timedelta) -> str:
    """Return what is wrong with the clock of this server, if the bus's is ahead of it by so much; '' if nothing is."""
    if not ahead:
        return ""
    how = "отстают от часов шины" if ahead > timedelta() else "спешат против часов шины"
    return (
        f"Часы этого сервера {how} на {words.duration(abs(ahead))}. Пусть администратор поставит их по сети:"
        " в направлениях и результатах уходят неверные даты."
    )


@dataclass(frozen=True, slots=True)
class AttentionRow:
    """A message that needs attention, as the page shows it."""

    path: str  # of its page
    number: str
    seq: int  # of an outbox row that can be sent again; 0 for a received message, and where a doctor has to act
    what: str
    why: str
    amendable: bool
    card: str = ""  # address on which the patient's card is completed, where that is what is needed


@dataclass(frozen=True, slots=True)
class ExchangePageData:
    """The data that the page is drawn from."""

    exchange: ExchangeState
    received: tuple[ArrivalRecord, ...]
    troubled: tuple[ArrivalRecord, ...]
    clients: tuple[tuple[Client, tuple[Deviation, ...]], ...]  # of our own /fhir


class ExchangePage:
    """One open page of the exchange."""

    def __init__(self, services: Services, actor: Actor) -> None:
        self._services = services
        self._zone = services.clinic.zone
        self._configured = services.settings.has_bus
        self._amends = permissions.may(actor, Permission.AMEND)
        self._resends = permissions.may(actor, Permission.RESEND)
        self._read: ExchangePageData | None = None
        self._way = ledger.ALL
        with ui.element("div").classes("page-head"):
            text("h1", "Обмен с шиной")
            ui.element("div").classes("spring")
            self._retry = theme.button("Повторить сейчас", self._go_on, icon="sync")
        self._clock = text("p", "", "attention-reason").props("role=alert")
        self._status = Memo(ui.element("div").props("role=status"))
        self._attention_section = ui.element("div")
        with self._attention_section, theme.section("Надо исправить"):
            self._attention = KeyedList(ui.element("div"), redraw_row("div", "attention-item", self._draw_attention))
        with theme.section("Журнал", f"последние {KEPT}"):
            with ui.element("div").classes("filters").props("role=group aria-label=Показать"):
                self._ways = {way: self._make_way(way, word) for way, word in ledger.WAYS.items()}
            self._empty = ui.element("div")
            with self._empty:
                theme.empty("Ещё ничего не отправляли.", "Первое направление уйдёт само, как только его сохранят.")
            self._ledger = _make_ledger()
        self._clients = Memo(ui.element("div"))

    def read(self, reader: Reader) -> ExchangePageData:
        """Return the data of the page."""
        return ExchangePageData(
            exchange_state.current(reader, KEPT),
            tuple(inbox.ledger(reader, KEPT)),
            tuple(inbox.troubled(reader)),
            access.clients_and_deviations(reader),
        )

    def show(self, read: ExchangePageData) -> None:
        """Draw what has changed."""
        self._read, found = read, read.exchange
        today = self._services.today()
        self._clients.show((read.clients, today), lambda: _draw_clients(read.clients, self._zone, today))
        unread = [item for item in read.troubled if item.state is ArrivalState.NEEDS_ATTENTION]
        status = exchange_status(found, self._configured, self._services.store.clock(), self._zone, len(unread))
        self._status.show(status, lambda: self._draw_status(status))
        said = clock_warning(self._services.bus_ahead())
        self._clock.set_text(said)
        self._clock.set_visibility(bool(said))
        self._retry.set_visibility(self._resends and self._configured and found.channel != "ok")
        self._attention_section.set_visibility(bool(found.needs_attention or unread))
        refused: list[tuple[Hashable, AttentionRow]] = [
            (each.row.seq, self._refused(each)) for each in found.needs_attention
        ]
        self._attention.show([*refused, *((f"in {item.id}", self._unread_row(item)) for item in unread)])
        self._show_ledger()

    def _make_way(self, way: str, word: str) -> ui.element:
        pressed = "true" if way == self._way else "false"
        pill = ui.element("button").props(f"type=button aria-pressed={pressed}")
        with pill.on("click", lambda: self._choose(way)):
            text("span", word)
        return pill

    def _choose(self, way: str) -> None:
        self._way = way
        for each, pill in self._ways.items():
            pill.props(f"aria-pressed={'true' if each == way else 'false'}")
        self._show_ledger()

    def _show_ledger(self) -> None:
        read = self._read
        if read is None:
            return
        today = self._services.today()
        rows = ledger.rows(read.exchange.ledger, read.received, self._way, self._zone, today, KEPT)
        self._empty.set_visibility(not rows and self._configured)
        self._ledger.set_visibility(bool(rows))
        if rows != self._ledger.rows:
            self._ledger.rows = rows

    def _draw_status(self, status: ExchangeStatus) -> None:
        self._status.element.classes(replace=f"verdict tone-{status.tone}")
        ui.icon(status.icon).props("aria-hidden=true")
        with ui.element("div"):
            text("p", status.what)
            if status.todo:
                text("p", status.todo, "muted todo")

    def _refused(self, message: OutboundLine) -> AttentionRow:
        incomplete = bus.is_incomplete(message.row.reason)
        written = words.moment(message.row.created_at, self._zone, self._services.today())
        return AttentionRow(
            path=f"/exchange/out/{message.row.seq}",
            number=message.accession_number,
            seq=0 if bus.waits_on_card(message.row.reason) else message.row.seq,
            what=f"{bus.MESSAGES[message.row.kind]}: {message.patient}, записано {written}",
            why=bus.bus_reason(message.row.reason),
            amendable=(
                self._amends and not incomplete and message.state is not None and allowed(message.state, Event.AMEND)
            ),
            card=patient_cards.correction_address(message.patient_id) if self._amends and incomplete else "",
        )

    def _unread_row(self, item: ArrivalRecord) -> AttentionRow:
        received = words.moment(item.at, self._zone, self._services.today())
        return AttentionRow(
            path=f"/exchange/in/{item.id}",
            number=item.accession_number,
            seq=0,
            what=f"{bus.ARRIVALS[item.kind]}, пришло {received}",
            why=bus.incoming_reason(item.reason),
            amendable=False,
        )

    def _draw_attention(self, needs_attention: AttentionRow) -> None:
        if needs_attention.number:
            ui.link(needs_attention.number, links.card(needs_attention.number)).classes("mono")
        else:
            text("span", "без номера" if needs_attention.seq else "получено", "muted")
        with ui.element("div"):
            text("p", needs_attention.what, "title")
            text("p", needs_attention.why, "muted why")
        with ui.element("div").classes("acts"):
            if needs_attention.amendable:
                ui.link("Исправить", links.amendment(needs_attention.number)).classes("btn btn-small")
            if needs_attention.card:
                ui.link("Дополнить карту", needs_attention.card).classes("btn btn-small")
            ui.link("Посмотреть", needs_attention.path).classes("btn btn-small")
            if self._resends and needs_attention.seq and not needs_attention.card:
                theme.button("Отправить снова", lambda: self._resend(needs_attention), small=True)

    async def _resend(self, needs_attention: AttentionRow) -> None:
        services, actor = self._services, current_actor(self._services)
        if await attempt(lambda: services.store.write(outbox.resend_message, needs_attention.seq, actor)):
            number = f"{needs_attention.number}: " if needs_attention.number else ""
            theme.show_message(f"{number}снова в очереди".capitalize())

    async def _go_on(self) -> None:
        services, actor = self._services, current_actor(self._services)
        if await attempt(lambda: services.store.write(outbox.resume_exchange, actor)):
            theme.show_message("Пробуем отправить")


def _make_ledger() -> ui.table:
    columns = [
        {"name": name, "label": label, "field": name, "align": "left", "classes": classes, "headerClasses": header}
        for name, label, classes, header in ledger.COLUMNS
    ]
    table = ui.table(columns=columns, rows=[], row_key="id").classes("ledger")
    table.props('flat dense hide-pagination :rows-per-page-options="[0]"').style("width: 100%")
    # Only the icon is coloured: in a ledger of green boxes nothing stands out.
    table.add_slot(
        "body-cell-answer",
        '<q-td :props="props"><span :class="`answer tone-${props.row.tone}`" :title="props.value">'
        '<q-icon :name="props.row.icon" aria-hidden="true"></q-icon>'
        '<span class="cut">{{ props.value }}</span></span></q-td>',
    )
    table.add_slot(
        "body-cell-what",
        '<q-td :props="props"><q-icon class="way" :name="props.row.way" aria-hidden="true"></q-icon> '
        '<a class="cut" :href="`/exchange/${props.row.id}`" @click.stop>{{ props.value }}</a></q-td>',
    )
    table.on("row-click", lambda event: ui.navigate.to(f"/exchange/{event.args[1]['id']}"))
    return table


def _draw_clients(found: Sequence[tuple[Client, Sequence[Deviation]]], zone: tzinfo, today: date) -> None:
    """Draw who uses our own /fhir, and in what each deviates from the profile."""
    if not found:
        return
    with theme.section("Программы у нашего /fhir"):
        for client, deviations in found:
            called = client.last_contact_at
            at = f"обращалась {words.moment(called, zone, today)}" if called else "ещё не обращалась"
            with ui.element("div").style("margin-bottom: 12px"):
                text("p", f"{client.name}: {'отключена' if client.disabled else at}")
                if deviations:
                    text("p", "Принято с отступлениями от профиля:", "muted small")
                for each in deviations:
                    times = words.plural(each.times, "раз", "раза", "раз")
                    last = words.moment(each.last_at, zone, today)
                    text("p", f"{each.what} — {times}, последний {last}", "small")
