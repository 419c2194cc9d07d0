"""Earlier studies that a planned one would repeat, and the dose of a year. Pure.

The result is a warning: whether a study is needed again is a doctor's decision. Unknown body sites and modalities count
as the same, and the warning says so.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta

from broker.domain.reading.reports import ExternalStudy

YEAR = timedelta(days=365)
PROPHYLACTIC_LIMIT = 1.0  # mSv a year of prophylactic studies; diagnostic ones have none
# All modalities of projection radiography are one kind of study.
_RADIOGRAPHY = ("DX", "CR", "RG")
# What an external study of modality RG may be: RG is read from the category «рентген» if no ImagingStudy has a
# modality.
_XRAYS = frozenset({*_RADIOGRAPHY, "MG", "RF", "XA", "IO", "PX"})
_IONISING = _XRAYS | {"CT", "NM", "PT"}
# FHIR DiagnosticReport.status of reports that a doctor has finished.
_FINAL = frozenset({"final", "amended", "corrected", "appended"})
WITHDRAWN = frozenset({"cancelled", "entered-in-error"})


@dataclass(frozen=True, slots=True)
class OwnStudy:
    """A study that was performed in this clinic; unknown fields are empty."""

    order_id: int
    accession_number: str
    studied_on: date
    modality: str
    study_instance_uid: str = ""
    procedure_code: str = ""
    procedure_name: str = ""
    body_site: str = ""
    conclusion: str = ""  # of the newest signed report
    effective_dose: float | None = None  # mSv, of signed reports, else as it was calculated
    prophylactic: bool = False  # a study of the healthy, as the administrator says of its procedure


@dataclass(frozen=True, slots=True)
class PriorStudy:
    """An earlier study that the planned one would repeat. `organisation` is empty if it was performed here."""

    studied_on: date
    modality: str
    procedure_name: str = ""
    body_site: str = ""
    site_known: bool = True  # False: one body site is unknown, and assumed to be the same
    conclusion: str = ""
    effective_dose: float | None = None  # mSv
    organisation: str = ""  # GUID
    accession_number: str = ""
    order_id: int | None = None  # of our own study
    reference: str = ""  # of an external study


@dataclass(frozen=True, slots=True)
class DoseOfYear:
    """The effective dose of a patient's last twelve months, and the numbers of studies of known and unknown dose."""

    millisieverts: float
    known: int
    unknown: int  # studies with ionising radiation whose dose is not known: the sum is at least so much


def is_withdrawn(study: ExternalStudy) -> bool:
    """Return True if the clinic has taken its report back."""
    return study.status in WITHDRAWN


def is_final(study: ExternalStudy) -> bool:
    """Return True if a report has been finished by its doctor."""
    return study.status in _FINAL


def latest_reports(studies: Iterable[ExternalStudy]) -> list[ExternalStudy]:
    """Return one report for every study of every clinic: a final one before a partial one; newest study first.

    A study is known by its Study Instance UID or accession number; one without either is identified by its
    reference. Of two equal ones the later in `studies` counts.
    """
    chosen: dict[tuple[str, str], ExternalStudy] = {}
    for study in studies:
        key = (study.organisation.casefold(), _study_key(study))
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

    `days` is the interval of each kind of study: "CT", or "DX/4" with the code of a body site; the more exact key
    decides, and 0 means no warning. Two known body sites must be the same. A body site that is unknown on either side
    counts as the same one, but only for the key without a body site. The digital and the older kinds of radiography
    (DX, CR, RG) are one modality. An external study of modality RG counts as every kind of X-ray.
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
        for study in _all_studies(own, external)
        if study.studied_on
        and _repeats(planned_modality, planned_body_site, on, study.modality, study.body_site, study.studied_on, days)
    ]
    return sorted(found, key=lambda each: each.studied_on, reverse=True)


def repeats_until(modality: str, body_site: str, studied_on: date, days: Mapping[str, int]) -> date | None:
    """Return the last day on which the same study again would repeat this one, by `days` as in `repeated_studies`.

    None if no interval is set for it.
    """
    interval = _interval(modality, f"/{body_site}" if body_site else "", days)
    return studied_on + timedelta(days=interval) if interval else None


def dose_by_modality(on: date, own: Sequence[OwnStudy], external: Sequence[ExternalStudy]) -> list[tuple[str, float]]:
    """Return the modalities and effective doses (mSv) of the sum of `dose_of_year`, the largest dose first."""
    found: dict[str, float] = {}
    for study in _all_studies(own, external):
        if study.studied_on and on - YEAR <= study.studied_on <= on and study.effective_dose is not None:
            found[study.modality] = found.get(study.modality, 0.0) + study.effective_dose
    return sorted(found.items(), key=lambda pair: -pair[1])


def dose_of_year(on: date, own: Sequence[OwnStudy], external: Sequence[ExternalStudy]) -> DoseOfYear:
    """Sum the effective dose (mSv) of the twelve months up to `on`; a study of several reports counts once."""
    recent = [
        study for study in _all_studies(own, external) if study.studied_on and on - YEAR <= study.studied_on <= on
    ]
    doses = [study.effective_dose for study in recent if study.effective_dose is not None]
    unknown = [study for study in recent if study.effective_dose is None and study.modality in _IONISING]
    return DoseOfYear(round(sum(doses), 6), len(doses), len(unknown))


def prophylactic_of_year(on: date, own: Sequence[OwnStudy]) -> DoseOfYear:
    """Return the sum of the year for prophylactic studies only; which those of other clinics are is not known."""
    return dose_of_year(on, [study for study in own if study.prophylactic], ())


def prophylactic_after(procedure_code: str, on: date, own: Sequence[OwnStudy]) -> float:
    """Return the year's prophylactic dose (mSv) after one more study of a procedure, as large as its last known one.

    A first one, or one whose dose is not known, adds nothing: no dose is invented.
    """
    same = [each for each in own if each.procedure_code == procedure_code and each.effective_dose is not None]
    last = max(same, key=lambda each: each.studied_on, default=None)
    more = (last.effective_dose or 0.0) if last else 0.0
    return round(prophylactic_of_year(on, own).millisieverts + more, 6)


def _all_studies(own: Sequence[OwnStudy], external: Iterable[ExternalStudy]) -> list[OwnStudy | ExternalStudy]:
    """Return our own and external studies, each once."""
    known = {study.study_instance_uid for study in own if study.study_instance_uid}
    return [*own, *_one_report_per_study(external, known)]


def _one_report_per_study(external: Iterable[ExternalStudy], own: set[str]) -> list[ExternalStudy]:
    """Return one report for every external study, preferably one with a dose.

    Reports of different clinics are on one study only if they have the same Study Instance UID: accession numbers of
    different clinics may be equal.
    """
    chosen: dict[tuple[str, str], ExternalStudy] = {}
    for study in latest_reports(external):
        key = ("" if study.study_instance_uid else study.organisation.casefold(), _study_key(study))
        if study.study_instance_uid in own:
            continue
        if key not in chosen or (chosen[key].effective_dose is None and study.effective_dose is not None):
            chosen[key] = study
    return list(chosen.values())


def _study_key(study: ExternalStudy) -> str:
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
    """Return the interval in days for a kind of study, by the key with a body site first; 0 if there is none."""
    kinds = dict.fromkeys((planned, *(_RADIOGRAPHY if planned in _RADIOGRAPHY else ())))
    for ending in dict.fromkeys((exact, "")):
        for kind in kinds:
            if kind + ending in days:
                return days[kind + ending]
    return 0
