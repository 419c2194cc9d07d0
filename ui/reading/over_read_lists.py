"""What colleagues have asked a doctor to read over, and what became of the doctor's own requests: beside the list."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from nicegui import ui

from broker.domain.orders import Order
from broker.domain.patients import names
from broker.domain.reading.over_reads import OverRead
from broker.store.database import Reader
from broker.store.queries.reading import over_read_requests
from ui.services import Services
from ui.text import links, over_reads, words
from ui.widgets import theme
from ui.widgets.memo import Memo
from ui.widgets.theme import text

Requests = tuple[tuple[Order, OverRead], ...]


@dataclass(frozen=True, slots=True)
class MyRequests:
    """The requests of and to a doctor."""

    to_me: Requests = ()
    by_me: Requests = ()


NONE = MyRequests()


def read(reader: Reader, login: str) -> MyRequests:
    """Return the requests of and to a doctor."""
    return MyRequests(
        tuple(over_read_requests.waiting_for(reader, login)), tuple(over_read_requests.asked_by(reader, login))
    )


class RequestLists:
    """The two lists, drawn where they are made; empty ones are not there."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._to_me = Memo(ui.element("div"))
        self._by_me = Memo(ui.element("div"))

    def show(self, requests: MyRequests) -> None:
        """Draw what has changed."""
        minute = self._services.store.clock().replace(second=0, microsecond=0)  # how long they wait
        self._to_me.show((requests.to_me, minute), lambda: self._draw("Просят прочитать ещё раз", requests.to_me))
        self._by_me.show((requests.by_me, minute), lambda: self._draw("Ваши просьбы прочитать", requests.by_me))

    def _draw(self, title: str, requests: Sequence[tuple[Order, OverRead]]) -> None:
        if not requests:
            return
        with theme.section(title, str(len(requests))):
            for order, asked in requests:
                self._draw_one(order, asked)

    def _draw_one(self, order: Order, asked: OverRead) -> None:
        now = self._services.store.clock()
        with ui.element("div").classes("small-case"):
            with ui.element("div").classes("row-line"):
                ui.link(str(order.patient.name), links.reading(order.accession_number)).classes("strong")
                if asked.outcome is not None:
                    theme.state_chip(*over_reads.OUTCOMES[asked.outcome])
                elif asked.hangs(now, self._services.over_read_within):
                    theme.state_chip("overdue", over_reads.waits(asked, now))
                else:
                    text("span", over_reads.waits(asked, now), "muted small")
            text("span", words.procedure(order), "muted small")
            text("span", self._whom(asked), "muted small")

    def _whom(self, asked: OverRead) -> str:
        if asked.outcome is not None:
            return f"{asked.ended_by_title}: {asked.reason}" if asked.reason else asked.ended_by_title
        question = f" «{names.cut(asked.question, 80)}»" if asked.question else ""
        return f"{asked.asked_by_title} → {over_reads.asked_of(asked)}{question}"
