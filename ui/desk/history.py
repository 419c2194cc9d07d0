"""A patient's earlier studies, here and in other clinics, as the desk shows them: with their age and the year's dose.

It reads what is stored and requests nothing; "unknown" is never shown as "none".
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

from nicegui import ui

from broker.documents import report_pdf
from broker.domain import names, prior_studies
from broker.domain.orders import OrderState
from broker.domain.people import Patient
from broker.domain.prior_studies import DoseOfYear, OwnStudy, PriorStudy
from broker.domain.reports import ExternalStudy
from broker.store.database import Reader
from broker.store.queries import directory_search, patient_history, schedule
from broker.store.queries.patient_history import ExternalHistory
from broker.store.queries.schedule import Visit
from ui.services import Services
from ui.text import words
from ui.widgets import theme
from ui.widgets.memo import Memo
from ui.widgets.theme import text

LONGEST = 110  # characters of a conclusion that the list shows; the rest is one click away
SHOWN = 7  # lines before «ещё»
OURS = 12  # visits in this clinic that are read
JUST_NOW = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class PatientHistory:
    """What is stored about a patient's studies."""

    patient: Patient
    visits: tuple[Visit, ...]  # planned or made here, newest first
    own: tuple[OwnStudy, ...]
    told: ExternalHistory
    clinics: dict[str, str]  # GUID -> name


@dataclass(frozen=True, slots=True)
class HistoryLine:
    """A study in the list; `number` opens one of this clinic, `reference` one of another."""

    on: date | None
    what: str
    more: str
    conclusion: str = ""
    number: str = ""
    reference: str = ""


def read(reader: Reader, patient: Patient) -> PatientHistory:
    """Return what is stored about a patient's studies."""
    told = patient_history.external(reader, patient.id)
    guids = {study.organisation for study in told.studies if study.organisation}
    return PatientHistory(
        patient=patient,
        visits=tuple(schedule.history(reader, patient.id, OURS)),
        own=tuple(patient_history.own(reader, patient.id)),
        told=told,
        clinics={guid: words.clinic(directory_search.organisation_name(reader, guid), guid) for guid in guids},
    )


def lines(known: PatientHistory) -> list[HistoryLine]:
    """Return the studies of this and other clinics, newest first; an own study that the bus returns is listed once."""
    done = {study.order_id: study for study in known.own}
    ours = {study.study_instance_uid for study in known.own if study.study_instance_uid}
    found = [_own(visit, done.get(visit.order.id)) for visit in known.visits]
    found += [
        _foreign(study, known.clinics)
        for study in known.told.studies
        if not (study.study_instance_uid and study.study_instance_uid in ours)
    ]
    return sorted(found, key=lambda line: line.on or date.min, reverse=True)


def age(known: PatientHistory | None, asks: bool, now: datetime, services: Services) -> str:
    """Return how old the other clinics' part is; empty if no region is asked. `now` is UTC."""
    if not asks or known is None:
        return ""
    told, patient = known.told, known.patient
    if not (patient.snils or patient.policy):
        return "Без СНИЛС и полиса регион спросить нельзя"
    today = services.today()
    if told.failed_at:
        if told.answered_at is None:
            return "Регион не отвечает, сведений из других клиник нет"
        return f"Регион не отвечает, сведения от {words.of_moment(told.answered_at, services.clinic.zone, today)}"
    if told.answered_at is None:
        return "Спрашиваем регион…"
    ago = now - told.answered_at
    return "По данным региона, " + (f"{words.ago(ago)} назад" if ago >= JUST_NOW else "только что")


def dose(known: PatientHistory, today: date) -> str:
    """Return the effective dose of the last twelve months; empty if none is known."""
    year: DoseOfYear = prior_studies.dose_of_year(today, known.own, known.told.studies)
    if not year.told:
        return ""
    count = words.plural(year.told, "исследование", "исследования", "исследований")
    rest = f"; ещё у {year.unknown} доза неизвестна" if year.unknown else ""
    return f"Доза за год: {report_pdf.dose(year.millisieverts)} ({count}{rest})"


