"""What was done to a patient already: studies that a new one would repeat, and the dose of a year. Pure.

The rule warns, it forbids nothing: whether a study is needed again is a doctor's decision. Where something is unknown
it rather warns once too often, and shows what was not known.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta

from broker.domain.reports import ExternalStudy

YEAR = timedelta(days=365)
# Projection radiography is one kind of study, whatever catches the image.
_RADIOGRAPHY = ("DX", "CR", "RG")
# What a report of the region's category «рентген» may be, where no ImagingStudy has the modality: it is read as RG.
_XRAYS = frozenset({*_RADIOGRAPHY, "MG", "RF", "XA", "IO", "PX"})
_IONISING = _XRAYS | {"CT", "NM", "PT"}
# FHIR DiagnosticReport.status: these words are the doctor's last so far; the others come before one.
_FINAL = frozenset({"final", "amended", "corrected", "appended"})
WITHDRAWN = frozenset({"cancelled", "entered-in-error"})


@dataclass(frozen=True, slots=True)
class OwnStudy:
    """A study that was done in this clinic; what is not known of it is empty."""

    order_id: int
    accession_number: str
    studied_on: date
    modality: str
    study_instance_uid: str = ""
    procedure_code: str = ""
    procedure_name: str = ""
    body_site: str = ""
    conclusion: str = ""  # of the newest signed report
    effective_dose: float | None = None  # mSv, of signed reports


@dataclass(frozen=True, slots=True)
class PriorStudy:
    """An earlier study that the planned one would repeat. `organisation` is empty where it was done here."""

    studied_on: date
    modality: str
    procedure_name: str = ""
    body_site: str = ""
    site_known: bool = True  # False: that the body site is the same is assumed
    conclusion: str = ""
    effective_dose: float | None = None  # mSv
    organisation: str = ""  # GUID
    accession_number: str = ""
    order_id: int | None = None  # of a study done here
    reference: str = ""  # of an external study


@dataclass(frozen=True, slots=True)
class DoseOfYear:
    """The effective dose of a patient's last twelve months: what was reported, and of how many studies nothing was."""

    millisieverts: float
    told: int
    unknown: int  # studies with ionising radiation whose dose is not known: the sum is at least so much


def is_final(study: ExternalStudy) -> bool:
    """Return True if a report has been finished by its doctor."""
    return study.status in _FINAL


def latest_reports(studies: Iterable[ExternalStudy]) -> list[ExternalStudy]:
    """Return one report for every study of every clinic: the finished one before the partial one; newest study first.

    A study is known by its Study Instance UID or accession number; one without either is identified by its
    reference. Of two of the same weight the later in `studies` counts.
    """
    chosen: dict[tuple[str, str], ExternalStudy] = {}
    for study in studies:
        key = (study.organisation.casefold(), _name(study))
        if key not in chosen or is_final(study) or not is_final(chosen[key]):
            chosen[key] = study
    return sorted(chosen.values(), key=lambda study: study.studied_on or date.min, reverse=True)


def repeated_studies(
    planned_modality: str,
    planned_body_site: str,
    on: date,
    own: Sequence[OwnStudy],
    external: Sequence[ExternalStudy],
    days: Mapping[str, int],
) -> list[PriorStudy]:
    """Return the earlier studies that one planned for `on` would repeat, newest first.

    `days` is the interval of each kind of study: "CT", or "DX/4" with the code of a body site; the more exact line
    decides, and 0 asks for no warning. Two known body sites must be the same. A body site that is unknown on either
    side counts as the same one, but only under the line of the modality alone: a line for a body site does not apply to
    a study whose body site is not known. The digital and the older kinds of radiography (DX, CR, RG) are one
    modality. An external X-ray of which only the category is known (RG) counts for every kind of X-ray.
    """
    found = [
        PriorStudy(
            studied_on=study.studied_on,
            modality=study.modality,
            procedure_name=study.procedure_name,
            body_site=study.body_site,
            site_known=bool(study.body_site and planned_body_site),
            conclusion=study.conclusion,
            effective_dose=study.effective_dose,
            organisation="" if isinstance(study, OwnStudy) else study.organisation,
            accession_number=study.accession_number,
            order_id=study.order_id if isinstance(study, OwnStudy) else None,
            reference="" if isinstance(study, OwnStudy) else study.reference,
        )
        for study in _together(own, external)
        if study.studied_on
        and _repeats(planned_modality, planned_body_site, on, study.modality, study.body_site, study.studied_on, days)
    ]
    return sorted(found, key=lambda each: each.studied_on, reverse=True)


def dose_of_year(on: date, own: Sequence[OwnStudy], external: Sequence[ExternalStudy]) -> DoseOfYear:
    """Sum the effective dose (mSv) of the twelve months up to `on`; a study of several reports counts once."""
    recent = [study for study in _together(own, external) if study.studied_on and on - YEAR <= study.studied_on <= on]
    doses = [study.effective_dose for study in recent if study.effective_dose is not None]
    unknown = [study for study in recent if study.effective_dose is None and study.modality in _IONISING]
    return DoseOfYear(round(sum(doses), 6), len(doses), len(unknown))


def _together(own: Sequence[OwnStudy], external: Iterable[ExternalStudy]) -> list[OwnStudy | ExternalStudy]:
    """Return our studies and the others', each once."""
    known = {study.study_instance_uid for study in own if study.study_instance_uid}
    return [*own, *_each_once(external, known)]


def _each_once(external: Iterable[ExternalStudy], own: set[str]) -> list[ExternalStudy]:
    """Return one report for every study that is not ours: of several clinics' reports one with a dose.

    Only a Study Instance UID makes two clinics' reports one study's: their accession numbers may coincide.
    """
    chosen: dict[tuple[str, str], ExternalStudy] = {}
    for study in latest_reports(external):
        name = ("" if study.study_instance_uid else study.organisation.casefold(), _name(study))
        if study.study_instance_uid in own:
            continue
        if name not in chosen or (chosen[name].effective_dose is None and study.effective_dose is not None):
            chosen[name] = study
    return list(chosen.values())


def _name(study: ExternalStudy) -> str:
    return study.study_instance_uid or (study.accession_number and f"#{study.accession_number}") or study.reference


def _repeats(
    planned: str, planned_site: str, on: date, modality: str, site: str, studied_on: date, days: Mapping[str, int]
) -> bool:
    if not _same_kind(planned, modality) or (site and planned_site and site != planned_site):
        return False
    exact = f"/{planned_site}" if site and planned_site else ""
    interval = _interval(planned, exact, days)
    return bool(interval) and 0 <= (on - studied_on).days <= interval


def _same_kind(planned: str, modality: str) -> bool:
    if planned in _RADIOGRAPHY and modality in _RADIOGRAPHY:
        return True
    return planned == modality or (modality == "RG" and planned in _XRAYS)


def _interval(planned: str, exact: str, days: Mapping[str, int]) -> int:
    """Return the days for a kind of study, the line for its body site first; 0 if there is none."""
    kinds = dict.fromkeys((planned, *(_RADIOGRAPHY if planned in _RADIOGRAPHY else ())))
    for ending in dict.fromkeys((exact, "")):
        for kind in kinds:
            if kind + ending in days:
                return days[kind + ending]
    return 0
