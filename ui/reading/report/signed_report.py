"""A signed report: on the card, on the doctor's page, and as a PDF to print."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, tzinfo

from fastapi import FastAPI, Request
from fastapi.responses import Response
from nicegui import ui

from broker.documents import report_pdf
from broker.domain.patients import names
from broker.domain.patients.people import NO_NAME
from broker.domain.reading.opinions import Read
from broker.domain.reading.reports import Report, ReportChange, ReportState
from broker.security import permissions
from broker.security.permissions import Permission
from broker.store.queries import order_card
from ui.layout import plain_page
from ui.reading.report import form_fields
from ui.services import Services
from ui.text import errors, links, reading, words
from ui.widgets import theme
from ui.widgets.theme import text


def build(app: FastAPI, services: Services) -> None:
    """Add the route /report/{accession_number}.pdf."""

    @app.get("/report/{accession_number:path}.pdf", include_in_schema=False)
    def printed(request: Request, accession_number: str) -> Response:
        if not permissions.may(request.state.actor, Permission.VIEW):
            return plain_page.notice("Нет прав", errors.ERRORS["forbidden"], 403)
        with services.store.read() as reader:
            signed = order_card.report_by_number(reader, accession_number)
        if signed is None:
            return plain_page.notice("Протокола нет", "Он появится здесь, когда врач его подпишет.", 404)
        clinic = services.settings
        content = report_pdf.report_pdf(signed, clinic.clinic_name, services.clinic.zone, clinic.clinic_address)
        name = "".join(char for char in accession_number if char.isascii() and (char.isalnum() or char in "-_"))
        return Response(
            content,
            media_type="application/pdf",
            headers={"Content-Disposition": f'inline; filename="{name}.pdf"'},
        )


def draw(report: Report, zone: tzinfo, today: date, *, number: str, brief: bool = False) -> None:
    """Draw a signed report, or who is writing one; `brief` folds the description."""
    if report.state is ReportState.DRAFT:
        at = words.moment(report.saved_at, zone, today) if report.saved_at else ""
        text("p", f"Черновик: {names.short(report.author_name)}, {at}", "muted")
        return
    if report.is_withdrawn:
        text("p", f"Протокол отозван: {report.reason}", "attention-reason")
    elif report.change is ReportChange.CORRECTION:
        text("p", f"Исправлено: {report.reason}", "attention-reason")
    if report.description and not brief:
        text("h3", "Описание", "muted small")
        text("p", report.description, "written")
    if report.conclusion:
        text("h3", "Заключение", "muted small")
        text("p", report.conclusion, "written concluded")
    if report.description and brief:
        with ui.element("details"):
            text("summary", "Описание")
            text("p", report.description, "written")
    if report.recommendations:
        text("h3", "Рекомендации", "muted small")
        text("p", report.recommendations, "written")
    form_fields.draw(report.form)
    if report.effective_dose is not None:
        text("p", f"Эффективная доза {report_pdf.dose(report.effective_dose)}", "small")
    at = words.moment(report.signed_at, zone, today) if report.signed_at else ""
    who = ", ".join(part for part in (str(report.author_name), report.author_position) if part)
    with ui.element("div").classes("row-line signed"):
        if report.is_withdrawn:
            theme.state_chip("attention", "Отозвано")
        else:
            theme.state_chip("reported", f"Подписано, версия {report.version}" if report.change else "Подписано")
        text("span", f"{at}, {who}", "muted small")
        ui.element("div").classes("spring")
        link(number)


def draw_earlier(earlier: Sequence[Report], zone: tzinfo, today: date) -> None:
    """Draw the versions that a newer one has replaced, folded, the newest first."""
    for report in earlier:
        at = words.moment(report.signed_at, zone, today) if report.signed_at else ""
        with ui.element("details"):
            text("summary", f"Версия {report.version}: {at}, {names.short(report.author_name)}")
            for part in (report.description, report.conclusion, report.recommendations):
                if part:
                    text("p", part, "written small muted")


def draw_reads(reads: Sequence[Read], zone: tzinfo, today: date) -> None:
    """Draw what each reader found, folded; for doctors only."""
    if not reads:
        return
    for read in reads:
        if read.decided_with != NO_NAME:
            text("p", f"Решили вместе: {read.reader_name} и {read.decided_with}", "small")
    with ui.element("details"):
        text("summary", f"Чтения: {len(reads)}")
        for read in reads:
            at = words.moment(read.given_at, zone, today) if read.given_at else ""
            with ui.element("div").classes("row-line"):
                if read.opinion:
                    theme.state_chip(read.opinion.finding.value, reading.said(read.opinion).capitalize())
                who = names.short(read.reader_name)
                if read.decided_with != NO_NAME:
                    who = f"{who} и {names.short(read.decided_with)} решили вместе"
                text("span", f"{who}, {at}", "muted small")
            for part in (read.description, read.conclusion, read.recommendations):
                if part:
                    text("p", part, "written small muted")


def link(number: str) -> None:
    """Draw the link to the printed report."""
    with ui.link("", links.report(number), new_tab=True).classes("btn btn-small"):
        ui.icon("print")
        text("span", "Печать / PDF")
