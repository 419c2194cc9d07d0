"""The dialog «Почему не на аппарате?»: for each device of an order the reasons for and against, and what to do."""

from __future__ import annotations

from nicegui import ui

from broker.domain.clinic.device_advice import Explanation
from broker.domain.orders import Order
from ui.devices import advice
from ui.live import read_as_viewer
from ui.services import Services
from ui.text import words
from ui.widgets import theme
from ui.widgets.theme import text


class WhyDialog:
    """The dialog; an element with data-opens=why opens it, and `ask` fills it."""

    def __init__(self, services: Services) -> None:
        self._services = services
        with theme.dialog("why", "Почему не на аппарате?"):
            self._box = ui.element("div")

    async def ask(self, order: Order) -> None:
        """Explain by the last query of each device whether it sees the order."""
        found = await read_as_viewer(self._services, lambda reader: self._services.explain(reader, order))
        self._box.clear()
        with self._box:
            if not found:
                text("p", "В направлении нет аппарата.", "muted")
            for each in found:
                self._draw(each)

    def _draw(self, each: Explanation) -> None:
        device, today = each.device, self._services.today()
        place = words.device_place(device) or device.ae_title
        text("p", f"{place}: {'виден' if each.seen else 'не виден'}", "why-device")
        with ui.element("ol").classes("checks"):
            for result in each.results:
                sentence, todo = advice.rule_result(result, device.ae_title, self._services.clinic.zone, today)
                if not sentence:
                    continue
                icon, tone = ("check", "green") if result.ok else ("error", "red")
                if not result.ok and not result.decides:
                    icon, tone = "info", "amber"
                with ui.element("li").classes(f"tone-{tone}"):
                    ui.icon(icon).props("aria-hidden=true")
                    text("span", sentence)
                    if todo:
                        text("span", todo, "why")
