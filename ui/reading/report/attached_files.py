"""Files attached to a signed report: the list, the form that attaches some, and the files as they came."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, tzinfo
from urllib.parse import quote

from fastapi import FastAPI, Request
from fastapi.responses import RedirectResponse, Response
from nicegui import ui
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import FormData, UploadFile

from broker.domain.actors import Actor
from broker.domain.errors import BrokerError, Invalid
from broker.domain.reading.attachments import Attachment, AttachmentKind, UploadedFile
from broker.security import permissions
from broker.security.permissions import Permission
from broker.store.database import StoreError
from broker.store.queries import order_card
from broker.workflow.reading import attachments
from ui.layout import plain_page
from ui.services import Services
from ui.text import errors, links, words
from ui.widgets.theme import text

TITLE = "Приложено к протоколу"
_PROBLEMS = {
    ("document", "required"): "Выберите PDF или XML.",
    ("document", "too_long"): "Документ больше 10 МБ.",
    ("document", "unreadable"): "Это не PDF и не XML.",
    ("signatures", "too_long"): "Файл подписи больше 1 МБ.",
    ("signatures", "too_many"): "Файлов слишком много.",
    ("signatures", "unreadable"): "Файл подписи должен быть .sig, .p7s или .sgn, с подписью внутри.",
}


def build(app: FastAPI, services: Services) -> None:
    """Add the routes /attach/{accession_number} and /attachment/{id}."""

    @app.post("/attach/{accession_number:path}", include_in_schema=False)
    async def attach(request: Request, accession_number: str) -> Response:
        actor: Actor = request.state.actor
        if not permissions.may(actor, Permission.REPORT):
            return plain_page.notice("Нет прав", errors.ERRORS["forbidden"], 403)
        async with request.form(max_files=attachments.MOST_SIGNATURES + 1, max_fields=4) as form:
            document = await _files(form, "document")
            signatures = await _files(form, "signatures")
            version = str(form.get("version", ""))
        refusal = await run_in_threadpool(_attach, services, actor, accession_number, version, document, signatures)
        if refusal:
            return plain_page.notice("Файл не приложен", refusal, 422)
        return RedirectResponse(links.reading(accession_number), 303)

    @app.get("/attachment/{id}", include_in_schema=False)
    def attached(request: Request, id: int) -> Response:
        if not permissions.may(request.state.actor, Permission.VIEW):
            return plain_page.notice("Нет прав", errors.ERRORS["forbidden"], 403)
        with services.store.read() as reader:
            found = order_card.attachment(reader, id)
        if found is None:
            return plain_page.notice("Файла нет", "Проверьте адрес.", 404)
        each, content = found
        is_pdf = each.kind is AttachmentKind.PDF
        way, media = ("inline", "application/pdf") if is_pdf else ("attachment", "application/octet-stream")
        headers = {"Content-Disposition": f"{way}; filename*=UTF-8''{quote(each.name, safe='')}"}
        return Response(content, media_type=media, headers=headers)


async def _files(form: FormData, name: str) -> list[UploadedFile]:
    chosen = [each for each in form.getlist(name) if isinstance(each, UploadFile)]
    return [UploadedFile(each.filename, await each.read()) for each in chosen if each.filename]


def _attach(
    services: Services,
    actor: Actor,
    accession_number: str,
    version: str,
    document: Sequence[UploadedFile],
    signatures: Sequence[UploadedFile],
) -> str:
    """Attach the files; return why not, in words, or nothing."""
    with services.store.read() as reader:
        order = order_card.order(reader, accession_number)
    if order is None or not version.isdecimal() or len(version) > 9:
        return "Такого протокола нет."
    chosen = document[0] if document else UploadedFile("", b"")
    try:
        files = attachments.examine(chosen, signatures)
        services.store.write(attachments.attach, order.id, int(version), files, actor)
    except Invalid as caught:
        return " ".join(_PROBLEMS[each] for each in caught.problems.items() if each in _PROBLEMS)
    except (BrokerError, StoreError) as caught:
        return errors.error(caught)
    return ""


def draw(found: Sequence[Attachment], zone: tzinfo, today: date) -> None:
    """Draw what is attached, each version of the report by itself; nothing where nothing is."""
    if not found:
        return
    text("h3", TITLE, "muted small")
    with ui.element("ul").classes("facts-list"):
        for each in found:
            with text("li", ""):
                ui.link(each.name, f"/attachment/{each.id}", new_tab=each.kind is AttachmentKind.PDF)
                what = "подпись" if each.signs else f"к версии {each.version}"
                at = words.moment(each.attached_at, zone, today)
                parts = f", {what}, {_size(each.size)}, {each.attached_by_title or each.attached_by}, {at}"
                text("span", parts, "muted small").props(f'title="SHA-256 {each.digest}"')


def draw_form(accession_number: str, version: int) -> None:
    """Draw the form that attaches files to a version; a form of HTML, so that files do not pass the page's messages."""
    with ui.element("details").style("margin-bottom: 12px"):
        text("summary", "Приложить подписанный файл")
        about = "PDF или XML из вашей программы подписи и отдельные файлы подписи к нему. Подпись здесь не проверяется."
        text("p", about, "muted small")
        address = f"/attach/{quote(accession_number, safe='')}"
        with ui.element("form").props(f'method=post enctype=multipart/form-data action="{address}"'):
            ui.element("input").props(f"type=hidden name=version value={version}")
            with ui.element("label").classes("row-line"):
                text("span", "Документ")
                ui.element("input").props('type=file name=document accept=".pdf,.xml" required')
            with ui.element("label").classes("row-line").style("margin: 8px 0"):
                text("span", "Подписи")
                ui.element("input").props('type=file name=signatures accept=".sig,.p7s,.sgn" multiple')
            with ui.element("button").classes("btn btn-small").props("type=submit"):
                text("span", "Приложить")


def _size(size: int) -> str:
    return f"{size} байт" if size < 1024 else f"{size // 1024} КБ"
