"""The bar under the desk's form: the actions, and the result of the last one. It saves nothing itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from nicegui import ui

from broker.domain.orders import BusRole, Order
from broker.domain.patients.incomplete import missing
from ui.desk.modes.referrals import FormMode, IncomingMode
from ui.desk.referral.field_values import ReferralOptions
from ui.services import Services
from ui.text import links, words
from ui.widgets import theme
from ui.widgets.theme import text


class ActionBar:
    """The buttons of a form, or those of the saved order; `save` and `clear` are handlers of buttons."""

    def __init__(
        self,
        services: Services,
        mode: FormMode,
        options: ReferralOptions,
        save: Callable[[], Any],
        clear: Callable[[], Any],
    ) -> None:
        self._services, self._mode, self._options = services, mode, options
        self._on_save, self._on_clear = save, clear
        self.saved: Order | None = None  # shown in the bar instead of the form's buttons
        self.refused = False  # the note says why the form was not saved, until something is changed
        self._offered: ui.button | None = None  # beside the note
        self._box = ui.element("div").classes("actions")

    @property
    def is_gone(self) -> bool:
        """Return True if its page has been left."""
        return self._box.is_deleted

    def draw(self, blank: bool, saved: Order | None = None) -> None:
        """Draw the buttons; `blank` means that the form is empty, `saved` is shown instead of its buttons."""
        self.saved = saved
        self._box.clear()
        with self._box:
            if saved:
                self._draw_saved(saved)
                return
            self._save = theme.button("Сохранить", self._on_save, kind="primary", key="Ctrl+Enter")
            self._note = text("p", "", "muted small").props("role=status")
            self._offered = None
            ui.element("div").classes("spring")
            if isinstance(self._mode, IncomingMode):
                theme.button("Отклонить", kind="danger").props("data-opens=decline")
            word, path = self._mode.back
            if word:
                ui.link(word, path).props("data-back")
            if self._mode.new:
                self._clear = theme.button("Очистить", self._on_clear, small=True)
                self._clear.set_visibility(not blank)
                with ui.element("span").classes("muted small key nowrap"):
                    theme.key_hint("F2")
                    text("span", " новое направление")

    def show_note(self, note: str, bad: bool = False) -> None:
        """Show a note beside the buttons; a bad one is red and stays until something is changed."""
        if self.saved:
            return
        self.refused = bad
        if self._offered:
            self._offered.delete()
            self._offered = None
        self._note.set_text(note)
        self._note.classes(add="bad", remove="muted") if bad else self._note.classes(add="muted", remove="bad")

    def offer(self, note: str, word: str, act: Callable[[], Any]) -> None:
        """Show a note with a button beside it, until the next note."""
        self.show_note(note)
        with self._box:  # what acts outlives the button: a handler runs in the place that its button was in
            self._offered = theme.button(word, act, small=True)
        self._offered.move(target_index=2)

    def show_draft_note(self, note: str, bad: bool) -> None:
        """Show a note about the draft, but never in place of a reason why the form was not saved."""
        if bad or not self.refused:
            self.show_note(note, bad)

    def name_save(self, word: str) -> None:
        """Set the word on the save button."""
        if not self.saved and self._save.text != word:
            self._save.set_text(word)

    def show_clear(self) -> None:
        """Show the button that empties the form."""
        self._clear.set_visibility(True)

    def busy(self, busy: bool) -> None:
        """Show on the save button whether saving is in progress."""
        if not self.saved:
            self._save.props("loading") if busy else self._save.props(remove="loading")

    def close(self, reason: str, *, reload: bool = False) -> None:
        """Show why the form cannot be saved any more; with `reload` offer to load the page again."""
        self.show_note(reason, bad=True)
        self._save.set_visibility(False)
        if reload:
            with self._box:
                theme.button("Открыть заново", ui.navigate.reload, kind="primary", key="Ctrl+Enter")

    def _draw_saved(self, order: Order) -> None:
        number = order.accession_number
        with ui.element("div").classes("saved").props("role=status"):
            ui.icon("check_circle")
            text("span", number, "number")
            with ui.element("div").classes("cut"):
                text("div", str(order.patient.name), "cut")
                text("div", f"Сохранено. {self._where(order)}", "muted small cut")
                if order.bus_role is BusRole.PLACER and missing(order.patient):
                    text("div", "На шину уйдёт, когда дополните карту пациента", "muted small cut")
        ui.element("div").classes("spring")
        theme.button("Открыть", lambda: ui.navigate.to(links.card(number)))
        label = theme.button("Печать этикетки", kind="primary", icon="print", key="Ctrl+Enter")
        label.props(f'href="{links.label(number)}" target=_blank')

    def _where(self, order: Order) -> str:
        step = order.steps[0]
        day = words.day(step.start.date(), self._services.today())
        if order.owner:
            return f"Направлен в другую клинику, желательно {day}"
        device = next((each for each in self._options.devices if each.ae_title in step.station_ae_titles), None)
        return f"{day.capitalize()} в {step.start:%H:%M}" + (f", {words.device_place(device)}" if device else "")
