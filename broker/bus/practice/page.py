"""The HTML pages of the practice bus: accepted and refused resources, requests, pending faults.

Plain HTML, all outside text escaped, without scripts or external files.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from datetime import datetime
from html import escape
from typing import NamedTuple

from broker.bus.fhir_server.rules import Resource
from broker.bus.practice.faults import FAULTS, RANDOM_FAULTS, Fault
from broker.bus.practice.style import STYLE
from broker.bus.practice.view import OrderView, ResultView, View

STATUSES = {  # a state is a sign, a word and a colour, never a colour alone
    "requested": ("○", "назначено", "slate"),
    "in-progress": ("◐", "снимки получены", "indigo"),
    "completed": ("●", "описано", "green"),
    "cancelled": ("✕", "отменено", "red"),
    "rejected": ("✕", "отказано", "red"),
}
LINKS = {
    "Task": "Task",
    "ServiceRequest": "направление",
    "DiagnosticReport": "протокол",
    "ImagingStudy": "исследование",
    "Patient": "пациент",
    "Binary": "документ",
}
PLACES = (
    ("", "любой запрос"),
    ("/", "отправка Bundle"),
    ("/Task/_search", "поиск заявок"),
    ("/$updatestatus", "смена статуса"),
    ("/Patient/_search", "поиск пациента"),
    ("/DiagnosticReport/_search", "поиск протоколов"),
    ("/ImagingStudy/_search", "поиск исследований"),
    ("/Binary/*", "чтение документа"),
)
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; img-src data:; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",  # with less, the browser would not say where a form comes from
    "Cache-Control": "no-store",
}
TABS = (("/", "Заявки"), ("/refused", "Отклонено"), ("/requests", "Запросы"), ("/faults", "Сбои"))
_LONGEST = 20_000  # characters of one text that are shown
# In a text that is escaped already; only what cannot be anything but a reference becomes a link.
_REFERENCE = re.compile(r"&quot;([A-Z][A-Za-z]{2,40}/[0-9a-f-]{36})&quot;")


class RequestRow(NamedTuple):
    """One request as the log shows it; `status` 0: no answer was given."""

    number: int
    at: datetime
    organisation: str
    method: str
    path: str
    status: int
    reason: str
    body_size: int


def overview(view: View, names: Mapping[str, str], counts: Mapping[str, int]) -> str:
    """Return the page of orders and results, by the organisation that sent them."""
    senders = list(dict.fromkeys([*list(names)[:2], *(o.requester for o in view.orders), *_owners(view.walk_ins)]))
    parts = []
    for guid in senders:
        orders = [_order(order, names) for order in view.orders if order.requester == guid]
        walk_ins = [_walk_in(result) for result in view.walk_ins if result.owner == guid]
        inside = "".join(orders) or '<p class="muted">Заявок от неё ещё нет.</p>'
        addressed = sum(order.owner == guid != order.requester for order in view.orders)
        if addressed:
            inside = f'<p class="muted">Другие направили ей: {addressed}.</p>{inside}'
        if walk_ins:
            inside += f"<h3>Результаты без заявки</h3>{''.join(walk_ins)}"
        title = f'<h2>{escape(names.get(guid, guid))} <span class="guid">{escape(guid)}</span></h2>'
        parts.append(f"<section>{title}{inside}</section>")
    shown_part = f"Показаны последние {len(view.orders)} из {view.total}." if view.total > len(view.orders) else ""
    lead = f"Изображает региональную шину ОДИИ: вот что она получила. Страница обновляется сама. {shown_part}"
    return _page("/", f'<p class="muted">{lead}</p>{"".join(parts)}', counts, refresh=True)


def refused(lines: Iterable[RequestRow], names: Mapping[str, str], counts: Mapping[str, int]) -> str:
    """Return the page of refused requests with reasons."""
    rows = "".join(_row(line, names) for line in lines)
    return _page("/refused", _log(rows, "Шина ещё ничего не отклонила."), counts, refresh=True)


def requests(lines: Iterable[RequestRow], names: Mapping[str, str], counts: Mapping[str, int], rate: int) -> str:
    """Write the log of requests; `rate` is how many came in the last minute."""
    rows = "".join(_row(line, names) for line in lines)
    lead = f'<p class="muted">За последнюю минуту: {rate}. Показаны последние запросы, новые сверху.</p>'
    return _page("/requests", lead + _log(rows, "Запросов ещё не было."), counts, refresh=True)


def faults(due: Iterable[tuple[Fault, int]], rate: float, counts: Mapping[str, int], wrong: str = "") -> str:
    """Write the form that asks for the next fault, and what is due; `wrong` is what was not understood of it."""
    listed = [
        f"<li>{escape(FAULTS[fault.kind])}{_value(fault)} — {_place(fault.path)}, раз: {times}</li>"
        for fault, times in due
    ]
    if rate:
        words = ", ".join(RANDOM_FAULTS)
        listed.append(f"<li>Репетиция: случайный сбой в {rate:.0%} запросов ({escape(words)})</li>")
    waiting = f"<ul>{''.join(listed)}</ul>{_CLEAR}" if listed else '<p class="muted">Сбоев не ждёт ни один запрос.</p>'
    alarm = f'<p class="alarm" role="alert">{escape(wrong)}</p>' if wrong else ""
    kinds = "".join(f'<option value="{kind}">{escape(words)}</option>' for kind, words in FAULTS.items())
    places = "".join(f'<option value="{path}">{words}</option>' for path, words in PLACES)
    return _page("/faults", f"{alarm}{_FORM.format(kinds=kinds, places=places)}<h2>Ждут</h2>{waiting}", counts)


def resource(found: Resource, counts: Mapping[str, int]) -> str:
    """Write one resource exactly as it is stored; its references can be followed."""
    name = f"{found['resourceType']}/{found['id']}"
    text = escape(json.dumps(_shortened(found), ensure_ascii=False, indent=2))
    text = _REFERENCE.sub(r'&quot;<a href="/resource/\1">\1</a>&quot;', text)
    return _page("", f'<h2 class="name">{escape(name)}</h2><pre>{text}</pre>', counts)


def body(line: RequestRow, sent: bytes, names: Mapping[str, str], counts: Mapping[str, int]) -> str:
    """Write one request with its body, indented if it is JSON."""
    text = sent.decode("utf-8", "replace")
    try:
        if line.status == 400:  # invalid JSON is shown as it is
            raise ValueError(text)
        text = json.dumps(_shortened(json.loads(text)), ensure_ascii=False, indent=2)
    except (ValueError, RecursionError):
        text = text[:_LONGEST]
    shown = f"<pre>{escape(text)}</pre>" if sent else '<p class="muted">Без тела.</p>'
    return _page("", f"<h2>Запрос {line.number}</h2>{_log(_row(line, names), '')}{shown}", counts)


def missing(what: str, counts: Mapping[str, int]) -> str:
    """Write that something is not there."""
    return _page("", f'<p class="alarm">{escape(what)}</p>', counts)


def _owners(results: Iterable[ResultView]) -> list[str]:
    return [result.owner for result in results]


def _order(order: OrderView, names: Mapping[str, str]) -> str:
    """Write one order with its answers."""
    urgent = '<span class="red">! срочно</span>' if order.urgent else ""
    owner = "выполняет сама" if order.owner == order.requester else f"кому: {names.get(order.owner, order.owner)}"
    head = (
        f'<header>{_status(order.status)}<b class="number">{escape(order.accession_number)}</b>'
        f"<span>заявка {escape(order.number)}</span>{urgent}<time>{_time(order.at)}</time></header>"
    )
    what = f'{escape(order.procedure)} <span class="muted">· {escape(owner)}</span>'
    text = f"<p><b>{escape(order.patient)}</b><br>{what}</p>"
    results = "".join(_result(result, names) for result in order.results)
    return f"<article>{head}{text}{_links(order.links)}{results}</article>"


def _result(result: ResultView, names: Mapping[str, str]) -> str:
    """Write one answer of an order."""
    owner = names.get(result.owner, result.owner)
    head = f"<header>{_status(result.status)}<span>{escape(owner)}</span><time>{_time(result.at)}</time></header>"
    return f'<div class="result">{head}{_write_result(result)}{_links(result.links)}</div>'


def _walk_in(result: ResultView) -> str:
    """Return the HTML of a walk-in study."""
    head = (
        f"<header>{_status(result.status)}<span>{escape(result.number)}</span>"
        f"<time>{_time(result.at)}</time></header><p><b>{escape(result.patient)}</b><br>{escape(result.procedure)}</p>"
    )
    return f"<article>{head}{_write_result(result)}{_links(result.links)}</article>"


def _write_result(result: ResultView) -> str:
    """Return the HTML of a result's texts and studies."""
    said = [*result.texts, *(("Исследование", uid) for uid in result.study_uids)]
    items = "".join(f"<dt>{escape(label)}</dt><dd>{escape(text)}</dd>" for label, text in said)
    return f"<dl>{items}</dl>" if items else ""