class HistorySection:
    """The section «Уже делали», and the dialog with the whole report of another clinic."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._known: PatientHistory | None = None
        with theme.section("Уже делали"):
            self._list = Memo(ui.element("div"))
            self._foot = Memo(ui.element("div").classes("foot"))
        with ui.element("dialog").classes("wide").props("id=past aria-labelledby=past-title"):
            self._title = text("h2", "").props("id=past-title")
            self._body = ui.element("div").classes("scrolled")
            with ui.element("div").classes("acts").style("margin-top: 16px"):
                theme.button("Закрыть").props("data-closes autofocus")

    def show(self, known: PatientHistory | None, somebody: bool, typed_number: bool) -> None:
        """Show a patient's history."""
        self._known = known
        services = self._services
        asks = services.request_history is not None
        told = age(known, asks, services.store.clock().astimezone(UTC), services)
        if known is None and asks and typed_number:
            told = "Новый пациент: регион спросим, когда запишете"
        year = dose(known, services.today()) if known else ""
        found = lines(known) if known else []
        somebody = somebody or known is not None
        self._list.show((somebody, found), lambda: self._draw(found, somebody))
        self._foot.show((year, told), lambda: self._draw_foot(year, told))

    def open(self, reference: str) -> None:
        """Fill the dialog, which the browser has just opened, with the report that `reference` names."""
        known = self._known
        study = next((each for each in known.told.studies if each.reference == reference), None) if known else None
        if known is None or study is None:
            return
        self._title.set_text(_what(study) + (f", {study.studied_on:%d.%m.%Y}" if study.studied_on else ""))
        self._body.clear()
        with self._body:
            told = report_pdf.dose(study.effective_dose) if study.effective_dose is not None else ""
            pairs = [("Где", known.clinics.get(study.organisation, "")), ("Врач", study.doctor), ("Доза", told)]
            theme.facts([pair for pair in [*pairs, ("Номер", study.accession_number)] if pair[1]])
            for heading, said in (
                ("Описание", study.description),
                ("Заключение", study.conclusion),
                ("Рекомендации", study.recommendations),
            ):
                if said:
                    text("h3", heading, "muted small").style("margin-top: 12px")
                    text("p", said, "written")
            if not (study.description or study.conclusion):
                text("p", "Текста протокола клиника не передала.", "muted").style("margin-top: 12px")
            if not prior_studies.is_final(study):
                text("p", "Протокол ещё не окончательный.", "muted")

    @staticmethod
    def _draw_foot(*sentences: str) -> None:
        for sentence in sentences:
            if sentence:
                bad = sentence.startswith("Регион не отвечает")
                text("p", sentence, "small bad" if bad else "small muted").props("role=status")

    def _draw(self, found: list[HistoryLine], somebody: bool) -> None:
        if not found:
            text("p", "У нас ничего" if somebody else "Выберите пациента", "muted")
            return
        with ui.element("ol").classes("past"):
            for line in found[:SHOWN]:
                self._draw_line(line)
        if len(found) > SHOWN:
            with ui.element("details"):
                text("summary", f"ещё {len(found) - SHOWN}")
                with ui.element("ol").classes("past"):
                    for line in found[SHOWN:]:
                        self._draw_line(line)

    def _draw_line(self, line: HistoryLine) -> None:
        what = f"{line.on:%d.%m.%Y}  {line.what}" if line.on else f"Дата неизвестна  {line.what}"
        with ui.element("li"):
            if line.number:
                with ui.link("", f"/order/{line.number}").classes("quiet"):
                    text("span", what)
            else:
                opener = ui.element("button").classes("quiet").props("type=button data-opens=past")
                with opener.on("click", lambda: self.open(line.reference)):
                    text("span", what)
            text("div", line.more, "muted small")
            if line.conclusion:
                cut = names.cut(line.conclusion, LONGEST)
                text("div", cut if cut == line.conclusion else f"{cut}…", "small")


def place(earlier: PriorStudy, clinics: dict[str, str]) -> str:
    """Return where an earlier study was done, as it stands in a sentence."""
    return clinics.get(earlier.organisation, "в другой клинике") if earlier.reference else "у нас"


def _own(visit: Visit, done: OwnStudy | None) -> HistoryLine:
    order = visit.order
    dose = report_pdf.dose(done.effective_dose) if done and done.effective_dose is not None else ""
    state = theme.STATES[words.standing(visit)][1].lower()
    made = order.state in (OrderState.COMPLETED, OrderState.IN_PROGRESS)
    where = "в другую клинику" if order.owner and not made else "у нас" if not order.owner else "в другой клинике"
    return HistoryLine(
        on=done.studied_on if done else visit.start.date(),
        what=words.procedure(order),
        more=" · ".join(part for part in (where, state, dose) if part),
        conclusion=done.conclusion if done else "",
        number=order.accession_number,
    )


def _foreign(study: ExternalStudy, clinics: dict[str, str]) -> HistoryLine:
    dose = report_pdf.dose(study.effective_dose) if study.effective_dose is not None else ""
    return HistoryLine(
        on=study.studied_on,
        what=_what(study),
        more=" · ".join(part for part in (clinics.get(study.organisation, "клиника не названа"), dose) if part),
        conclusion=study.conclusion,
        reference=study.reference,
    )


def _what(study: ExternalStudy) -> str:
    return study.procedure_name or words.MODALITIES.get(study.modality, study.modality) or "Исследование"
