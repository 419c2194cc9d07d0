"""The dose that a modality reported, in the units that doctors use; an effective dose as it is typed. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from broker.documents import report_pdf
from broker.domain.studies.performed import Dose
from ui.text import typed_values, words

# DICOM keyword -> name, factor from the unit of DICOM to the unit shown, unit.
_WHOLE = {
    "ImageAndFluoroscopyAreaDoseProduct": ("Произведение дозы на площадь", 10.0, "сГр·см²"),
    "EntranceDoseInmGy": ("Доза на входе", 1.0, "мГр"),
    "EntranceDose": ("Доза на входе", 100.0, "мГр"),
    "TotalTimeOfFluoroscopy": ("Время просвечивания", 1.0, "с"),
    "TotalNumberOfExposures": ("Экспозиций", 1.0, ""),
}
_EXPOSURE = {
    "KVP": ("{} кВ", 1.0),
    "XRayTubeCurrent": ("{} мА", 1.0),
    "XRayTubeCurrentInuA": ("{} мА", 0.001),
    "ExposureTime": ("{} мс", 1.0),
    "CTDIvol": ("CTDIvol {} мГр", 1.0),
}
MOST_EXPOSURES = 12


def facts(doses: Sequence[Dose]) -> list[tuple[str, str]]:
    """Return the doses of a step as (name, value): totals first, then by exposure."""
    totals = {dose.keyword: dose.value for dose in doses if not dose.position}
    if "EntranceDoseInmGy" in totals:
        totals.pop("EntranceDose", None)  # the same value in a coarser unit
    found = [
        (name, f"{_number(totals[keyword] * factor)} {unit}".strip())
        for keyword, (name, factor, unit) in _WHOLE.items()
        if keyword in totals
    ]
    exposures: dict[int, dict[str, float]] = {}
    for dose in doses:
        if dose.position:
            exposures.setdefault(dose.position, {})[dose.keyword] = dose.value
    for position in sorted(exposures)[:MOST_EXPOSURES]:
        values = exposures[position]
        if "XRayTubeCurrentInuA" in values:
            values.pop("XRayTubeCurrent", None)
        parts = [
            form.format(_number(values[keyword] * factor))
            for keyword, (form, factor) in _EXPOSURE.items()
            if keyword in values
        ]
        if parts:
            found.append((f"Экспозиция {position}", ", ".join(parts)))
    if (rest := len(exposures) - MOST_EXPOSURES) > 0:
        found.append(("Ещё", words.plural(rest, "экспозиция", "экспозиции", "экспозиций")))
    return found


def typed(value: str) -> tuple[float | None, str]:
    """Return an effective dose in мЗв as people type it, or None, and the problem code: '' or 'unreadable'."""
    bare = value.casefold().replace("мзв", "").strip()
    if not bare:
        return None, ""
    number = typed_values.parse_number(bare)
    return number, "" if number is not None else "unreadable"


def shown(value: float | None) -> str:
    """Return an effective dose as its field shows it, without the unit."""
    return report_pdf.dose(value).removesuffix(" мЗв")


def _number(value: float) -> str:
    """Return at most four significant digits: devices are not more precise."""
    return f"{value:.4g}".replace(".", ",") if value < 10_000 else f"{value:.0f}"
