"""The open case of a reading session as HTML: who, why, what was found before. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime

from markupsafe import Markup

from broker.domain.patients import names
from broker.domain.patients.people import Sex
from broker.domain.reading.opinions import Read
from ui.reading.session.cases import SessionCase
from ui.text import reading, words
from ui.widgets import html, theme
from ui.widgets.html import tag

MOST_EARLIER = 5  # earlier studies that fit without scrolling
_SEXES = {Sex.MALE: "мужчина", Sex.FEMALE: "женщина", Sex.OTHER: "пол не указан"}
LONGEST = 110  # characters of an earlier conclusion


def write(case: SessionCase, clinics: Mapping[str, str], now: datetime, waits: str, *, taken: str = "") -> Markup:
    """Return the case as HTML; `now` is local, `taken` the reader whose words the third one has taken over."""
    order, today = case.opened.order, now.date()
    patient = order.patient
    who = f"{theme.born_and_age(patient.born, today)}, {_SEXES[patient.sex]}, карта {patient.patient_id}"
    study = html.join(
        tag("b", "", words.procedure(order)),
        tag("span", "muted", f"{_when(case, today)}, {order.accession_number}"),
        tag("span", "nowrap", html.icon("schedule"), f"ждёт {waits}"),
        theme.state_chip_html("attention", "Срочно") if order.priority == "urgent" else "",
    )
    parts = [
        tag("h2", "case-who", str(patient.name)),
        tag("p", "case-what", who),
        tag("p", "case-study", study),
        _story(order.comment),
        _both(case, taken) if case.opened.arbitrates else "",
        _facts(case),
        _earlier(case, clinics),
    ]
    return html.join(*parts)


def _when(case: SessionCase, today: date) -> str:
    starts = [step.start for step in case.study.card.performed if step.start]
    return f"{words.day(starts[0].date(), today)}, {starts[0]:%H:%M}" if starts else "время неизвестно"


def _story(comment: str) -> Markup:
    shown = comment or "В направлении ничего не сказано."
    return tag("div", "anamnesis", tag("p", "label", "Анамнез"), tag("p", "words" if comment else "words muted", shown))


def _facts(case: SessionCase) -> Markup:
    order = case.opened.order
    images = case.opened.images.count
    pairs = [
        ("Диагноз", order.diagnosis),
        ("Направил", order.referring_doctor),
        ("Аллергия", order.patient.allergies),
        ("Снимки", words.plural(images, "снимок", "снимка", "снимков") if images else "число неизвестно"),
    ]
    shown = [tag("div", "", tag("dt", "", name), tag("dd", "", value)) for name, value in pairs if value]
    return tag("dl", "line-facts", *shown)


def _both(case: SessionCase, taken: str) -> Markup:
    """Return what the two readers have found, for the third."""
    articles = [_one(read, arrow, taken) for read, arrow in zip(case.opened.case.standing, "←→", strict=False)]
    return tag("div", "two-reads", *articles)


def _one(read: Read, arrow: str, taken: str) -> Markup:
    opinion = read.opinion
    state = opinion.finding.value if opinion else "unknown"
    head = html.join(tag("kbd", "", arrow), tag("h3", "", names.short(read.reader_name)))
    return tag(
        "article",
        "taken" if taken == read.reader else "",
        tag("div", "head", head),
        tag("p", "opinion-word", theme.state_chip_html(state, reading.said(opinion).capitalize())),
        tag("p", "", read.description),
        tag("p", "", tag("b", "", read.conclusion)),
        tag("p", "muted small", read.recommendations),
    )


def _earlier(case: SessionCase, clinics: Mapping[str, str]) -> Markup:
    found = [(each.studied_on, each.procedure_name, each.conclusion, "у нас") for each in case.earlier]
    found += [
        (
            each.studied_on or date.min,
            each.procedure_name or words.MODALITIES.get(each.modality, each.modality),
            each.conclusion,
            clinics.get(each.organisation, "другая клиника"),
        )
        for each in case.external
    ]
    found.sort(key=lambda line: line[0], reverse=True)
    lines = [
        tag(
            "li",
            "",
            tag("time", "", f"{on:%d.%m.%Y}" if on > date.min else "дата неизвестна"),
            tag("span", "", names.cut(what, 60)),
            tag("span", "result", names.cut(result, LONGEST) or "заключения нет"),
            tag("span", "muted small", where),
        )
        for on, what, result, where in found[:MOST_EARLIER]
    ]
    more = len(found) - MOST_EARLIER
    rest = tag("p", "muted small", f"И ещё {words.plural(more, 'исследование', 'исследования', 'исследований')}")
    nothing = tag("p", "muted", "Ни у нас, ни по шине ничего не найдено.")
    head = tag("div", "head", tag("h2", "", "Раньше"))
    return tag("div", "priors", head, tag("ol", "", *lines) if lines else nothing, rest if more > 0 else "")
