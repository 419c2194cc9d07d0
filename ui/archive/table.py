"""The table of a comparison: the referral, the images, and whether they fit, row by row."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from ui.archive.comparison import ComparedRow
from ui.widgets import html, theme
from ui.widgets.html import tag


def draw(rows: Sequence[ComparedRow]) -> None:
    """Draw the table; where it is wider than the page it scrolls by itself."""
    element = theme.html_element("div", _write_table(rows), "sideways")
    element.props('tabindex=0 role=region aria-label="Сверка"')


def _write_table(rows: Sequence[ComparedRow]) -> Markup:
    heads = ("В направлении", "На снимках")
    head = html.join(
        tag("th", "", tag("span", "unseen", "Что"), scope="col"),
        *(tag("th", "", word, scope="col") for word in heads),
        tag("th", "", tag("span", "unseen", "Итог"), scope="col"),
    )
    body = html.join(*(_write_row(each) for each in rows))
    return tag("table", "two-sides", tag("thead", "", tag("tr", "", head)), tag("tbody", "", body))


_MARKS = {True: ("check", "green"), False: ("close", "red"), None: ("remove", "slate")}


def _write_row(each: ComparedRow) -> Markup:
    icon, tone = _MARKS[each.fits]
    verdict = tag("span", f"state tone-{tone}", html.icon(icon), tag("span", "", each.verdict)) if each.verdict else ""
    return tag(
        "tr",
        "differs" if each.fits is False else "",
        tag("th", "", each.name, scope="row"),
        tag("td", "", each.ours),
        tag("td", "", each.theirs),
        tag("td", "", verdict),
    )
