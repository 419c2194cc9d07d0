"""A name that was typed in the other layout of the keyboard: what it is in Russian is offered above the field."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from broker.domain.patients import latin_typing
from ui.desk.referral.field_values import NAME
from ui.text import typed_values
from ui.widgets.form_field import FormField


def offer(fields: Mapping[str, FormField], key: str, take: Callable[[], Any]) -> None:
    """Offer what a field of the name would be in Russian, if that is rather meant; other fields are left alone."""
    if key in NAME:
        fields[key].show_offer(_meant(fields[key]), "В русской раскладке", take)


def take_over(fields: Mapping[str, FormField]) -> Iterator[str]:
    """Replace all parts of the name that were typed in the other layout; yield each field that has changed."""
    for key in NAME:
        if meant := _meant(fields[key]):
            fields[key].value = meant
            yield key


def _meant(field: FormField) -> str:
    return typed_values.tidy_name(latin_typing.meant_in_russian(field.value or ""))
