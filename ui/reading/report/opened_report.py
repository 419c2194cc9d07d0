"""A report or document that a device has sent, opened in a window of its own: its words, and its file as it came.

The words are drawn as plain text, never as the markup that came.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import quote

from fastapi import FastAPI, Request
from fastapi.responses import Response
from markupsafe import Markup
from nicegui import ui

from broker.domain.actors import Actor
from broker.domain.patients import names
from broker.domain.studies.received import ReceivedKind
from broker.domain.studies.received_text import OpenedObject, ReportPart, Standing, TextLine
from broker.security import permissions
from broker.security.permissions import Permission
from broker.store.database import Reader
from broker.store.queries.studies import received
from broker.store.queries.studies.received import ObjectToOpen
from broker.workflow.reading import received_texts
from broker.workflow.reading.reports import ReportText
from ui.layout import plain_page
from ui.layout.frame import frame
from ui.live import attempt, current_actor, read_as_viewer
from ui.services import Services
from ui.text import errors, links, words
from ui.text import received as said
from ui.widgets import html, theme
from ui.widgets.theme import text

_XML = "application/xml"


@dataclass(frozen=True, slots=True)
class _Opened:
    """An object with what it says; `why_not`: why this person is not shown it."""

    found: ObjectToOpen
    content: OpenedObject | None
    why_not: str = ""


def build(services: Services) -> None:
    """Add the route /received/{id}."""

    @ui.page("/received/{id}", title="Отчёт аппарата")
    async def opened(id: int) -> None:
        actor = current_actor(services)
        with frame(services, actor, ""):
            each = await read_as_viewer(services, lambda reader: _read(reader, services, id, actor))
            if each is None:
                theme.empty("Такого отчёта нет.", "Его могли снять с исследования: смотрите «Расхождения с архивом».")
            elif each.content is None:
                theme.empty("Отчёт пока не открыть.", each.why_not)
            else:
                _Page(services, actor, each.found, each.content)


def build_files(app: FastAPI, services: Services) -> None:
    """Add the route /received/{id}/file."""

    @app.get("/received/{id}/file", include_in_schema=False)
    def file(request: Request, id: int) -> Response:
        actor: Actor = request.state.actor
        if not permissions.may(actor, Permission.VIEW):
            return plain_page.notice("Нет прав", errors.ERRORS["forbidden"], 403)
        with services.store.read() as reader:
            each = _read(reader, services, id, actor)
        if each is None:
            return plain_page.notice("Документа нет", "Его могли снять с исследования.", 404)
        if each.content is None:
            return plain_page.notice("Документ пока не открыть", each.why_not, 403)
        if each.content.file is None:
            return plain_page.notice("Файла нет", "В отчёте только слова.", 404)
        sent = each.content.file
        # A browser would run what stands in an XML; it shows a PDF in a viewer of its own.
        way, ending = ("attachment", "xml") if sent.media_type == _XML else ("inline", "pdf")
        name = quote(f"{each.found.order.accession_number}-{id}.{ending}", safe="")
        headers = {"Content-Disposition": f"{way}; filename*=UTF-8''{name}"}
        return Response(sent.content, media_type=sent.media_type, headers=headers)


def _read(reader: Reader, services: Services, id: int, actor: Actor) -> _Opened | None:
    found = received.to_open(reader, id) if 0 < id < 1 << 63 else None
    if found is None:
        return None
    if found.is_hidden:
        return _Opened(found, None, said.HIDDEN)
    content = services.open_received(reader, found.stored)
    if content.text.standing is Standing.DRAFT and not permissions.may(actor, Permission.REPORT):
        return _Opened(found, None, "Он не завершён или не подтверждён: черновики видят только врачи.")
    return _Opened(found, content)


class _Page:
    """One opened report."""

    def __init__(self, services: Services, actor: Actor, found: ObjectToOpen, content: OpenedObject) -> None:
        self._services, self._found, self._content = services, found, content
        stored, order, today = found.stored, found.order, services.today()
        with ui.element("div").classes("page-head card-head"):
            with ui.element("h1"):
                theme.patient_line(str(order.patient.name), order.patient.born, today)
            ui.element("div").classes("spring")
            for label, act in self._acts(actor):
                if isinstance(act, str):
                    ui.link(label, act, new_tab=True).classes("btn")
                else:
                    theme.button(label, act, kind="primary")
            ui.link("Карточка", links.card(order.accession_number)).classes("btn")
        at = words.moment(stored.received_at, services.clinic.zone, today)
        with ui.element("section").classes("section").style("padding: 0 24px"):
            text("h2", content.text.title or said.KINDS[stored.received.kind])
            with ui.element("div").classes("row-line").style("margin: 4px 0 8px"):
                text("span", order.accession_number, "mono muted")
                if stored.received.kind is not ReceivedKind.DOSE:
                    theme.state_chip(*said.STANDINGS[content.text.standing])
            facts = [
                ("Исследование", words.procedure(order)),
                ("Прислал", f"аппарат {stored.received.ae_title}, {at}"),
                ("Подтвердил", "; ".join(content.text.authors)),
            ]
            theme.facts(facts)
            if any(each in found.others for each in content.text.predecessors):
                text("p", "Заменяет или дополняет отчёт этого исследования, присланный раньше.", "muted small")
            for remark in self._remarks():
                text("p", remark, "attention-reason")
            # One element of the page: a dose report of a long intervention has thousands of lines.
            theme.html_element("div", html.join(*map(_drawn, content.text.lines))).style("margin-top: 12px")

    def _acts(self, actor: Actor) -> list[tuple[str, str | Callable[[], object]]]:
        found: list[tuple[str, str | Callable[[], object]]] = []
        lines = self._content.text.lines
        if (
            permissions.may(actor, Permission.REPORT)
            and not self._found.is_reported
            and self._found.stored.received.kind is not ReceivedKind.DOSE
            and any(each.part for each in lines)
            and not self._content.text.is_cut  # half a report is none
        ):
            found.append(("Взять текст в протокол", self._take_over))
        if self._content.file:
            label = "Скачать XML" if self._content.file.media_type == _XML else "Открыть PDF"
            found.append((label, said.file_address(self._found.stored.id)))
        return found

    def _remarks(self) -> list[str]:
        content, remarks = self._content.text, []
        if content.unread and not content.lines:
            remarks.append("Прочитать его не удалось. Как он пришёл, он сохранён.")
        elif content.unread:
            count = words.plural(content.unread, "строку", "строки", "строк")
            remarks.append(f"Не удалось прочитать {count}.")
        if content.is_cut:
            remarks.append("Отчёт длиннее, чем показано.")
        return remarks

    async def _take_over(self) -> None:
        services, stored, content = self._services, self._found.stored, self._content.text
        received_at = stored.received_at.astimezone(services.clinic.zone)
        source = ", ".join(
            (f"Из отчёта аппарата {stored.received.ae_title} от {received_at:%d.%m.%Y %H:%M}", *content.authors)
        )
        taken = ReportText(
            description=f"{source}:\n{content.of_part(ReportPart.DESCRIPTION)}".strip(),
            conclusion=content.of_part(ReportPart.CONCLUSION),
            recommendations=content.of_part(ReportPart.RECOMMENDATIONS),
        )
        actor = current_actor(services)
        if await attempt(
            lambda: services.store.write(received_texts.take_over, stored.id, taken, actor, services.clinic)
        ):
            ui.navigate.to(links.reading(self._found.order.accession_number))


def _drawn(line: TextLine) -> Markup:
    indent = f"margin-left: {16 * min(line.level, 8)}px"
    if line.is_heading:
        return html.tag("h3", "muted small", names.cut(line.text, 400), style=indent)
    return html.tag("p", "written", line.text, style=indent)
