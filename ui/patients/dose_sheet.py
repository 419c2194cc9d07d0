"""«Лист учёта доз»: all studies of a patient with their doses, here and in other clinics; a page that prints itself."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, tzinfo

from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse
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


def build(app: FastAPI, services: Services) -> None:
    """Add the route /doses/{card}."""

    @app.get("/doses/{card}", include_in_schema=False)
    def doses(request: Request, card: str) -> HTMLResponse:
        if not permissions.may(request.state.actor, Permission.VIEW):
            return plain_page.notice("Нет прав", errors.ERRORS["forbidden"], 403)
        with services.store.read() as reader:
            found = patient_cards.read(reader, card_words.number(card))
            measured = received.doses(reader, [visit.order.id for visit in found.visits]) if found else {}
        if found is None:
            return plain_page.notice("Нет такой карты", "Проверьте номер.", 404)
        content = draw(found, services.now(), services.clinic.zone, services.settings.clinic_name, measured)
        return plain_page.plain_page(
            f"Лист учёта доз {found.patient.patient_id}", content, extra_head=_STYLE, attributes=" data-print"
        )


def draw(
    found: PatientCard, now: datetime, zone: tzinfo, clinic: str, measured: Mapping[str, StudyDose] | None = None
) -> str:
    """Return the sheet as HTML: who, every study with its dose, the sum of twelve months; `now` is local, naive.

    `measured` is what devices have reported of doses: accession number -> dose.
    """
    stated = {number: said.short(each) for number, each in (measured or {}).items()}
    today = now.date()
    patient = found.patient
    prophylactic = {study.accession_number for study in found.own if study.prophylactic}
    clinics = {guid: words.clinic(name, guid) for guid, name in found.organisations.items()}
    listed = [
        tag(
            "tr",
            "",
            tag("td", "r", str(place)),
            tag("td", "", f"{row.on:%d.%m.%Y}" if row.on else row.when),
            tag("td", "", row.what),
            tag("td", "", row.where),
            tag("td", "r", stated.get(row.number, "")),
            tag("td", "r", row.dose),
            tag("td", "", "профилактическое" if row.number in prophylactic else ""),
        )
        for place, row in enumerate(reversed(rows(found, clinics, now, zone)), 1)
    ]
    heads = (
        ("№", "r"),
        ("Дата", ""),
        ("Вид исследования", ""),
        ("Где", ""),
        ("Доза по аппарату", "r"),
        ("Эффективная доза, мЗв", "r"),
        ("Примечание", ""),
    )
    head = tag("thead", "", tag("tr", "", *(tag("th", classes, word, scope="col") for word, classes in heads)))
    year = prior_studies.dose_of_year(today, found.own, found.external.studies)
    less = "не меньше " if year.unknown else ""
    total = f"За 12 месяцев: {less}{report_pdf.dose(year.millisieverts)}" if year.known else "За 12 месяцев доз нет"
    unknown = words.plural(year.unknown, "исследования", "исследований", "исследований")
    remark = f"; у {unknown} доза неизвестна" if year.unknown else ""
    preventive = _prophylactic(prior_studies.prophylactic_of_year(today, found.own))
    body = html.join(
        tag("h1", "", f"Лист учёта доз: {patient.name}"),
        tag("p", "", f"{words.born(patient.birth_date)}, карта {patient.patient_id}"),
        tag("table", "", head, tag("tbody", "", *listed)) if listed else Markup("<p>Исследований ещё не было</p>"),
        tag("p", "sum", f"{total}{remark}."),
        *([tag("p", "sum", preventive)] if preventive else []),
        tag("p", "", f"{clinic}, {today:%d.%m.%Y}".strip(", ")),
    )
    return str(tag("main", "doses", body))


def _prophylactic(year: DoseOfYear) -> str:
    """Return the year's sum of prophylactic studies beside its limit; empty if there was none."""
    if not year.known and not year.unknown:
        return ""
    if not year.known:
        return "Из них профилактические: доза неизвестна (предел 1 мЗв в год)."
    less, sum_ = "не меньше " if year.unknown else "", year.millisieverts
    over = ", превышен" if sum_ > prior_studies.PROPHYLACTIC_LIMIT else ""
    return f"Из них профилактические: {less}{report_pdf.dose(sum_)} (предел 1 мЗв в год{over})."
