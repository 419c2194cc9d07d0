"""A doctor's own texts that did not become the report, because another one went on: below it, for this doctor only."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from nicegui import ui

from broker.workflow.reading import kept_texts
from broker.workflow.reading.kept_texts import KeptText
from broker.workflow.reading.reports import ReportText
from ui.live import attempt, current_actor
from ui.services import Services
from ui.text import words
from ui.widgets import theme
from ui.widgets.theme import text


def draw(
    services: Services, order_id: int, kept: Sequence[KeptText], take: Callable[[ReportText], object] | None
) -> None:
    """Draw the texts, if there are any; `take` writes one of them into the report, None where nothing is written."""
    if not kept:
        return

    async def drop() -> None:
        actor = current_actor(services)
        await attempt(lambda: services.store.write(kept_texts.drop, order_id, actor))

    with theme.section("Ваш текст, который не вошёл", "виден только вам"):
        for each in reversed(kept):
            said = ReportText(**each.text)
            with ui.element("details"):
                at = words.moment(each.at, services.clinic.zone, services.today())
                text("summary", f"{at}: {words_of(said)}")
                for part in (said.description, said.conclusion, said.recommendations):
                    if part:
                        text("p", part, "written small")
                if take is not None:
                    with ui.element("div").classes("acts"):
                        theme.button("Вписать вместо того, что есть", lambda said=said: take(said), small=True)
        with ui.element("div").classes("acts"):
            theme.button("Больше не нужен", drop, small=True)


def words_of(said: ReportText) -> str:
    """Return how a text begins."""
    begin = " ".join((said.conclusion or said.description or said.recommendations).split())
    return begin if len(begin) <= 60 else f"{begin[:60]}…"
