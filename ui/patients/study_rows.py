"""The table of a patient's studies: ours and those of other clinics, each once, the newest first."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, tzinfo

from broker.documents import report_pdf
from broker.domain.orders import OrderState
from broker.domain.reading.reports import ExternalStudy
from broker.store.queries.patient_cards import PatientCard
from ui.text import visit_states, words
from ui.widgets import external_report

_DONE = (OrderState.IN_PROGRESS, OrderState.COMPLETED, OrderState.DISCONTINUED)


@dataclass(frozen=True, slots=True)
class StudyRow:
    """A study in words. `number` opens one of this clinic, `study` is another clinic's; `state` is "" for those."""

    on: date | None
    when: str
    what: str
    where: str
    conclusion: str
    dose: str  # without the unit
    state: str = ""
    word: str = ""  # of the state, where it is not the state's own
    lacking: tuple[str, ...] = ()  # the filters of `visit_states.LACKING` that show it
    number: str = ""
    study: ExternalStudy | None = None


def rows(found: PatientCard, clinics: Mapping[str, str], now: datetime, zone: tzinfo) -> list[StudyRow]:
    """Return what was done or begun; what is still planned stands under «Впереди». `clinics` are GUID -> name.

    `now` is local clinic time, naive.
    """
    today = now.date()
    done = {study.order_id: study for study in found.own}
    ours = {study.study_instance_uid for study in found.own if study.study_instance_uid}
    made = []
    for visit in found.visits:
        order = visit.order
        if order.state not in _DONE:
            continue
        study = done.get(order.id)
        on = study.studied_on if study else visit.start.date()
        state, word = visit_states.state(visit, found.lacks.get(order.id), now, zone)
        made.append(
            StudyRow(
                on=on,
                when=_when(on, today),
                what=words.procedure(order),
                where="у нас" if not order.owner else "в другой клинике",
                conclusion=study.conclusion if study else "",
                dose=_dose(study.effective_dose if study else None),
                state=state,
                word=word,
                lacking=tuple(lacking for lacking, shows in visit_states.LACKING.items() if shows(visit)),
                number=order.accession_number,
            )
        )
    made += [
        StudyRow(
            on=study.studied_on,
            when=_when(study.studied_on, today),
            what=external_report.what(study),
            where=clinics.get(study.organisation, "клиника не названа"),
            conclusion=study.conclusion,
            dose=_dose(study.effective_dose)
            if study.unconverted_dose is None
            else external_report.reported_dose(study),
            study=study,
        )
        for study in found.external.studies
        if not (study.study_instance_uid and study.study_instance_uid in ours)
    ]
    return sorted(made, key=lambda row: row.on or date.min, reverse=True)


def _when(on: date | None, today: date) -> str:
    return words.day(on, today) if on else "неизвестно"


def _dose(millisieverts: float | None) -> str:
    return report_pdf.dose(millisieverts).removesuffix(" мЗв") or "нет"
