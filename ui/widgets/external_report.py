"""A report of another clinic, as the desk, the patient's page and the card of our referral show it."""

from __future__ import annotations

from collections.abc import Mapping

from broker.documents import report_pdf
from broker.domain.reading.reports import ExternalStudy
from broker.domain.studies import prior_studies
from ui.text import received, words
from ui.widgets import theme
from ui.widgets.theme import text


def title(study: ExternalStudy) -> str:
    """Return what another clinic did, and when."""
    return what(study) + (f", {study.studied_on:%d.%m.%Y}" if study.studied_on else "")


def draw(study: ExternalStudy, clinics: Mapping[str, str]) -> None:
    """Draw the whole report of another clinic; `clinics` are GUID -> name."""
    pairs = [("Где", clinics.get(study.organisation, "")), ("Врач", study.doctor), ("Доза", reported_dose(study))]
    theme.facts([pair for pair in [*pairs, ("Номер", study.accession_number)] if pair[1]])
    for heading, paragraph in (
        ("Описание", study.description),
        ("Заключение", study.conclusion),
        ("Рекомендации", study.recommendations),
    ):
        if paragraph:
            text("h3", heading, "muted small").style("margin-top: 12px")
            text("p", paragraph, "written")
    if prior_studies.is_withdrawn(study):
        text("p", "Клиника отозвала этот протокол.", "attention-reason").style("margin-top: 12px")
        return
    if not (study.description or study.conclusion):
        text("p", "Текста протокола клиника не передала.", "muted").style("margin-top: 12px")
    if not prior_studies.is_final(study):
        text("p", "Протокол ещё не окончательный.", "muted")


def what(study: ExternalStudy) -> str:
    """Return the name of an external study, or its modality."""
    return study.procedure_name or words.MODALITIES.get(study.modality, study.modality) or "Исследование"


def reported_dose(study: ExternalStudy) -> str:
    """Return the dose that another clinic reported; one that is none in mSv for certain as it was reported."""
    if study.effective_dose is not None or study.unconverted_dose is None:
        return report_pdf.dose(study.effective_dose)
    return (
        f"{report_pdf.dose(study.unconverted_dose).removesuffix(' мЗв')} {study.unconverted_unit or received.NO_UNIT}"
    )
