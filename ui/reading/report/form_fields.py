"""The further fields of a report, those of form 34: folded, for a draft and for a correction; and as they read."""

from __future__ import annotations

from collections.abc import Mapping

from nicegui import ui

from broker.documents.report_pdf import FORM_LABELS
from broker.domain.reading import report_form
from ui.widgets import theme
from ui.widgets.form_field import FormField, labelled_field
from ui.widgets.theme import text

_REPEATED = {"": "не указано", "первичное": "первичное", "повторное": "повторное"}
_HINTS = {
    "contrast": "Препарат, доза, путь введения; реакция",
    "consultant": "Врач, с которым советовались. Подписи это не заменяет",
}
_NARROW = frozenset({"repeated", "scale"})


class FormFields:
    """The fields; `fields` are added to the texts' own, by name."""

    def __init__(self, prefix: str = "") -> None:
        """Draw them, folded; `prefix` tells the controls of two forms on one page apart."""
        self.fields: dict[str, FormField] = {}
        self._box = ui.element("details").classes("s12")
        with self._box:
            text("summary", "Ещё: цель, анамнез, контраст, шкала")
            with ui.element("div").classes("form").style("margin-top: 8px"):
                for name in report_form.FIELDS:
                    self.fields[name] = self._make(name, f"{prefix}{name}")

    def _make(self, name: str, control: str) -> FormField:
        label, span = FORM_LABELS[name], 6 if name in _NARROW else 12
        if name == "repeated":
            return labelled_field(
                label, ui.select, name=control, span=span, narrow=12, options=dict(_REPEATED), value=""
            )
        return labelled_field(label, name=control, span=span, narrow=12, hint=_HINTS.get(name, ""))

    def fill(self, form: str) -> None:
        """Show what is kept; the fields open where there is something."""
        values = report_form.unpack(form)
        for name, field in self.fields.items():
            value = values.get(name, "")
            if name == "repeated" and value not in _REPEATED:
                value = ""
            if (field.value or "") != value:
                field.value = value
        if values:
            self._box.props("open")

    def typed(self) -> str:
        """Return what is typed as it is kept."""
        return pack({name: str(field.value or "") for name, field in self.fields.items()})

    def show_problems(self, problems: Mapping[str, str]) -> None:
        """Open them where one is wrong."""
        if any(name in problems for name in self.fields):
            self._box.props("open")


def pack(values: Mapping[str, str]) -> str:
    """Return fields as they are kept, blanks around them dropped."""
    return report_form.pack({name: values.get(name, "").strip() for name in report_form.FIELDS})


def draw(form: str) -> None:
    """Draw what is filled in, as facts."""
    values = report_form.unpack(form)
    if values:
        theme.facts([(FORM_LABELS.get(name, name), value) for name, value in values.items()])
