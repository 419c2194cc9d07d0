"""A patient's earlier studies, here and in other clinics, as the desk shows them: with their age and the year's dose.

It reads what is stored and requests nothing; "unknown" is never shown as "none".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta, tzinfo

from nicegui import ui

from broker.documents import report_pdf
from broker.domain.orders import OrderState
from broker.domain.patients import names
from broker.domain.patients.people import Patient
from broker.domain.reading.reports import ExternalStudy
from broker.domain.studies import prior_studies
from broker.domain.studies.prior_studies import DoseOfYear, OwnStudy, PriorStudy
from broker.store.database import Reader
from broker.store.queries import directory_search, schedule
from broker.store.queries.patients import patient_history
from broker.store.queries.patients.patient_history import ExternalHistory
from broker.store.queries.schedule import Visit
from broker.store.queries.studies import archive_gaps
from broker.store.queries.studies.archive_gaps import ImagesDue, Lack
from ui.services import Services
from ui.text import archive, links, visit_states, words
from ui.widgets import external_report, theme
from ui.widgets.memo import Memo
from ui.widgets.theme import text

LONGEST = 110  # characters of a conclusion that the list shows
MAX_LINES = 7  # lines before «ещё»
MAX_OWN = 12  # visits in this clinic that are read
JUST_NOW = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class PatientHistory:
    """What is stored about a patient's studies."""

    patient: Patient
    visits: tuple[Visit, ...]  # planned or made here, newest first
    own: tuple[OwnStudy, ...]
    external: ExternalHistory
    clinics: dict[str, str]  # GUID -> name
    lacks: Mapping[int, Lack] = field(default_factory=dict)  # by order id
    prophylactic: frozenset[str] = frozenset()  # codes of procedures


@dataclass(frozen=True, slots=True)
class HistoryLine:
    """A study in the list; `number` opens one of this clinic, `reference` one of another."""

    on: date | None
    what: str
    more: str
    conclusion: str = ""
    number: str = ""
    reference: str = ""


def read(reader: Reader, patient: Patient, images_due: ImagesDue | None = None) -> PatientHistory:
    """Return what is stored about a patient's studies; `images_due` is that of `archive_gaps.lacks`."""
    visits = tuple(schedule.history(reader, patient.stored_id, MAX_OWN))
    own = tuple(patient_history.own(reader, patient.stored_id))
    external = patient_history.external(reader, patient.stored_id)
    guids = {study.organisation for study in external.studies if study.organisation}
    return PatientHistory(
        patient=patient,
        visits=visits,
        own=own,
        external=external,
        clinics={guid: words.clinic(directory_search.organisation_name(reader, guid), guid) for guid in guids},
        lacks=archive_gaps.lacks(reader, images_due, [visit.order.id for visit in visits]),
        prophylactic=patient_history.prophylactic_procedures(reader),
    )


def lines(earlier: PatientHistory, now: datetime, zone: tzinfo) -> list[HistoryLine]:
    """Return the studies of this and other clinics, newest first; an own study that the bus returns is listed once.

    `now` is local clinic time, naive.
    """
    states = own_states(earlier, now, zone)
    done = {study.order_id: study for study in earlier.own}
    ours = {study.study_instance_uid for study in earlier.own if study.study_instance_uid}
    found = [_own(visit, states[visit.order.id], done.get(visit.order.id)) for visit in earlier.visits]
    found += [
        _external(study, earlier.clinics)
        for study in earlier.external.studies
        if not (study.study_instance_uid and study.study_instance_uid in ours)
    ]
    return sorted(found, key=lambda line: line.on or date.min, reverse=True)


def own_states(earlier: PatientHistory, now: datetime, zone: tzinfo) -> dict[int, str]:
    """Return the states of this clinic's studies in words, by order id; `now` is local clinic time, naive."""
    found = {}
    for visit in earlier.visits:
        key, word = visit_states.state(visit, earlier.lacks.get(visit.order.id), now, zone)
        found[visit.order.id] = archive.lowered(word or theme.STATES[key][1])
    return found


_FIELDS = {"snils": "СНИЛС", "policy": "полис", "given": "имя", "birth_date": "дата рождения", "sex": "пол"}


def age(earlier: PatientHistory | None, asks_region: bool, now: datetime, services: Services) -> str:
    """Return how old the external part is; empty if the region is not asked. `now` is UTC."""
    if not asks_region or earlier is None:
        return ""
    external, patient = earlier.external, earlier.patient
    if not (patient.snils or patient.policy):
        return "Без СНИЛС и полиса регион спросить нельзя"
    today = services.today()
    if external.reason.startswith("the bus has other data under this number"):
        fields = [_FIELDS[each] for each in _FIELDS if each in external.reason]
        return f"В регионе под этим номером другие данные ({', '.join(fields)}): проверьте номер"
    if external.failed_at:
        if external.answered_at is None:
            return "Регион не отвечает, сведений из других клиник нет"
        return f"Регион не отвечает, сведения от {words.of_moment(external.answered_at, services.clinic.zone, today)}"
    if external.answered_at is None:
        return "Спрашиваем регион…"
    ago = now - external.answered_at
    return "По данным региона, " + (f"{words.ago(ago)} назад" if ago >= JUST_NOW else "только что")


