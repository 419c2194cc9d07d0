"""The form of what two readers propose to decide: an opinion, and the words of the report. No saving."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from nicegui import ui

from broker.domain.reading.opinions import BI_RADS, Finding, Opinion, OpinionForm
from broker.workflow.reading.reports import ReportText
from ui.text import errors, reading
from ui.widgets.form_field import FormField, labelled_field, text_area

_TEXTS = {"description": ("Описание", 4), "conclusion": ("Заключение", 2), "recommendations": ("Что дальше", 2)}
_GRADES = {"": "–"} | {str(grade): f"{grade} – {reading.BI_RADS[grade]}" for grade in BI_RADS}


class DecisionForm:
    """The fields; `touched` is called when something is typed or chosen."""

    def __init__(self, form: OpinionForm, touched: Callable[[], None]) -> None:
        self._form = form
        self._fields: dict[str, FormField] = {}
        with ui.element("div").classes("form written-form"):
            if form is OpinionForm.BI_RADS:
                kinds = {"": "Категории BI-RADS", Finding.TECHNICAL.value: reading.FINDINGS[Finding.TECHNICAL][1]}
                self._choice("opinion", "Решение", kinds, 4)
                self._choice("right", "Правая", _GRADES, 4)
                self._choice("left", "Левая", _GRADES, 4)
            else:
                kinds = {"": "–"} | {finding.value: reading.FINDINGS[finding][1] for finding in Finding}
                self._choice("opinion", "Решение", kinds, 8)
                self._choice("side", "Сторона", {"": "не сказано"} | reading.SIDES, 4)
            for name, (word, rows) in _TEXTS.items():
                self._fields[name] = text_area(word, f"together-{name}", rows)
        for field in self._fields.values():
            field.control.on_value_change(lambda field=field: _clear(field, touched))

    def _choice(self, name: str, word: str, options: dict[str, str], span: int) -> None:
        self._fields[name] = labelled_field(
            word, ui.select, name=f"together-{name}", options=options, value="", span=span, narrow=12
        )

    @property
    def values(self) -> dict[str, str]:
        """What is typed and chosen: field -> value."""
        return {name: str(field.value or "") for name, field in self._fields.items()}

    def fill(self, values: dict[str, Any]) -> None:
        """Write values into the fields, field -> value; others stay."""
        for name, value in values.items():
            if name in self._fields:
                self._fields[name].value = value

    def take(self, opinion: Opinion | None, said: ReportText) -> None:
        """Write an opinion and its words into the fields."""
        self.fill(values_of(self._form, opinion, said))

    def read(self) -> tuple[Opinion | None, ReportText]:
        """Return the opinion, None if none is chosen, and the words."""
        values = self.values
        said = ReportText(values["description"], values["conclusion"], values["recommendations"])
        if values["opinion"]:
            finding = Finding(values["opinion"])
            return Opinion(finding, values.get("side", "") if finding is Finding.RECALL else ""), said
        if self._form is OpinionForm.BI_RADS and values["right"] and values["left"]:
            return Opinion.of_breasts(int(values["right"]), int(values["left"])), said
        return None, said

    def show_problems(self, problems: dict[str, str]) -> str:
        """Show what is wrong at the fields, and return what is wrong besides."""
        for name, field in self._fields.items():
            field.show_error(errors.problem(name, problems[name]) if name in problems else "")
        return " ".join(errors.problem(name, code) for name, code in problems.items() if name not in self._fields)


def _clear(field: FormField, touched: Callable[[], None]) -> None:
    field.show_error("")
    touched()


def values_of(form: OpinionForm, opinion: Opinion | None, said: ReportText) -> dict[str, Any]:
    """Return how the fields hold an opinion and its words."""
    values = {name: getattr(said, name) for name in _TEXTS}
    if form is OpinionForm.FINDINGS:
        return values | {"opinion": opinion.finding.value if opinion else "", "side": opinion.side if opinion else ""}
    graded = opinion is not None and opinion.right is not None
    return values | {
        "opinion": opinion.finding.value if opinion and not graded else "",
        "right": str(opinion.right) if opinion and graded else "",
        "left": str(opinion.left) if opinion and graded else "",
    }