def _status(status: str) -> str:
    sign, word, colour = STATUSES.get(status, ("?", status, "slate"))
    return f'<span class="status {colour}">{sign} {escape(word)}</span>'


def _links(links: Iterable[str]) -> str:
    words = [(link, LINKS.get(link.partition("/")[0], link.partition("/")[0])) for link in links]
    listed = " ".join(f'<a href="/resource/{escape(to)}">{escape(word)}</a>' for to, word in words)
    return f'<nav class="links">{listed}</nav>'


def _row(line: RequestRow, names: Mapping[str, str]) -> str:
    """Write one line of the log."""
    colour = "slate" if line.status == 0 else "green" if line.status < 300 else "red"
    status = str(line.status) if line.status else "нет ответа"
    size = f"{line.body_size} Б" if line.body_size else ""
    return (
        f"<tr><td>{_time(line.at)}</td><td>{escape(names.get(line.organisation, line.organisation) or 'неизвестный')}"
        f'</td><td class="path"><a href="/request/{line.number}">{escape(f"{line.method} {line.path}")}</a></td>'
        f'<td class="{colour}">{status}</td><td class="long">{escape(line.reason)}</td><td>{size}</td></tr>'
    )


def _log(rows: str, empty: str) -> str:
    """Write a table around rows that are HTML already."""
    if not rows:
        return f'<p class="muted">{empty}</p>'
    head = "".join(f"<th>{column}</th>" for column in ("Время", "Кто", "Запрос", "Ответ", "Пояснение", "Тело"))
    return f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>'


