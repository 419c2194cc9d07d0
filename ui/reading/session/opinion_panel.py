"""The right half of a reading session: opinions as large keys, or the text of the one that was chosen."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from nicegui import ui

from broker.domain.reading.opinions import ROUTINE, Finding, Opinion, OpinionForm, ReadingStage
from broker.workflow.reading import reports
from broker.workflow.reading.reports import ReportText
from ui.reading.session.cases import SessionCase
from ui.text import errors, reading
from ui.widgets import html, theme
from ui.widgets.form_field import FormField, text_area
from ui.widgets.html import tag
from ui.widgets.theme import text

PAUSE = 1.5  # seconds without a keystroke after which the draft is saved
TECHNICAL_KEY = 9  # of a mammogram, whose digits are categories


@dataclass(frozen=True, slots=True)
class PanelActions:
    """What the page does when the panel asks for it."""

    give: Callable[[Opinion, ReportText], Awaitable[None]]
    digit: Callable[[int], Awaitable[None]]  # as if the key was pressed
    close_text: Callable[[], Awaitable[None]]


class OpinionPanel:
    """Opinions on one case; `text_is_open` while words are written."""

    def __init__(self, case: SessionCase, actions: PanelActions) -> None:
        self._case, self._actions = case, actions
        self._breasts: list[int] = []
        self._chosen: Opinion | None = None
        self._said = ReportText()
        self._side = ""
        self._fields: dict[str, FormField] = {}
        self._changed: float | None = None  # time of the last keystroke
        self._element = ui.element("section").props("aria-label=Мнение")
        self.draw()

    @property
    def text_is_open(self) -> bool:
        """True while the words of an opinion are written."""
        return self._chosen is not None

    @property
    def is_quiet(self) -> bool:
        """True if something was typed and nothing since PAUSE: then the draft is saved."""
        return self._changed is not None and time.monotonic() - self._changed >= PAUSE

    @property
    def opinion(self) -> Opinion | None:
        """The opinion whose words are written, with its side; None where none is."""
        if self._chosen is None or self._chosen.right is not None:
            return self._chosen
        return Opinion(self._chosen.finding, self._side if self._chosen.finding is Finding.RECALL else "")

    def typed(self) -> ReportText:
        """Return what is typed, normalised; what is typed from now on is new."""
        self._changed = None
        values = {name: str(field.value or "") for name, field in self._fields.items()}
        return reports.tidy(ReportText(values["description"], values["conclusion"], values["recommendations"]))

    # ---- keys ----

    async def press(self, digit: int) -> None:
        """Take a digit as the opinion that it means here."""
        if self._case.form is OpinionForm.BI_RADS:
            await self._press_breast(digit)
        elif 1 <= digit <= len(Finding):
            await self._press_finding(list(Finding)[digit - 1])

    async def _press_finding(self, finding: Finding) -> None:
        opinion = Opinion(finding)
        if finding is Finding.NORM and not self._case.norm_is_closed:
            await self._actions.give(opinion, self._text_for(opinion))
        else:
            self.open_text(opinion)

    async def _press_breast(self, digit: int) -> None:
        if digit == TECHNICAL_KEY:
            self.open_text(Opinion(Finding.TECHNICAL))
            return
        if digit >= len(reading.BI_RADS):
            return
        self._breasts = [*self._breasts, digit] if len(self._breasts) < 2 else [digit]
        if len(self._breasts) < 2:
            self.draw()
            return
        right, left = self._breasts
        opinion = Opinion.of_breasts(right, left)
        if {right, left} <= ROUTINE and not self._case.norm_is_closed:
            await self._actions.give(opinion, self._text_for(opinion))
        else:
            self.open_text(opinion)

    def say_early(self) -> None:
        """Say that the case has just changed, so the key did nothing."""
        self._early.set_text("Рано: случай только что сменился. Клавиши включатся через мгновение.")
        self._element.classes("deaf")

    # ---- the text ----

    def open_text(self, opinion: Opinion, said: ReportText | None = None) -> None:
        """Open the words of an opinion: these, the own draft, or its template."""
        self._chosen, self._said = opinion, said or self._text_for(opinion)
        own = self._case.opened.own.opinion
        self._side = opinion.side or (own.side if own and own.finding is opinion.finding else "")
        self.draw()

    def close_text(self, case: SessionCase) -> None:
        """Show the opinions again; `case` has the draft that was saved."""
        self._case, self._chosen, self._breasts, self._fields = case, None, [], {}
        self.draw()

    def show_note(self, said: str) -> None:
        """Show how the draft is kept."""
        self._note.set_text(said)

    def show_problems(self, opinion: Opinion, problems: dict[str, str]) -> None:
        """Show what is wrong at the fields; opens the text of an opinion that was given by one key."""
        if self._chosen is None:
            self.open_text(opinion)
        for name, field in self._fields.items():
            field.show_error(errors.problem(name, problems[name]) if name in problems else "")

    def _text_for(self, opinion: Opinion) -> ReportText:
        """Return the words with which an opinion begins: the own draft, else its template."""
        own = self._case.opened.own
        if (own.opinion is None or own.opinion.finding is opinion.finding) and (own.conclusion or own.description):
            return ReportText(own.description, own.conclusion, own.recommendations)
        finding = Finding.NORM if opinion.is_routine and opinion.right is not None else opinion.finding
        template, scale = self._case.template(finding), reading.scale(opinion)
        if template is None:
            return ReportText("", scale)
        conclusion = "\n".join(part for part in (template.conclusion, scale) if part)
        return ReportText(template.description, conclusion, template.recommendations)

    # ---- drawing ----

    def draw(self) -> None:
        """Draw the opinions, or the text of the one that is chosen."""
        self._element.classes(replace="verdicts" + ("" if self._chosen or self._breasts else " fresh"))
        self._element.clear()
        with self._element:
            self._draw_lead()
            if self._chosen is not None:
                self._draw_text(self._chosen)
                return
            if self._case.form is OpinionForm.BI_RADS:
                self._draw_breasts()
            else:
                self._draw_findings()
            self._early = text("p", "", "deaf-word").props("role=status")
            self._draw_template()

    def _draw_lead(self) -> None:
        if self._case.opened.arbitrates:
            icon = "balance"
            said = "Мнения разошлись. Стрелка берёт слова одного из двух, цифра начинает своё решение. Подпись ваша."
        elif self._case.opened.case.stage is ReadingStage.SECOND:
            icon = "visibility_off"
            said = "Одно чтение уже есть. Чужие слова откроются, когда случай будет завершён."
        else:
            return
        theme.html_element("p", html.join(html.icon(icon), tag("span", "", said)), "blind")

    def _draw_findings(self) -> None:
        closed = self._case.norm_is_closed
        with ui.element("div").classes("opinions"):
            for place, (finding, (key, word, meaning, tone)) in enumerate(reading.FINDINGS.items(), 1):
                shut = finding is Finding.NORM and closed
                content = html.join(
                    tag("kbd", "", key),
                    tag("b", "", "Норма, словами" if shut else word),
                    tag("span", "what", closed if shut else meaning),
                )
                made = theme.html_element("button", content, f"opinion tone-{tone}" + (" shut" if shut else ""))
                made.props("type=button").on("click", lambda _, place=place: self._actions.digit(place))

    def _draw_breasts(self) -> None:
        right, left = (*self._breasts, None, None)[:2]
        with ui.element("div").classes("breasts"):
            self._draw_breast("Правая", right, is_next=right is None)
            self._draw_breast("Левая", left, is_next=right is not None)
        with ui.element("div").classes("mammo-line"):
            ui.element("div").classes("spring")
            technical = ui.element("button").classes("btn btn-small").props("type=button")
            technical.on("click", lambda: self._actions.digit(TECHNICAL_KEY))
            with technical:
                text("kbd", str(TECHNICAL_KEY))
                text("span", "Брак, переснять")
        text(
            "p",
            "Первая цифра – правая, вторая – левая. 1 1, 1 2, 2 1 или 2 2 записываются сразу и открывают следующий"
            " случай; при остальных откроется текст.",
            "muted small",
        )

    def _draw_breast(self, word: str, value: int | None, *, is_next: bool) -> None:
        with ui.element("div").classes("breast" + (" active" if is_next else "")):
            with ui.element("div").classes("head"):
                text("h2", word)
            with ui.element("ol"):
                for number, meaning in enumerate(reading.BI_RADS):
                    content = html.join(tag("kbd", "", str(number)), tag("span", "", meaning))
                    with ui.element("li"):
                        made = theme.html_element("button", content, "grade" + (" on" if value == number else ""))
                        made.props(f'type=button aria-label="{word}: {number}, {meaning}"')
                        made.props(f"aria-pressed={str(value == number).lower()}")
                        made.on("click", lambda _, number=number: self._actions.digit(number))

    def _draw_template(self) -> None:
        template = self._case.template(Finding.NORM)
        if template is None or self._case.norm_is_closed:
            return
        with ui.element("div").classes("template-text"):
            text("p", f"Шаблон: {template.name}", "label")
            text("p", template.description)
            text("b", template.conclusion)

    def _draw_text(self, opinion: Opinion) -> None:
        with ui.element("div").classes("opinions strip"):
            if opinion.right is not None:
                theme.state_chip(opinion.finding.value, reading.said(opinion))
            else:
                self._draw_other_findings(opinion)
        with ui.element("div").classes("form written-form read-form"):
            self._fields = {
                "description": text_area("Описание", "description", 5, self._said.description, most=8),
                "conclusion": text_area("Заключение", "conclusion", 2, self._said.conclusion, most=3),
                "recommendations": text_area("Что дальше", "recommendations", 2, self._said.recommendations, most=3),
            }
            for field in self._fields.values():
                field.control.on_value_change(self._touch)
                field.control.on("keydown.escape", self._actions.close_text)
            if opinion.finding is Finding.RECALL and opinion.right is None:
                self._draw_sides()
        with ui.element("div").classes("acts"):
            word = "Решить и подписать" if self._case.opened.arbitrates else "Записать и дальше"
            theme.button(word, self._record, kind="primary", key="Ctrl+Enter")
            theme.button("К мнениям", self._actions.close_text, key="Esc").props("data-back")
        self._note = text("p", "", "muted small").props("role=status")
        self._fields["description"].control.props("autofocus")
        self._fields["description"].focus()

    def _draw_other_findings(self, opinion: Opinion) -> None:
        for finding, (key, _, _, _) in reading.FINDINGS.items():
            is_on = finding is opinion.finding
            content = html.join(tag("kbd", "", key), tag("span", "", reading.SHORT[finding].capitalize()))
            made = theme.html_element("button", content, "opinion slim" + (" on" if is_on else ""))
            made.props(f"type=button aria-pressed={str(is_on).lower()}")
            made.on("click", lambda _, finding=finding: self._change_finding(finding))

    def _change_finding(self, finding: Finding) -> None:
        """Choose another finding; words that were typed stay, a template that was not touched makes room."""
        typed = self.typed()
        was_touched = typed != self._said
        self.open_text(Opinion(finding), typed if was_touched else None)

    def _draw_sides(self) -> None:
        with ui.element("div").classes("field s12 sides"):
            text("span", "Сторона", "cap")
            with ui.element("div").classes("filters tight"):
                for side, word in reading.SIDES.items():
                    made = text("button", word).props("type=button")
                    made.props(f"aria-pressed={str(side == self._side).lower()}")
                    made.on("click", lambda _, made=made, side=side: self._choose_side(made, side))

    def _choose_side(self, button: ui.element, side: str) -> None:
        self._side = "" if self._side == side else side
        for each in button.parent_slot.children if button.parent_slot else ():
            each.props(f"aria-pressed={str(each is button and bool(self._side)).lower()}")
        self._touch()

    def _touch(self, _: Any = None) -> None:
        self._changed = time.monotonic()
        for field in self._fields.values():
            field.show_error("")

    async def _record(self) -> None:
        if (opinion := self.opinion) is not None:
            await self._actions.give(opinion, self.typed())
