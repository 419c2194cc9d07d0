"""A labelled control with quick choices beside its label and a line for a hint or an error under it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from nicegui import ui
from nicegui.elements.mixins.text_element import TextElement

from ui.widgets.theme import text


@dataclass
class FormField:
    """A labelled control and the line under it, which is a hint or an error."""

    box: ui.element
    cap: ui.element  # the line above, with the label and the quick choices
    control: Any
    note: TextElement
    hint: str
    error: str = ""
    offer: ui.element | None = None

    @property
    def value(self) -> Any:
        """Return what the control holds."""
        return self.control.value

    @value.setter
    def value(self, value: Any) -> None:
        self.control.set_value(value)

    def show_error(self, error: str) -> None:
        """Show under the field what is wrong and how to fix it; an empty string removes it."""
        if error == self.error:
            return
        self.error = error
        self.note.set_text(error or self.hint)
        if error:
            self.box.classes(add="wrong")
            self.control.props("aria-invalid=true")
        else:
            self.box.classes(remove="wrong")
            self.control.props(remove="aria-invalid")

    def show_hint(self, hint: str) -> None:
        """Show a hint under the field, unless an error is shown."""
        if hint != self.hint:
            self.hint = hint
            self.note.set_text(self.error or hint)

    def show_offer(self, word: str, why: str = "", take: Callable[[], Any] = lambda: None) -> None:
        """Offer a value as a quick choice above the field; an empty word takes the offer away."""
        if self.offer:
            self.offer.delete()
            self.offer = None
        if word:
            with self.cap:
                self.offer = text("button", f"{word}?", "quick").props("type=button").on("click", take)
                self.offer.props["aria-label"] = f"{why}: {word}"
                self.offer.props["title"] = why

    def focus(self) -> None:
        """Put the cursor into the control."""
        self.control.run_method("focus")


def labelled_field(
    label: str,
    make: Callable[..., Any] = ui.input,
    *,
    name: str,
    span: int = 12,
    narrow: int = 6,
    hint: str = "",
    props: str = "",
    quick: Sequence[tuple[str, Callable[[], Any]]] = (),
    **options: Any,
) -> FormField:
    """Draw a control with its label above, quick choices right of the label and a line for notes under it.

    `span` is its width in twelfths of the form, `narrow` the same on a phone.
    """
    tick = make is ui.checkbox
    with ui.element("div").classes(f"field s{span} n{narrow}" + (" tick" if tick else "")) as box:
        with ui.element("div").classes("cap") as cap:
            text("label", label).props(f"for={name}")
            for word, act in quick:
                text("button", word, "quick").props("type=button").on("click", act)
        control = make(label, **options) if tick else make(**options)
        dense = f"outlined dense hide-bottom-space no-error-icon for={name} aria-describedby={name}-note"
        control.props("dense" if tick else dense)
        if make is ui.input:  # with it a select gets a second, hidden input that lies over the first
            control.props("autocomplete=off")
        control.props(props)
        note = text("p", hint, "note").props(f"id={name}-note")
    return FormField(box, cap, control, note, hint)


def text_area(label: str, name: str, rows: int, value: str = "", most: int = 0) -> FormField:
    """Draw a field of several lines that grows with its text, to at most `most` rows if that is given."""
    style = f"min-height: {rows * 22}px" + (f"; max-height: {most * 22}px" if most else "")
    return labelled_field(
        label, ui.textarea, name=name, narrow=12, value=value, props=f'autogrow input-style="{style}"'
    )
