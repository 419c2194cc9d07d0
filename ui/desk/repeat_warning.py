"""The warning that a planned study repeats an earlier one; it forbids nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from nicegui import ui

from broker.domain.patients import names
from broker.domain.studies.prior_studies import PriorStudy
from ui.desk.history import place
from ui.text import links, words
from ui.widgets import theme
from ui.widgets.theme import text

LONGEST = 160  # characters of the earlier conclusion


class RepeatWarning:
    """The box above the save button; `open_external` fills the dialog `past` with another clinic's report.

    `avoid` is called where the person orders nothing, because the earlier study is enough; None: that is not offered.
    """

    def __init__(self, open_external: Callable[[str], None], avoid: Callable[[], Any] | None = None) -> None:
        self._open_external, self._avoid = open_external, avoid
        self._found: tuple[PriorStudy, ...] = ()
        self._drawn = ("", "", "")  # the state of the first, the year's dose, the limit
        self._seen: tuple[PriorStudy, ...] = ()  # the person was warned of these and wants to repeat them
        self._box = ui.element("div").classes("repeat").props("role=alert")
        self._box.set_visibility(False)

    def show(
        self,
        found: Sequence[PriorStudy],
        clinics: Mapping[str, str],
        states: Mapping[int, str],
        year: str = "",
        limit: str = "",
    ) -> None:
        """Show what would be repeated; the box cannot be closed. `states` are those of our own studies, by order id.

        `year` is the year's dose, `limit` that the prophylactic one is exceeded: that is shown by itself, too, and asks
        nothing.
        """
        state = states.get(found[0].order_id or 0, "") if found else ""
        drawn = (state, year, limit)
        if (tuple(found), drawn) == (self._found, self._drawn):
            return
        self._found, self._drawn = tuple(found), drawn
        if not found:
            self._seen = ()
        self._box.set_visibility(bool(found or limit))
        self._box.clear()
        if not found and not limit:
            return
        with self._box:
            ui.icon("warning").props("aria-hidden=true")
            with ui.element("div").classes("cut-not"):
                text("b", sentence(found[0], clinics, state) if found else limit)
                below = [*remarks(found), *([f"{year}."] if year else []), limit] if found else []
                for word in filter(None, below):
                    text("p", word, "small")
            if found:
                with ui.element("div").classes("acts"):
                    self._draw_opener(found[0])
                    if self._avoid:
                        theme.button("Не записывать", self._avoid, small=True)

    def _draw_opener(self, first: PriorStudy) -> None:
        if first.reference:
            opener = theme.button("Открыть прежнее", lambda: self._open_external(first.reference), small=True)
            opener.props("data-opens=past")
        else:
            with ui.link("", links.card(first.accession_number), new_tab=True).classes("btn btn-small"):
                text("span", "Открыть прежнее")

    def needs_confirmation(self) -> bool:
        """Return True if the person must still confirm the repetition; the call counts as the question."""
        if not self._found or self._seen == self._found:
            return False
        self._seen = self._found
        return True

    def was_asked(self) -> bool:
        """Return True if the question was asked, so that the next press saves."""
        return bool(self._found) and self._seen == self._found

    @property
    def first(self) -> PriorStudy | None:
        """Return the newest study that would be repeated; None if none is."""
        return self._found[0] if self._found else None

    def repeats(self) -> str:
        """Return what is repeated, for the audit trail; empty if nothing is."""
        return "; ".join(
            f"{each.studied_on} {each.modality} {each.accession_number or each.reference}" for each in self._found
        )


def sentence(first: PriorStudy, clinics: Mapping[str, str], state: str = "") -> str:
    """Return what was done, when and where, and its conclusion; of our own study without one, its state."""
    kind = words.MODALITIES.get(first.modality, first.procedure_name or first.modality)
    whole = " ".join(first.conclusion.split()).rstrip(".")
    shown = names.cut(whole, LONGEST)
    result = (
        f": «{shown}{'' if shown == whole else '…'}»." if shown else f", {f'{state}, ' if state else ''}заключения нет."
    )
    return f"{kind} уже делали {first.studied_on:%d.%m.%Y}, {place(first, dict(clinics))}{result}"


def remarks(found: Sequence[PriorStudy]) -> list[str]:
    """Return what else should be known before it is repeated."""
    first, more = found[0], len(found) - 1
    sentences = []
    if first.procedure_name:
        sentences.append(first.procedure_name)
    if not first.site_known:
        sentences.append("Область неизвестна, возможно, другая.")
    if more:
        sentences.append(f"И ещё {words.plural(more, 'исследование', 'исследования', 'исследований')} за этот срок.")
    return sentences
