"""The facts of a study for its report: patient, reason, series and doses, prior studies."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime, tzinfo

from nicegui import ui

from broker.domain.orders import Order, Priority
from broker.domain.patients import identifiers, names
from broker.domain.patients.people import Patient
from broker.domain.reading.reports import Report
from broker.domain.studies.performed import PerformedSeries, PerformedState, PerformedStep, StepSource
from broker.store.database import Reader
from broker.store.queries import device_registry
from broker.store.queries.order_card import Card
from broker.store.queries.reading.reading_list import StudyToRead
from broker.store.queries.schedule import Visit
from ui.reading.report import device_reports, dose
from ui.text import archive, links, visit_states, words
from ui.text.referral_fields import SEXES
from ui.widgets import theme
from ui.widgets.theme import text

LONGEST = 160  # characters of an earlier conclusion that the list shows
_TROUBLE = ("attention", "imageless")  # states that are shown beside a report, too


def places(reader: Reader) -> dict[str, str]:
    """Return the name and room of each device: AE title -> «Рентген, каб. 14»."""
    return {device.ae_title: words.device_place(device) for device in device_registry.approved(reader)}


def states(study: StudyToRead, now: datetime, zone: tzinfo) -> dict[int, tuple[str, str]]:
    """Return the states of the study and of the earlier ones as `visit_states.state` does, by order id."""
    card, lacks = study.card, study.lacks
    own = {card.order.id: visit_states.state(card.visit, card.lack, now, zone)}
    return own | {
        visit.order.id: visit_states.state(visit, lacks.get(visit.order.id), now, zone) for visit, _ in study.earlier
    }


def draw(
    study: StudyToRead,
    states: Mapping[int, tuple[str, str]],
    device_places: Mapping[str, str],
    today: date,
    zone: tzinfo,
) -> None:
    """Draw the facts as sections, the reason for the study first."""
    order = study.card.order
    with ui.element("section").classes("section"):
        text("h2", words.procedure(order))
        with ui.element("div").classes("row-line").style("margin: 4px 0 8px"):
            text("span", order.accession_number, "mono muted")
            theme.state_chip(*states[order.id])
            if order.priority is Priority.URGENT:
                theme.state_chip("attention", "Срочно")
        theme.facts(_why(order))
    for step in study.card.performed:
        with theme.section("Сделано", "отмечено вручную" if step.source is not StepSource.MODALITY else ""):
            _draw_step(study, step, device_places)
    device_reports.draw_dose(study.received, study.effective_dose)
    device_reports.draw_objects(study.received, zone, today)
    with theme.section("Раньше у нас"), ui.element("ol").classes("past"):
        if not study.earlier:
            text("li", "Ничего", "muted")
        for visit, report in study.earlier:
            with ui.element("li"):
                _draw_earlier(visit, states[visit.order.id], report, today)


def confirmed(card: Card, device_places: Mapping[str, str]) -> str:
    """Return the images that a doctor confirms a report about, each study in words."""
    parts = []
    for step in card.performed:
        at = f"{step.start:%d.%m.%Y %H:%M}" if step.start else ""
        count = words.plural(step.images, "снимок", "снимка", "снимков") if step.images else "число снимков неизвестно"
        where = device_places.get(step.ae_title, step.ae_title)
        parts.append(", ".join(part for part in (where, at, count) if part))
    held = archive.held(card.holding.exists, card.holding.images) if card.holding else ""
    return f"Вы подтверждаете его об этих снимках: {'; '.join(parts)}." + (f" В архиве {held}." if held else "")


def _why(order: Order) -> list[tuple[str, str]]:
    pairs = [("Диагноз", order.diagnosis), ("Направил", order.referring_doctor), *_patient(order.patient)]
    return [*pairs, ("Комментарий", order.comment)] if order.comment else pairs


def _patient(patient: Patient) -> list[tuple[str, str]]:
    rare = [
        ("СНИЛС", identifiers.show_snils(patient.snils)),
        ("Аллергия", patient.allergies),
        ("Беременность", patient.pregnancy),
        ("Вес", f"{patient.weight:g} кг".replace(".", ",") if patient.weight else ""),
        ("Рост", f"{patient.height:g} см".replace(".", ",") if patient.height else ""),
    ]
    return [("Пол", SEXES[patient.sex]), ("Карта", patient.patient_id), *(pair for pair in rare if pair[1])]


def _draw_step(study: StudyToRead, step: PerformedStep, device_places: Mapping[str, str]) -> None:
    times = [f"{moment:%H:%M}" for moment in (step.start, step.end) if moment]
    on = f"{step.start:%d.%m.%Y}, " if step.start else ""
    facts = [
        ("Где", device_places.get(step.ae_title, step.ae_title)),
        ("Когда", on + "–".join(dict.fromkeys(times))),
        ("Лаборант", str(names.from_dicom(step.operator))),
        ("Снимков", str(step.images) if step.images else ""),
        *dose.facts(study.doses.get(step.stored_id, [])),
    ]
    if step.state is PerformedState.DISCONTINUED:
        facts.append(("Прервано", words.discontinuation(step)))
    elif step.state is PerformedState.IN_PROGRESS:
        facts.append(("Состояние", "ещё выполняется"))
    theme.facts([pair for pair in facts if pair[1]])
    if step.sop_instance_uid in study.card.conflicts:
        reported = names.cut(str(names.from_dicom(step.patient_name)), 64) or "без имени"
        with text(
            "p",
            f"На аппарате названо: «{reported}». Пока не подтвердят, чьи снимки, подписать нельзя. ",
            "attention-reason",
        ):
            ui.link("Решить в карточке", links.card(study.card.order.accession_number))
    series = study.series.get(step.stored_id, [])
    if series:
        with ui.element("details"):
            text("summary", f"Серии: {len(series)}")
            with ui.element("ul").classes("facts-list"):
                for each in series:
                    text("li", _series(each))


def _series(each: PerformedSeries) -> str:
    name = each.description or each.protocol or "без названия"
    images = words.plural(each.images, "снимок", "снимка", "снимков") if each.images else ""
    return ", ".join(part for part in (name, images) if part)


def _draw_earlier(visit: Visit, state: tuple[str, str], report: Report | None, today: date) -> None:
    order = visit.order
    with ui.element("div").classes("row-line"):
        with ui.link("", links.card(order.accession_number)).classes("quiet"):
            text("span", f"{words.day(visit.start.date(), today)}, {words.procedure(order)}")
        if report is None or state[0] in _TROUBLE:
            theme.state_chip(*state)
    if report is None:
        return
    if report.is_withdrawn:
        text("p", f"Протокол отозван: {report.reason}", "small")
        return
    cut = names.cut(report.conclusion, LONGEST)
    text("p", report.conclusion if cut == report.conclusion else f"{cut}…", "written small")
    if report.description or cut != report.conclusion or report.recommendations:
        with ui.element("details"):
            text("summary", "Протокол целиком")
            for part in (report.description, report.conclusion, report.recommendations):
                if part:
                    text("p", part, "written small")
