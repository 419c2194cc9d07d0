"""«Входящие»: referrals of other clinics that wait for a device and a time, and what could not be read. Live.

A referral is registered at the desk; this page shows what waits.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, date, datetime

from nicegui import ui

from broker.domain.actors import Actor
from broker.domain.incoming import ArrivalKind, ArrivalRecord, ArrivalState, IncomingReferral, IncomingState
from broker.domain.orders import Priority
from broker.domain.patients.people import Patient
from broker.security import permissions
from broker.security.permissions import Permission
from broker.store.database import Reader
from broker.store.queries import inbox, order_card
from broker.store.queries.patients import patient_index
from broker.workflow.opinions import answering
from broker.workflow.referrals import incoming_referrals
from ui.desk import similar_patients
from ui.desk.modes.referrals import clinic_name
from ui.layout.frame import frame
from ui.live import attempt, current_actor, follow, latest, read_as_viewer
from ui.services import Services
from ui.text import bus, links, patient_cards, referral_fields, words
from ui.widgets import theme
from ui.widgets.keyed_list import KeyedList, redraw_row
from ui.widgets.theme import text

LONGEST = 200_000  # characters of a message that are shown


def build(services: Services) -> None:
    """Add the route /incoming; `?saved=` is the accession number of the order that has just been made of a referral."""

    @ui.page("/incoming", title="Входящие")
    async def incoming_page(saved: str = "") -> None:
        actor = current_actor(services)
        with frame(services, actor, "/incoming"), ui.element("div").classes("page"):
            if not permissions.may(actor, Permission.REGISTER):
                theme.empty("Входящие направления записывает регистратура.", "Вам открыты доска и исследования.")
                return
            page = IncomingPage(services, actor)
            if saved:
                await page.show_saved(saved)
            refresh = latest(services, page.read, page.show)
            follow(services, refresh)
            await refresh()


@dataclass(frozen=True, slots=True)
class WaitingRow:
    """A referral that waits, in words."""

    id: int
    urgent: bool
    who: str
    born: str
    what: str
    clinic: str
    since: str
    problem: str
    state: IncomingState
    may_be_made: bool = False  # it refers to an earlier study: perhaps it asks about that
    bearers: tuple[tuple[str, str], ...] = ()  # who of ours has the sender's number, in words, and the card's address


@dataclass(frozen=True, slots=True)
class UnreadRow:
    """A received message that could not be read, in words."""

    id: int
    what: str
    reason: str
    at: str
    kept: bool
    again: bool


@dataclass(frozen=True, slots=True)
class IncomingPageData:
    """What the page is drawn from."""

    waiting: list[WaitingRow]
    unread: list[UnreadRow]


class IncomingPage:
    """One open page of incoming referrals."""

    def __init__(self, services: Services, actor: Actor) -> None:
        self._services = services
        self._resends = permissions.may(actor, Permission.RESEND)
        self._made = 0  # which referral the question is about
        self._amends = permissions.may(actor, Permission.AMEND)
        with ui.element("div").classes("page-head"):
            text("h1", "Входящие направления")
            self._count = text("span", "", "muted small")
        self._saved = ui.element("div")
        self._none = ui.element("div")
        with self._none:
            theme.empty("Никто не ждёт записи.", "Когда другая клиника направит к вам, направление появится здесь.")
        self._rows = KeyedList(ui.element("div").classes("waits-list"), redraw_row("div", "income", self._draw))
        with ui.element("section").classes("section") as self._unread_section:
            with ui.element("div").classes("head"):
                text("h2", "Отложены")
                text("span", "прочитать не удалось", "muted small")
            self._unread = KeyedList(ui.element("div"), redraw_row("div", "income apart", self._draw_unread))
        with ui.element("dialog").classes("wide").props("id=raw aria-labelledby=raw-title"):
            text("h2", "Как пришло").props("id=raw-title")
            self._raw = text("div", "", "evidence scrolled")
            with ui.element("div").classes("acts").style("margin-top: 16px"):
                theme.button("Закрыть").props("data-closes autofocus")

        with theme.dialog(
            "made", "Исследование уже сделано?", danger="Передать врачам", on_danger=self._mark_made, leave="Вернуться"
        ):
            self._made_who = text("p", "")
            text("p", "Записать его потом нельзя: врач ответит на вопрос клиники или откажет.", "muted small")

    async def show_saved(self, number: str) -> None:
        """Show the order that has just been made of a referral, with links to it."""
        card = await read_as_viewer(self._services, lambda reader: order_card.card(reader, number))
        if card is None:
            return
        order = card.order
        with self._saved, ui.element("div").classes("saved").props("role=status").style("margin-bottom: 12px"):
            ui.icon("check_circle")
            text("span", order.accession_number, "number")
            with ui.element("div").classes("cut"):
                text("div", str(order.patient.name), "cut")
                day = words.day(order.steps[0].start.date(), self._services.today())
                text("div", f"Записано: {day} в {order.steps[0].start:%H:%M}", "muted small")
            ui.link("Открыть", links.card(order.accession_number)).classes("btn btn-small")
            ui.link("Этикетка", links.label(order.accession_number), new_tab=True).classes("btn btn-small")

    def read(self, reader: Reader) -> IncomingPageData:
        """Return what waits and what could not be read."""
        services = self._services
        now, today = services.store.clock().astimezone(UTC), services.today()
        zone = services.clinic.zone
        return IncomingPageData(
            [
                _waiting(each, clinic_name(reader, each), _may_be(reader, each), _bearers(reader, each), now, today)
                for each in inbox.waiting(reader)
            ],
            [
                UnreadRow(
                    id=item.id,
                    what=f"{_KINDS[item.kind]} {item.reference}",
                    reason=bus.incoming_reason(item.reason),
                    at=words.moment(item.first_at, zone, today),
                    kept=item.kept,
                    again=item.state is ArrivalState.NEEDS_ATTENTION,
                )
                for item in _unread(reader)
            ],
        )

    def show(self, found: IncomingPageData) -> None:
        """Draw what has changed."""
        urgent = sum(each.urgent for each in found.waiting)
        count = words.plural(len(found.waiting), "ждёт записи", "ждут записи", "ждут записи") if found.waiting else ""
        self._count.set_text(count + (f", срочных {urgent}" if urgent else ""))
        self._none.set_visibility(not found.waiting)
        self._rows.show((each.id, each) for each in found.waiting)
        self._unread_section.set_visibility(bool(found.unread))
        self._unread.show((each.id, each) for each in found.unread)

    def _draw(self, each: WaitingRow) -> None:
        with ui.element("div").classes("who"):
            if each.urgent:
                text("b", "Срочно ", "urgent")
            text("span", each.who, "name")
            text("span", f", {each.born}", "muted nowrap")
        text("span", each.since, "since muted small nowrap")
        text("span", f"{each.what} · {each.clinic}", "what muted")
        if each.problem:
            text("p", each.problem, "problem small")
        for who, address in each.bearers:
            with text("p", bus.known_by_number(who), "bearer small"):
                if self._amends:
                    ui.link("Исправить карту", address)
        if each.state is IncomingState.WAITING:
            with ui.element("div").classes("acts"):
                ui.link("Записать", f"/desk?incoming={each.id}").classes("btn")
                if each.may_be_made:
                    theme.button("Уже сделано", lambda: self._ask_made(each), small=True)

    async def _ask_made(self, each: WaitingRow) -> None:
        self._made = each.id
        self._made_who.set_text(f"{each.who}: {each.what}")
        ui.run_javascript("document.getElementById('made').showModal()")

    async def _mark_made(self) -> None:
        services, actor, id = self._services, current_actor(self._services), self._made
        if await attempt(lambda: services.store.write(answering.mark, id, actor)):
            theme.show_message("Передано врачам: «Мнения». На аппараты исследование не попадёт")

    def _draw_unread(self, each: UnreadRow) -> None:
        text("span", each.what, "who mono small")
        text("span", each.at, "since muted small nowrap")
        text("p", each.reason, "problem small")
        with ui.element("div").classes("acts"):
            if each.kept:
                look_at = theme.button("Посмотреть", lambda: self._open(each.id), small=True)
                look_at.props("data-opens=raw")
            if self._resends and each.again:
                theme.button("Прочитать снова", lambda: self._again(each.id), small=True)

    async def _open(self, id: int) -> None:
        self._raw.set_text("…")
        content = await read_as_viewer(self._services, lambda reader: inbox.item_json(reader, id))
        self._raw.set_text(_pretty(content)[:LONGEST])

    async def _again(self, id: int) -> None:
        services, actor = self._services, current_actor(self._services)
        if await attempt(lambda: services.store.write(incoming_referrals.retry, id, actor)):
            theme.show_message("Прочитаем ещё раз при следующем обращении к шине")


_KINDS = {ArrivalKind.REFERRAL: "Направление", ArrivalKind.CANCEL: "Отмена", ArrivalKind.RESULT: "Результат"}


def _unread(reader: Reader) -> list[ArrivalRecord]:
    """Return the referrals that could not be read; those of an order are shown on the board and its card."""
    return [
        item
        for item in inbox.troubled(reader)
        if item.kind is not ArrivalKind.RESULT and not item.order_id and item.state is ArrivalState.NEEDS_ATTENTION
    ]


def _may_be(reader: Reader, each: IncomingReferral) -> list[str]:
    """Return whom of ours the patient is like, as the box at the desk names them; empty if a rule has not asked."""
    if each.problems.get("patient") != "similar":
        return []
    found = patient_index.match(reader, each.patient)
    return [
        f"{known.name}, {words.born(known.born)}, {similar_patients.numbers(known)};"
        f" {similar_patients.why(known, each.patient, found)}"
        for known in found.patients[: similar_patients.SHOWN]
    ]


def _bearers(reader: Reader, each: IncomingReferral) -> list[Patient]:
    """Return who of ours has the number under which a local client describes another person; empty if none does."""
    is_number = each.problems.get("patient", "").startswith("number_other_")
    return inbox.bearers_of_number(reader, each) if is_number else []


def _waiting(
    each: IncomingReferral, clinic: str, may_be: list[str], bearers: list[Patient], now: datetime, today: date
) -> WaitingRow:
    problems = {field: code for field, code in each.problems.items() if not (may_be and field == "patient")}
    whose = referral_fields.PROBLEMS.get(("patient", problems.get("patient", "")), "")
    if whose:
        del problems["patient"]
    problem = ". ".join(filter(None, (bus.may_be(may_be), bus.to_complete(problems), whose)))
    since = words.duration(now - each.received_at) if each.received_at else ""
    return WaitingRow(
        id=each.stored_id,
        urgent=each.priority is Priority.URGENT,
        who=str(each.patient.name) or "имя неизвестно",
        born=theme.born_and_age(each.patient.born, today),
        what=each.procedure_name or "что делать, не сказано",
        clinic=clinic,
        since=f"ждёт {since}" if since else "",
        problem=problem,
        state=each.state,
        may_be_made=bool(each.attached) and each.source == incoming_referrals.BUS,
        bearers=tuple(
            (
                f"{known.name}, {words.born(known.born)}, {similar_patients.numbers(known)}",
                patient_cards.correction_address(known.patient_id),
            )
            for known in bearers
        ),
    )


def _pretty(content: str) -> str:
    try:
        return json.dumps(json.loads(content), ensure_ascii=False, indent=1)
    except (ValueError, RecursionError):
        return content
