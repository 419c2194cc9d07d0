"""What a doctor may read in one go, what was read today, and what can still be taken back: parts of the list's page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from urllib.parse import urlencode

from markupsafe import Markup
from nicegui import ui
from nicegui.elements.mixins.text_element import TextElement

from broker.domain.orders import Order
from broker.domain.patients import names
from broker.domain.reading.opinions import Deferral, ReadingStage
from broker.store.database import Reader
from broker.store.queries.reading import reading_cases
from broker.store.queries.reading.reading_cases import HeldRead, WaitingCase
from broker.workflow.reading import joint_decisions, reads
from broker.workflow.reading.joint_decisions import OpenTogether
from ui.live import attempt, current_actor
from ui.reading import over_read_lists
from ui.reading.over_read_lists import MyRequests, RequestLists
from ui.reading.session.cases import SIZES
from ui.services import Services
from ui.text import links, reading, words
from ui.widgets import html, theme
from ui.widgets.html import tag
from ui.widgets.memo import Memo
from ui.widgets.theme import text


@dataclass(frozen=True, slots=True)
class MyReading:
    """What a doctor has read today, can take back, and has put aside."""

    read: int = 0
    norms: int = 0
    held: tuple[HeldRead, ...] = ()
    deferred: tuple[tuple[Order, Deferral], ...] = ()
    requests: MyRequests = over_read_lists.NONE
    together: tuple[OpenTogether, ...] = ()  # studies to decide on with the other reader


def read(reader: Reader, services: Services, login: str) -> MyReading:
    """Return what a doctor has read today; the day begins at midnight in the clinic."""
    midnight = datetime.combine(services.today(), time.min, services.clinic.zone)
    given, norms = reading_cases.read_since(reader, login, midnight)
    held = reading_cases.held(reader, login, services.store.clock())
    deferred = tuple(reading_cases.deferred(reader, login))
    together = tuple(joint_decisions.waiting_for(reader, login, services.clinic, services.store.clock()))
    return MyReading(given, norms, tuple(held), deferred, over_read_lists.read(reader, login), together)


def address(queue: tuple[str, int], *, size: int = 25, first: str = "") -> str:
    """Return the address of a session that reads a queue, beginning with one study if its number is given."""
    values = {"modality": queue[0], "needed": str(queue[1]), "size": str(size)} | ({"first": first} if first else {})
    return f"/read?{urlencode(values)}"


class Queues:
    """The queues that a doctor may read in one go."""

    def __init__(self) -> None:
        self._memo = Memo(ui.element("div"))
        self._shown: tuple[list[WaitingCase], datetime, timedelta] | None = None
        self.size = SIZES[0]

    def show(self, cases: list[WaitingCase], now: datetime, deadline: timedelta) -> None:
        """Draw the queues, if there are any; `now` is UTC."""
        self._shown = cases, now, deadline
        content = self._write(cases, now, deadline)
        self._memo.show(content, lambda: theme.html_element("div", content) if content else None)

    def choose(self, size: int) -> None:
        """Let sessions have so many cases."""
        self.size = size
        if self._shown:
            self.show(*self._shown)

    def _write(self, cases: Sequence[WaitingCase], now: datetime, deadline: timedelta) -> Markup:
        found: dict[tuple[str, int], list[WaitingCase]] = {}
        for case in cases:
            found.setdefault(case.queue, []).append(case)
        order = sorted(found, key=lambda queue: (-queue[1], -len(found[queue])))
        rows = [self._row(number, queue, found[queue], now, deadline) for number, queue in enumerate(order, 1)]
        if not rows:
            return Markup("")
        heads = ["Очередь", "Первое", "Второе", "Третий", "Самое старое", "Срок", ""]
        cells = [
            tag(
                "th",
                "r" if 0 < place < 4 else "rare" if 3 < place < 6 else "",
                word or tag("span", "unseen", "Действия"),
                scope="col",
            )
            for place, word in enumerate(heads)
        ]
        head = tag("thead", "", tag("tr", "", *cells))
        caption = tag("caption", "unseen", "Очереди по видам исследований")
        return tag("table", "flat queues", caption, head, tag("tbody", "", *rows))

    def _row(
        self, number: int, queue: tuple[str, int], cases: Sequence[WaitingCase], now: datetime, deadline: timedelta
    ) -> Markup:
        counts = [sum(case.stage is stage for case in cases) for stage in list(ReadingStage)[:3]]
        oldest = max(now - case.since for case in cases)
        soon = sum(deadline / 2 <= now - case.since < deadline for case in cases)
        overdue = sum(now - case.since >= deadline for case in cases)
        late = [f"{soon} скоро"] if soon else []
        late += [f"просрочено {overdue}"] if overdue else []
        state = "overdue" if oldest >= deadline else "soon" if oldest >= deadline / 2 else ""
        waits = words.duration(oldest)
        key = {"data_key": str(number)} if number < 10 else {}
        button = html.link(
            address(queue, size=self.size), "btn btn-small", "Читать", tag("kbd", "", str(number)) if key else "", **key
        )
        return tag(
            "tr",
            "",
            tag("td", "", tag("b", "", reading.queue_name(*queue))),
            *(tag("td", "big", str(count) if count else tag("span", "muted", "–")) for count in counts),
            tag("td", "rare", theme.state_chip_html(state, waits) if state else tag("span", "muted", waits)),
            tag("td", "muted rare", ", ".join(late) or "–"),
            tag("td", "", button),
        )


class MyReadingPanel:
    """The doctor's own reading: today's numbers, what can be taken back, what was put aside."""

    def __init__(self, services: Services, queues: Queues, login: str) -> None:
        self._services, self._queues, self._login = services, queues, login
        with ui.element("aside").classes("side-panel").props("aria-label='Мой сеанс'"):
            with theme.section("Мой сеанс", "сегодня"):
                self._sums = Memo(ui.element("div"))
                with ui.element("div").classes("row-line size-line"):
                    text("span", "В сеансе случаев", "muted small")
                    with ui.element("div").classes("filters tight"):
                        self._sizes = [self._make_size(size) for size in SIZES]
                ui.link("Шаблоны протоколов", "/templates").classes("small")
            self._together = Memo(ui.element("div"))
            self._requests = RequestLists(services)
            self._held = Memo(ui.element("div"))
            self._deferred = Memo(ui.element("div"))

    def show(self, mine: MyReading) -> None:
        """Draw what has changed."""
        sums = (mine.read, mine.norms, len(mine.deferred))
        self._sums.show(sums, lambda: theme.html_element("div", _sums(sums), "sums"))
        self._together.show(mine.together, lambda: self._draw_together(mine.together))
        self._requests.show(mine.requests)
        self._held.show(mine.held, lambda: self._draw_held(mine.held))
        self._deferred.show(mine.deferred, lambda: self._draw_deferred(mine.deferred))

    def _make_size(self, size: int) -> TextElement:
        made = text("button", str(size) if size else "все").props("type=button")
        made.props(f"aria-pressed={str(size == self._queues.size).lower()}")
        made.on("click", lambda: self._choose(size))
        return made

    def _choose(self, size: int) -> None:
        self._queues.choose(size)
        for each, of in zip(self._sizes, SIZES, strict=True):
            each.props(f"aria-pressed={str(of == size).lower()}")

    def _draw_held(self, held: Sequence[HeldRead]) -> None:
        if not held:
            return
        hold = self._services.clinic.reading.hold_minutes
        with theme.section("Можно вернуть", words.plural(hold, "минуту", "минуты", "минут")):
            with ui.element("ol").classes("held"):
                for each in held:
                    self._draw_one(each)
            with ui.element("div").classes("acts"):
                theme.button("Завершить все", lambda: self._finish([each.order.id for each in held]), small=True)

    def _draw_one(self, held: HeldRead) -> None:
        until = held.read.stands_at
        with ui.element("li"):
            text("span", names.short(held.order.patient.name), "cut")
            text("span", reading.brief(held.read.opinion), "muted nowrap")
            text("time", f"до {until.astimezone(self._services.clinic.zone):%H:%M}" if until else "", "muted nowrap")
            back = text("button", "вернуть", "quick").props("type=button")
            back.on("click", lambda: self._take_back(held.order))

    def _draw_together(self, found: Sequence[OpenTogether]) -> None:
        if not found:
            return
        with theme.section("Решаем вместе", str(len(found))):
            for each in found:
                other = next(read for read in each.reads if read.reader != self._login)
                said = "Предложено решение" if each.proposal else "Мнения разошлись"
                with ui.element("div").classes("small-case"):
                    ui.link(str(each.order.patient.name), links.together(each.order.accession_number))
                    text("span", words.procedure(each.order), "muted small")
                    text("span", f"{said}, второй врач: {names.short(other.reader_name)}", "muted small")

    def _draw_deferred(self, deferred: Sequence[tuple[Order, Deferral]]) -> None:
        if not deferred:
            return
        with theme.section("Отложено мной"):
            for order, each in deferred:
                with ui.element("div").classes("small-case"):
                    text("b", str(order.patient.name))
                    text(
                        "p",
                        f"{each.reason}, {words.moment(each.at, self._services.clinic.zone, self._services.today())}",
                        "muted small",
                    )
                    back = text("button", "вернуть в список", "quick").props("type=button")
                    back.on("click", lambda _, order=order: self._resume(order))

    async def _take_back(self, order: Order) -> None:
        services, actor = self._services, current_actor(self._services)
        if await attempt(lambda: services.store.write(reads.take_back, order.id, actor, services.clinic)):
            needed = order.modality, 0
            ui.navigate.to(address(needed, size=self._queues.size, first=order.accession_number))

    async def _finish(self, order_ids: Sequence[int]) -> None:
        services, actor = self._services, current_actor(self._services)
        done = await attempt(lambda: services.store.write(reads.finish, tuple(order_ids), actor, services.clinic))
        if done is not None:
            theme.show_message(f"Завершено: {words.plural(done.value, 'мнение', 'мнения', 'мнений')}")

    async def _resume(self, order: Order) -> None:
        services, actor = self._services, current_actor(self._services)
        if await attempt(lambda: services.store.write(reads.resume, order.id, actor)):
            theme.show_message(f"Снова в списке: {names.short(order.patient.name)}")


def _sums(sums: tuple[int, int, int]) -> Markup:
    names_of = ("прочитано", "норма", "отложено")
    return html.join(
        *(
            tag("div", "", tag("b", "", str(count)), tag("span", "", word))
            for count, word in zip(sums, names_of, strict=True)
        )
    )
