"""Merging a patient's card with another, found by a search, and undoing a merge. Draws only for who may merge."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from nicegui import ui

from broker.domain.actors import Actor
from broker.domain.orders import Order
from broker.domain.patients.people import Patient
from broker.security import permissions
from broker.security.permissions import Permission
from broker.store.queries.patient_cards import FormerCard, PatientCard
from broker.store.queries.patients import patient_search
from broker.workflow import patient_merge
from ui.live import attempt, current_actor, read_as_viewer
from ui.services import Services
from ui.text import errors, words
from ui.text import patient_cards as card_words
from ui.text.referral_fields import LABELS
from ui.widgets import theme
from ui.widgets.autocomplete import Autocomplete
from ui.widgets.form_field import labelled_field
from ui.widgets.theme import text

SHOWN = 8  # patients that the search lists


class CardMerging:
    """What one open page of a patient does about merges; `card` returns the card as the page shows it."""

    def __init__(self, services: Services, actor: Actor, card: Callable[[], PatientCard]) -> None:
        self._services, self._card = services, card
        self.allowed = permissions.may(actor, Permission.MERGE)
        self._splitting: tuple[FormerCard, int] | None = None  # which merge, seen with which revision of the card
        # Order since that merge -> is it of the merged card's person? None: that is not known.
        self._decided: dict[int, bool | None] = {}
        self._former: dict[int, str] = {}  # by what name of before patients were found

    def draw_dialogs(self) -> None:
        """Draw the two dialogs, closed: which card to merge with, and whose the orders since a merge are."""
        if self.allowed:
            self._draw_search()
            self._draw_whose()

    def draw_button(self) -> None:
        """Draw the button that opens the search for the other card."""
        if self.allowed:
            theme.button("Объединить", lambda: self._search_field.focus()).props("data-opens=other-card")

    def draw_split(self, former: FormerCard) -> None:
        """Draw the button that undoes this merge, for who may."""
        if self.allowed:
            if former.later:
                split = theme.button("Разъединить", lambda: self._ask_whose(former), small=True)
                split.props("data-opens=whose")
            else:
                split = theme.button("Разъединить", lambda: self._split(former, {}), small=True)
            split.props(f'aria-label="Разъединить с картой {former.patient.patient_id}"')

    def _draw_whose(self) -> None:
        with ui.element("dialog").classes("wide").props("id=whose aria-labelledby=whose-title"):
            text("h2", "Чьи это направления?").props("id=whose-title")
            self._whose = ui.element("div").classes("scrolled")
            with ui.element("div").classes("acts").style("margin-top: 16px"):
                theme.button("Не разъединять").props("data-closes autofocus")
                theme.button("Да, разъединить", self._split_decided, kind="danger").props("data-closes")

    def _ask_whose(self, former: FormerCard) -> None:
        """Fill the dialog, which the browser has just opened, with the orders since the merge."""
        self._splitting, self._decided = (former, self._card().patient.revision), {}
        today = self._services.today()
        self._whose.clear()
        with self._whose:
            text("p", card_words.WHOSE_SINCE, "muted").style("margin: 8px 0")
            for each in former.later:
                with ui.element("fieldset").classes("whose"):
                    when = f"{words.day(each.steps[0].start.date(), today)}, {each.steps[0].start:%H:%M}"
                    text(
                        "legend", f"{when} {words.procedure(each)}, {each.accession_number}. Записал: {each.created_by}"
                    )
                    for is_merged, card in ((False, former.remaining), (True, former.patient)):
                        self._draw_owner(each, card_words.named(card), is_merged=is_merged)
                    self._draw_owner(each, card_words.WHOSE_UNKNOWN, is_merged=None)

    def _draw_owner(self, order: Order, word: str, *, is_merged: bool | None) -> None:
        with ui.element("label").classes("pick"):
            choice = ui.element("input").props(f"type=radio name=whose-{order.id}")
            choice.on("change", lambda: self._decided.update({order.id: is_merged}))
            text("span", word)

    async def _split_decided(self) -> None:
        if self._splitting is None:
            return
        former, revision = self._splitting
        if len(self._decided) < len(former.later):
            theme.show_message(errors.problem("orders", "undecided"), bad=True)
            return
        await self._split(former, self._decided, revision)

    async def _split(self, former: FormerCard, decided: Mapping[int, bool | None], seen: int | None = None) -> None:
        services, revision = self._services, seen or self._card().patient.revision
        actor = current_actor(services)
        done = await attempt(
            lambda: services.store.write(
                patient_merge.undo_merge, former.merge_id, actor, services.clinic, revision=revision, decided=decided
            )
        )
        if done is None:
            return
        lost = ", ".join(LABELS[field] for field in done.value)
        said = f"Разъединено: карта {former.patient.patient_id} снова отдельно"
        theme.show_message(f"{said}. Проверьте {lost}: номер уже у другого человека" if lost else said, bad=bool(lost))

    def _draw_search(self) -> None:
        with ui.element("dialog").classes("wide other-card").props("id=other-card aria-labelledby=other-card-title"):
            text("h2", "С какой картой объединить?").props("id=other-card-title")
            text("p", "Найдите вторую карту этого человека. Сначала покажем, что станет.", "muted").style(
                "margin: 8px 0"
            )
            with ui.element("div").classes("field combo"):
                field = labelled_field("Фамилия, дата рождения или номер", name="other-card-search", narrow=12)
                field.control.props("maxlength=200")
                self._search_field = field
                today = self._services.today()
                Autocomplete(
                    field,
                    self._search,
                    lambda each: theme.patient_line(
                        str(each.name), each.born, today, self._former.get(each.stored_id, "")
                    ),
                    self._compare,
                    name="other-card-list",
                    at_most=SHOWN,
                    eager=True,
                    no_match="Никого нет:",
                )
            with ui.element("div").classes("acts").style("margin-top: 16px"):
                theme.button("Закрыть").props("data-closes")

    async def _search(self, typed: str) -> list[Patient]:
        own = self._card().patient.stored_id
        # One more than are listed, so that it is said if there are more; and the card itself may be among them.
        found = await read_as_viewer(self._services, lambda reader: patient_search.search(reader, typed, SHOWN + 2))
        self._former = card_words.former_names(found)
        return [each for each in found.patients if each.id != own]

    async def _compare(self, other: Patient | None, typed: str) -> None:
        if other is None:
            theme.show_message(f"Карты «{typed[:64]}» нет", bad=True)
        else:
            ui.navigate.to(card_words.merge_address(self._card().patient.patient_id, other.patient_id))
