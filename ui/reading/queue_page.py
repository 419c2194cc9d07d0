"""The studies that wait for a report: queues to read in one go, then each; urgent ones first, then the oldest. Live."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from urllib.parse import urlencode

from markupsafe import Markup
from nicegui import ui

from broker.domain.actors import Actor
from broker.domain.orders import Order, Priority
from broker.security import permissions
from broker.security.permissions import Permission
from broker.store.database import Reader
from broker.store.queries.reading import reading_cases, reading_list, writers
from broker.store.queries.reading.reading_cases import WaitingCase
from broker.store.queries.reading.reading_list import ReadingQueue, UnreportedStudy
from ui.layout.frame import frame
from ui.live import current_actor, follow, latest
from ui.reading import session_panel
from ui.reading.session_panel import MyReading
from ui.services import Services
from ui.text import links, reading, visit_states, words
from ui.widgets import html, theme
from ui.widgets.html import tag
from ui.widgets.keyed_list import KeyedList, Redraw, html_row
from ui.widgets.theme import text

WINDOW = timedelta(days=30)  # studies that have waited longer are listed separately
MOST = 200  # rows


def build(services: Services) -> None:
    """Add the route /reading; `?modality=` filters, `?older=` includes what has waited longer than WINDOW."""

    @ui.page("/reading", title="Описание")
    async def listed(modality: str = "", older: str = "") -> None:
        actor = current_actor(services)
        with frame(services, actor, "/reading"):
            if not permissions.may(actor, Permission.REPORT):
                theme.empty("Описывают врачи.", "Подписанные протоколы видны в карточках исследований.")
                return
            page = ReadingListPage(services, actor, modality[:16], bool(older))
            refresh = latest(services, page.read, page.show)
            follow(services, refresh)
            await refresh()


@dataclass(frozen=True, slots=True)
class ReadingRow:
    """A row of the list, in words."""

    href: str
    waits: str
    urgent: bool
    who: str
    born: str
    what: str
    device: str
    draft: str
    doubtful: bool
    lack: str  # of images
    first: bool
    late: str = ""  # a state of theme.STATES: it is due soon, or overdue
    stage: tuple[str, str] = ("", "")  # for which reading it waits: state and word


@dataclass(frozen=True, slots=True)
class ReadingLists:
    """What the page shows: the queue, what this doctor may read in one go, and what can still be taken back."""

    queue: ReadingQueue
    cases: dict[int, WaitingCase]  # by id of the order
    mine: MyReading
    writing: dict[int, str] = field(default_factory=dict)  # who writes the report now, and since when


def queue_rows(
    found: ReadingQueue,
    now: datetime,
    today: date,
    modality: str,
    cases: Mapping[int, WaitingCase] | None = None,
    deadline: timedelta = timedelta(hours=24),
    writing: Mapping[int, str] | None = None,
) -> list[tuple[int, ReadingRow]]:
    """Return the rows in words, each with its order's id; `now` is UTC."""
    cases, writing = cases or {}, writing or {}
    return [
        (
            each.order.id,
            ReadingRow(
                href=_address(each.order, modality, cases.get(each.order.id)),
                waits=words.duration(now - each.since),
                urgent=each.order.priority is Priority.URGENT,
                who=str(each.order.patient.name),
                born=theme.born_and_age(each.order.patient.born, today),
                what=words.procedure(each.order),
                device=each.device,
                draft=writing.get(each.order.id) or (f"черновик: {each.drafted_by}" if each.drafted_by else ""),
                doubtful=each.doubtful,
                lack=visit_states.lacking(each.lack, now) if each.lack and not each.doubtful else "",
                first=place == 0,
                late=_late(each, now, deadline),
                stage=reading.stage_of(cases[each.order.id]) if each.order.id in cases else ("", ""),
            ),
        )
        for place, each in enumerate(found.waiting)
    ]


def _address(order: Order, modality: str, case: WaitingCase | None) -> str:
    if case is None or case.needed < 2:
        return links.reading(order.accession_number, modality)
    return session_panel.address(case.queue, first=order.accession_number)


def _late(each: UnreportedStudy, now: datetime, deadline: timedelta) -> str:
    age = now - each.since
    if age >= deadline:
        return "overdue"
    return "soon" if age >= deadline / 2 and each.order.priority is not Priority.URGENT else ""


def list_address(modality: str, *, older: bool = False) -> str:
    """Return the address of the list, of one modality or of all."""
    query = urlencode({name: value for name, value in (("modality", modality), ("older", older and "1")) if value})
    return f"/reading?{query}" if query else "/reading"


def following(reader: Reader, now: datetime, modality: str, except_order: int) -> UnreportedStudy | None:
    """Return the study to report after this one, or None."""
    waiting = reading_list.queue(reader, now - WINDOW, modality, limit=2).waiting
    return next((each for each in waiting if each.order.id != except_order), None)