def dose(earlier: PatientHistory, today: date) -> str:
    """Return the effective dose of the last twelve months; empty if none is known."""
    year: DoseOfYear = prior_studies.dose_of_year(today, earlier.own, earlier.external.studies)
    if not year.known:
        return ""
    count = words.plural(year.known, "исследование", "исследования", "исследований")
    rest = f"; ещё у {year.unknown} доза неизвестна" if year.unknown else ""
    return f"Доза за год: {report_pdf.dose(year.millisieverts)} ({count}{rest})"


def prophylactic(earlier: PatientHistory, procedure_code: str, on: date) -> str:
    """Return that one more study of a prophylactic procedure exceeds the year's limit; empty if it does not."""
    if procedure_code not in earlier.prophylactic:
        return ""
    limit, before = prior_studies.PROPHYLACTIC_LIMIT, prior_studies.prophylactic_of_year(on, earlier.own)
    known = f"{'не меньше ' if before.unknown else ''}{report_pdf.dose(before.millisieverts)}"
    if before.millisieverts >= limit:
        return f"Профилактическая доза за год уже {known}, предел 1 мЗв."
    after = prior_studies.prophylactic_after(procedure_code, on, earlier.own)
    if after > limit:
        return f"Профилактическая доза за год превысит 1 мЗв: было {known}, станет около {report_pdf.dose(after)}."
    return ""


class HistorySection:
    """The section «Уже делали», and the dialog with the whole report of another clinic."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._earlier: PatientHistory | None = None
        with theme.section("Уже делали"):
            self._list = Memo(ui.element("div"))
            self._foot = Memo(ui.element("div").classes("foot"))
        with ui.element("dialog").classes("wide").props("id=past aria-labelledby=past-title"):
            self._title = text("h2", "").props("id=past-title")
            self._body = ui.element("div").classes("scrolled")
            with ui.element("div").classes("acts").style("margin-top: 16px"):
                theme.button("Закрыть").props("data-closes autofocus")

    def show(self, earlier: PatientHistory | None, patient_given: bool, typed_number: bool) -> None:
        """Show a patient's history."""
        self._earlier = earlier
        services = self._services
        asks_region = services.request_history is not None
        freshness = age(earlier, asks_region, services.store.clock().astimezone(UTC), services)
        if earlier is None and asks_region and typed_number:
            freshness = "Новый пациент: регион спросим, когда запишете"
        year = dose(earlier, services.today()) if earlier else ""
        found = lines(earlier, services.now(), services.clinic.zone) if earlier else []
        patient_given = patient_given or earlier is not None
        self._list.show((patient_given, found), lambda: self._draw(found, patient_given))
        self._foot.show((year, freshness), lambda: self._draw_foot(year, freshness))

    def open(self, reference: str) -> None:
        """Fill the dialog, which the browser has just opened, with the report that `reference` names."""
        earlier = self._earlier
        study = (
            next((each for each in earlier.external.studies if each.reference == reference), None) if earlier else None
        )
        if earlier is None or study is None:
            return
        self._title.set_text(external_report.title(study))
        self._body.clear()
        with self._body:
            external_report.draw(study, earlier.clinics)

    @staticmethod
    def _draw_foot(*sentences: str) -> None:
        for sentence in sentences:
            if sentence:
                bad = sentence.startswith("Регион не отвечает")
                text("p", sentence, "small bad" if bad else "small muted").props("role=status")

    def _draw(self, found: list[HistoryLine], patient_given: bool) -> None:
        if not found:
            text("p", "У нас ничего" if patient_given else "Выберите пациента", "muted")
            return
        with ui.element("ol").classes("past"):
            for line in found[:MAX_LINES]:
                self._draw_line(line)
        if len(found) > MAX_LINES:
            with ui.element("details"):
                text("summary", f"ещё {len(found) - MAX_LINES}")
                with ui.element("ol").classes("past"):
                    for line in found[MAX_LINES:]:
                        self._draw_line(line)

    def _draw_line(self, line: HistoryLine) -> None:
        what = f"{line.on:%d.%m.%Y}  {line.what}" if line.on else f"Дата неизвестна  {line.what}"
        with ui.element("li"):
            if line.number:
                with ui.link("", links.card(line.number)).classes("quiet"):
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
    """Return where an earlier study was done, for a sentence."""
    return clinics.get(earlier.organisation, "в другой клинике") if earlier.reference else "у нас"


def _own(visit: Visit, state: str, done: OwnStudy | None) -> HistoryLine:
    order = visit.order
    dose = report_pdf.dose(done.effective_dose) if done and done.effective_dose is not None else ""
    made = order.state in (OrderState.COMPLETED, OrderState.IN_PROGRESS)
    where = "в другую клинику" if order.owner and not made else "у нас" if not order.owner else "в другой клинике"
    return HistoryLine(
        on=done.studied_on if done else visit.start.date(),
        what=words.procedure(order),
        more=" · ".join(part for part in (where, state, dose) if part),
        conclusion=done.conclusion if done else "",
        number=order.accession_number,
    )


def _external(study: ExternalStudy, clinics: dict[str, str]) -> HistoryLine:
    dose = external_report.reported_dose(study)
    return HistoryLine(
        on=study.studied_on,
        what=external_report.what(study),
        more=" · ".join(part for part in (clinics.get(study.organisation, "клиника не названа"), dose) if part),
        conclusion=study.conclusion,
        reference=study.reference,
    )
