"""«Лист учёта доз»: all studies of a patient with their doses, here and in other clinics; a page that prints itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, tzinfo

from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse, Response
from markupsafe import Markup

from broker.documents import report_pdf
from broker.domain.studies import prior_studies
from broker.domain.studies.dose import StudyDose
from broker.domain.studies.prior_studies import DoseOfYear
from broker.security import permissions
from broker.security.permissions import Permission
from broker.store.queries import patient_cards
from broker.store.queries.patient_cards import PatientCard
from broker.store.queries.studies import received
from ui.layout import plain_page
from ui.patients.study_rows import rows
from ui.services import Services
from ui.text import errors, words
from ui.text import patient_cards as card_words
from ui.text import received as said
from ui.widgets import html
from ui.widgets.html import tag

_STYLE = """<style>
@page { size: A4; margin: 18mm 15mm; }
body { background: #fff; color: #000; font-family: var(--font); }
.doses { max-width: 180mm; margin: 24px auto; font-size: 10.5pt; line-height: 14pt; }
.doses h1 { font-size: 14pt; line-height: 18pt; margin: 0 0 4pt; } .doses p { margin: 0 0 8pt; }
.doses table { width: 100%; border-collapse: collapse; } .doses th { text-align: left; font-weight: 600; }
.doses th, .doses td { border-bottom: .5pt solid #888; padding: 3pt 6pt 3pt 0; vertical-align: top; }
.doses .r { text-align: right; white-space: nowrap; } .doses .sum { font-weight: 600; margin-top: 8pt; }
@media print { .doses { margin: 0; } }
</style>"""


_HEADS = (
    ("№", "r"),
    ("Дата", ""),
    ("Вид исследования", ""),
    ("Где", ""),
    ("Доза по аппарату", "r"),
    ("Эффективная доза, мЗв", "r"),
    ("Примечание", ""),
)


@dataclass(frozen=True, slots=True)
class Sheet:
    """A patient's dose sheet in words."""

    title: str
    about: str
    rows: tuple[tuple[str, ...], ...]  # as `_HEADS`
    sums: tuple[str, ...]
    clinic: str
    at: datetime  # local, naive


def build(app: FastAPI, services: Services) -> None:
    """Add the routes /doses/{card} and /doses/{card}.pdf."""

    @app.get("/doses/{card}.pdf", include_in_schema=False)
    def printed(request: Request, card: str) -> Response:
        sheet = read(request, card)
        return Response(pdf(sheet), media_type="application/pdf") if isinstance(sheet, Sheet) else sheet

    @app.get("/doses/{card}", include_in_schema=False)
    def doses(request: Request, card: str) -> Response:
        sheet = read(request, card)
        if not isinstance(sheet, Sheet):
            return sheet
        return plain_page.plain_page("Лист учёта доз", draw(sheet), extra_head=_STYLE, attributes=" data-print")

    def read(request: Request, card: str) -> Sheet | HTMLResponse:
        if not permissions.may(request.state.actor, Permission.VIEW):
            return plain_page.notice("Нет прав", errors.ERRORS["forbidden"], 403)
        with services.store.read() as reader:
            found = patient_cards.read(reader, card_words.number(card))
            measured = received.doses(reader, [visit.order.id for visit in found.visits]) if found else {}
        if found is None:
            return plain_page.notice("Нет такой карты", "Проверьте номер.", 404)
        return content(found, services.now(), services.clinic.zone, services.settings.clinic_name, measured)


def content(
    found: PatientCard, now: datetime, zone: tzinfo, clinic: str, measured: Mapping[str, StudyDose] | None = None
) -> Sheet:
    """Return a patient's sheet: every study with its dose, oldest first, and sums; `now` is local, naive.

    `measured` is what devices have reported of doses: accession number -> dose.
    """
    stated = {number: said.short(each) for number, each in (measured or {}).items()}
    prophylactic = {study.accession_number for study in found.own if study.prophylactic}
    clinics = {guid: words.clinic(name, guid) for guid, name in found.organisations.items()}
    listed = tuple(
        (
            str(place),
            f"{row.on:%d.%m.%Y}" if row.on else row.when,
            row.what,
            row.where,
            stated.get(row.number, ""),
            row.dose,
            "профилактическое" if row.number in prophylactic else "",
        )
        for place, row in enumerate(reversed(rows(found, clinics, now, zone)), 1)
    )
    year = prior_studies.dose_of_year(now.date(), found.own, found.external.studies)
    less = "не меньше " if year.unknown else ""
    total = f"За 12 месяцев: {less}{report_pdf.dose(year.millisieverts)}" if year.known else "За 12 месяцев доз нет"
    unknown = words.plural(year.unknown, "исследования", "исследований", "исследований")
    remark = f"; у {unknown} доза неизвестна" if year.unknown else ""
    preventive = _prophylactic(prior_studies.prophylactic_of_year(now.date(), found.own))
    patient = found.patient
    return Sheet(
        title=f"Лист учёта доз: {patient.name}",
        about=f"{words.born(patient.birth_date)}, карта {patient.patient_id}",
        rows=listed,
        sums=(f"{total}{remark}.", *([preventive] if preventive else [])),
        clinic=clinic,
        at=now,
    )


def draw(sheet: Sheet) -> str:
    """Return a sheet as HTML."""
    cells = [tag("th", classes, word, scope="col") for word, classes in _HEADS]
    listed = [
        tag("tr", "", *(tag("td", classes, text) for text, (_, classes) in zip(row, _HEADS, strict=True)))
        for row in sheet.rows
    ]
    table = tag("table", "", tag("thead", "", tag("tr", "", *cells)), tag("tbody", "", *listed))
    body = html.join(
        tag("h1", "", sheet.title),
        tag("p", "", sheet.about),
        table if listed else Markup("<p>Исследований ещё не было</p>"),
        *(tag("p", "sum", each) for each in sheet.sums),
        tag("p", "", f"{sheet.clinic}, {sheet.at:%d.%m.%Y}".strip(", ")),
    )
    return str(tag("main", "doses", body))


def pdf(sheet: Sheet) -> bytes:
    """Return a sheet as PDF."""
    table = [[word for word, _ in _HEADS], *sheet.rows]
    return report_pdf.dose_sheet_pdf(sheet.title, sheet.about, table, sheet.sums, sheet.clinic, sheet.at)


def _prophylactic(year: DoseOfYear) -> str:
    """Return the year's sum of prophylactic studies beside its limit; empty if there was none."""
    if not year.known and not year.unknown:
        return ""
    if not year.known:
        return "Из них профилактические: доза неизвестна (предел 1 мЗв в год)."
    less, sum_ = "не меньше " if year.unknown else "", year.millisieverts
    over = ", превышен" if sum_ > prior_studies.PROPHYLACTIC_LIMIT else ""
    return f"Из них профилактические: {less}{report_pdf.dose(sum_)} (предел 1 мЗв в год{over})."