def _value(fault: Fault) -> str:
    return f" ({escape(fault.value)})" if fault.value else ""


def _place(path: str | None) -> str:
    return escape(dict(PLACES).get(path or "", path or ""))


def _shortened(node: object) -> object:
    """Truncate long texts, with a remark."""
    if isinstance(node, dict):
        return {name: _shortened(value) for name, value in node.items()}
    if isinstance(node, list):
        return [_shortened(item) for item in node]
    if isinstance(node, str) and len(node) > _LONGEST:
        return f"{node[:200]}… (всего знаков: {len(node)})"
    return node


def _time(at: datetime) -> str:
    """Write an instant in the machine's own time."""
    return f"{at.astimezone():%d.%m.%Y %H:%M:%S}"


def _page(here: str, content: str, counts: Mapping[str, int], refresh: bool = False) -> str:
    """Write a page around its content; `counts` are the numbers beside the tabs."""
    tabs = ""
    for to, words in TABS:
        current = ' aria-current="page"' if to == here else ""
        count = f" <i>{counts[to]}</i>" if counts.get(to) else ""
        tabs += f'<a href="{to}"{current}>{words}{count}</a>'
    again = '<meta http-equiv="refresh" content="10">' if refresh else ""
    return _PAGE.format(style=STYLE, tabs=tabs, content=content, refresh=again)


_CLEAR = '<form method="post" action="/fault"><button name="clear" value="1">Снять все сбои</button></form>'
_FORM = """<h2>Показать сбой</h2>
<form method="post" action="/fault" class="fault">
<label>Какой<select name="kind">{kinds}</select></label>
<label>Где<select name="path">{places}</select></label>
<label>Сколько раз<input name="times" type="number" min="1" max="10000" value="1"></label>
<label>Секунд или адрес, если нужно<input name="value" maxlength="200" placeholder="как обычно"></label>
<button>Показать</button></form>
<p class="muted">Сбой увидят следующие запросы; потом всё снова как обычно.</p>"""
_PAGE = """<!DOCTYPE html>
<html lang="ru"><head><meta charset="utf-8"><title>Учебная шина</title>
<meta name="viewport" content="width=device-width, initial-scale=1"><link rel="icon" href="data:,">
{refresh}<style>{style}</style></head>
<body><h1>Учебная шина</h1><nav class="tabs">{tabs}</nav><main>{content}</main></body></html>
"""