class ReadingListPage:
    """One open list of studies that wait for a report."""

    def __init__(self, services: Services, actor: Actor, modality: str, older: bool) -> None:
        self._services = services
        self._actor = actor
        self._modality = modality
        self._older = older
        with ui.element("div").classes("with-aside"):
            with ui.element("section").classes("page"):
                with ui.element("div").classes("page-head"):
                    text("h1", "Ждут описания")
                    filters = ui.element("nav").classes("filters").props("aria-label=Показать")
                    self._filters = KeyedList(filters, _make_filter)
                    ui.element("div").classes("spring")
                    with ui.element("span").classes("muted small key") as self._hint:
                        theme.key_hint("Ctrl+Enter")
                        text("span", " открыть первое")
                self._queues = session_panel.Queues()
                with ui.element("div") as self._none:
                    theme.empty("Всё описано.", "Исследование появится здесь, как только аппарат его закончит.")
                self._rows = KeyedList(ui.element("ol").classes("queue"), html_row("li", "", _write_line))
                self._more = text("p", f"Показаны первые {MOST}.", "muted small more")
            self._mine = session_panel.MyReadingPanel(services, self._queues, actor.name)

    def read(self, reader: Reader) -> ReadingLists:
        """Return the studies that wait for a report, without those that this doctor has read already."""
        now, login = self._services.store.clock(), self._actor.name
        found = reading_list.queue(
            reader, now - WINDOW, self._modality, older=self._older, limit=MOST, images_due=self._services.images_due()
        )
        cases = {
            each.order.id: each
            for each in reading_cases.waiting(reader, login, self._services.clinic.reading, now, now - WINDOW)
        }
        double = reading_cases.made_of_reads(reader, [each.order.id for each in found.waiting])
        shown = tuple(
            each for each in found.waiting if each.doubtful or each.order.id in cases or each.order.id not in double
        )
        counts = dict(found.modalities)
        for each in found.waiting:  # what this doctor has read is not counted either
            counts[each.order.modality] -= each not in shown
        mine = session_panel.read(reader, self._services, login)
        alone = [each.order.id for each in shown if each.order.id not in double]
        writing = {
            order_id: f"пишет {lease.reader_title}, с {self._moment(lease.since)}"
            for order_id, lease in writers.writers(reader, alone, now).items()
            if lease.reader != login
        }
        return ReadingLists(replace(found, waiting=shown, modalities=counts), cases, mine, writing)

    def _moment(self, at: datetime) -> str:
        return words.moment(at, self._services.clinic.zone, self._services.today())

    def show(self, found: ReadingLists) -> None:
        """Draw what has changed."""
        self._filters.show(self._links(found.queue))
        now, deadline = self._services.store.clock(), timedelta(hours=self._services.clinic.reading.deadline_hours)
        today = self._services.today()
        rows = queue_rows(found.queue, now, today, self._modality, found.cases, deadline, found.writing)
        self._rows.show(rows)
        self._none.set_visibility(not rows)
        self._hint.set_visibility(bool(rows))
        self._more.set_visibility(len(rows) == MOST)
        self._queues.show(list(found.cases.values()), now, deadline)
        self._mine.show(found.mine)

    def _links(self, found: ReadingQueue) -> list[tuple[str, tuple[str, str, int, bool]]]:
        """Return the filters as (address, word, number, chosen); a single modality needs none."""
        kinds = dict(found.modalities)
        if self._modality:
            kinds.setdefault(self._modality, 0)
        links = [("Все", "", sum(kinds.values()))]
        if len(kinds) > 1 or self._modality:
            links += [(words.MODALITIES.get(kind, kind), kind, number) for kind, number in kinds.items()]
        shown = [
            (list_address(kind, older=self._older), word, number, kind == self._modality)
            for word, kind, number in links
        ]
        if self._older:
            shown.append((list_address(self._modality), f"За {WINDOW.days} дней", -1, False))
        elif found.older:
            longer = list_address(self._modality, older=True)
            shown.append((longer, f"Старше {WINDOW.days} дней", found.older, False))
        return [(href, (href, word, number, chosen)) for href, word, number, chosen in shown]


def _make_filter(model: tuple[str, str, int, bool]) -> tuple[ui.element, Redraw]:
    made = ui.link("", model[0])

    def redraw(model: tuple[str, str, int, bool]) -> None:
        _, word, number, chosen = model
        made.clear()
        made.props("aria-current=true") if chosen else made.props(remove="aria-current")
        with made:
            text("span", word)
            if number >= 0:
                text("span", str(number), "muted")

    redraw(model)
    return made, redraw


def _write_line(line: ReadingRow) -> Markup:
    urgent = tag("b", "urgent", "Срочно") if line.urgent else ""
    waits = theme.state_chip_html(line.late, line.waits) if line.late else tag("span", "muted", line.waits)
    stage = theme.state_chip_html(*line.stage) if line.stage[0] else ""
    doubtful = theme.state_chip_html("attention", "Тот ли пациент?") if line.doubtful else ""
    lack = theme.state_chip_html("imageless", line.lack) if line.lack else ""
    return html.link(
        line.href,
        "wait",
        tag("span", "waits nowrap", urgent, waits),
        tag("span", "who", tag("span", "name", line.who), tag("span", "muted nowrap", line.born)),
        tag("span", "what", line.what),
        tag("span", "muted where", line.device),
        tag("span", "remark", doubtful, lack, stage, tag("span", "muted small", line.draft)),
        **({"data_primary": "true"} if line.first else {}),
    )
