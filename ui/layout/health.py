"""The health of the installation on every page: a dot with words in the bar, and a banner while something is wrong."""

from __future__ import annotations

from nicegui import run, ui

from broker.store.queries import exchange_state
from ui.live import current_actor
from ui.services import Services
from ui.text import bus, words
from ui.widgets.theme import text


class HealthIndicator:
    """The dot and the banner: what does not work, in words."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._shown: list[tuple[str, str]] | None = None
        self._banner: ui.element | None = None
        with ui.link("", "/devices").classes("health") as self._dot:
            ui.element("i")
            self._tip = text("span", "", "tip").props("role=tooltip")

    def place_banner(self) -> None:
        """Put the banner here; it is empty while everything works."""
        self._banner = ui.element("div")

    def problems(self) -> list[tuple[str, str]]:
        """Return what is wrong: (sentence, path of the page with more about it)."""
        found = []
        for check in self._services.health().checks:
            if check.ok:
                continue
            if check.name != "bus":
                found.append((words.trouble(check), "/devices"))
                continue
            with self._services.store.read() as reader:
                exchange = exchange_state.current(reader, 0)
            silent = self._services.store.clock() - exchange.oldest if exchange.oldest else None
            found.append((bus.bus_trouble(exchange.channel, silent), "/exchange"))
        return found

    async def refresh(self) -> None:
        """Check again; raise SessionEnded if the session of the page has ended."""
        current_actor(self._services)
        found = await run.io_bound(self.problems)
        if found is not None:
            self.draw(found)

    def draw(self, found: list[tuple[str, str]]) -> None:
        """Show these problems."""
        if found == self._shown:
            return
        self._shown = found
        checks = self._services.health().checks
        works = [words.WORKING.get(check.name, check.name) for check in checks if check.ok]
        summary = "\n".join([sentence for sentence, _ in found] or ["Всё работает.", *works])
        self._dot.props["aria-label"] = summary
        self._tip.set_text(summary)
        self._dot.classes(add="bad") if found else self._dot.classes(remove="bad")
        if self._banner is None:
            return
        self._banner.clear()
        if not found:
            return
        with self._banner, ui.element("div").classes("banner").props("role=status"):
            ui.icon("error")
            with text("p", " ".join(sentence for sentence, _ in found) + " "):
                ui.link("Подробнее", found[0][1])
