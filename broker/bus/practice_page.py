"""The one page of the practice bus for people: what it took in and what it refused.

Plain HTML in one answer, everything from outside escaped, no script and nothing fetched. It reads events and refusals
and decides nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from html import escape
from typing import NamedTuple

from broker.bus.practice_records import Event

KINDS = {"order": "Направление", "result": "Результат", "status": "Смена статуса", "create": "Справочник"}
RESOURCES = {
    "Patient": "пациент",
    "Practitioner": "врач",
    "PractitionerRole": "должность врача",
    "Device": "аппарат",
    "Schedule": "запись на аппарат",
}
STATUSES = {  # a state is a sign, a word and a colour, never a colour alone
    "requested": ("○", "назначено", "slate"),
    "in-progress": ("◐", "снимки получены", "indigo"),
    "completed": ("●", "описано", "green"),
    "cancelled": ("✕", "отменено", "red"),
}
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}


class Refusal(NamedTuple):
    """One request the bus did not accept."""

    at: datetime
    method: str
    path: str
    status: int
    reason: str


def render(events: Iterable[Event], refusals: Iterable[Refusal]) -> str:
    """Write the page; both lists come newest first."""
    taken = "".join(_event_row(event) for event in events)
    refused = "".join(_refusal_row(refusal) for refusal in refusals)
    if not taken:
        taken = '<tr><td colspan="6" class="muted">Шина ещё ничего не получила.</td></tr>'
    refused_part = f"<h2>Отклонено</h2>{_table(_REFUSED_COLUMNS, refused)}" if refused else ""
    return _PAGE.format(style=_STYLE, taken=_table(_TAKEN_COLUMNS, taken), refused=refused_part)


def _event_row(event: Event) -> str:
    """Write one thing taken in."""
    sign, word, colour = STATUSES.get(event.status, ("", "", "slate"))
    kind = KINDS[event.kind]
    if event.kind == "create":
        kind = f"{kind}: {RESOURCES.get(event.resource_type, event.resource_type)}"
    cells = "".join(f"<td>{escape(c)}</td>" for c in (_time(event.at), kind, event.number, event.accession_number))
    state = f'<td class="{colour}">{sign} {word}</td>'
    return f'<tr>{cells}<td class="long">{escape(event.patient)}</td>{state}</tr>'


def _refusal_row(refusal: Refusal) -> str:
    """Write one thing refused."""
    cells = (_time(refusal.at), f"{refusal.method} {refusal.path}", str(refusal.status))
    return f'<tr>{"".join(f"<td>{escape(c)}</td>" for c in cells)}<td class="long">{escape(refusal.reason)}</td></tr>'


def _table(columns: tuple[str, ...], rows: str) -> str:
    """Write a table around rows that are HTML already."""
    head = "".join(f"<th>{column}</th>" for column in columns)
    return f"<div><table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>"


def _time(at: datetime) -> str:
    """Write an instant in the machine's own time."""
    return f"{at.astimezone():%d.%m.%Y %H:%M:%S}"


_TAKEN_COLUMNS = ("Время", "Что", "Номер заявки", "Номер исследования", "Пациент", "Статус")
_REFUSED_COLUMNS = ("Время", "Запрос", "Ответ", "Причина")
_STYLE = """
:root { color-scheme: light dark; --ground: #ffffff; --line: #d9e0e6; --text: #1c2733; --muted: #52616f;
  --slate: #52616f; --indigo: #5145c0; --green: #1c7034; --red: #b42318; }
@media (prefers-color-scheme: dark) { :root { --ground: #12181d; --line: #2c3741; --text: #e4eaef; --muted: #a2b0bc;
  --slate: #a9b6c1; --indigo: #aba6ff; --green: #74cc8a; --red: #ff8f85; } }
body { margin: 0 auto; max-width: 1280px; padding: 20px 16px; background: var(--ground); color: var(--text);
  font: 15px/1.4 "Segoe UI", -apple-system, "Noto Sans", Roboto, sans-serif; font-variant-numeric: tabular-nums; }
h1 { font-size: 20px; margin: 0 0 4px; } h2 { font-size: 15px; margin: 28px 0 8px; }
p, .muted { color: var(--muted); margin: 0 0 16px; }
div { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; vertical-align: top; padding: 7px 16px 7px 0; border-bottom: 1px solid var(--line);
  white-space: nowrap; }
th { color: var(--muted); font-size: 13px; font-weight: 400; white-space: nowrap; }
.long { white-space: normal; overflow-wrap: anywhere; min-width: 220px; }
.slate { color: var(--slate); } .indigo { color: var(--indigo); } .green { color: var(--green); }
.red { color: var(--red); }
"""
_PAGE = """<!DOCTYPE html>
<html lang="ru"><head><meta charset="utf-8"><title>Учебная шина</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="refresh" content="10"><style>{style}</style></head>
<body><h1>Учебная шина</h1>
<p>Изображает региональную шину ОДИИ. Вот что она получила; страница обновляется сама.</p>
{taken}{refused}</body></html>
"""
