"""The effective dose of a study by the administrator's table of coefficients. Pure.

No coefficient is known here: they depend on the device and on how a study is made (МУ 2.6.1.2944-11), and are given by
the clinic's physicist. Without a row that fits there is no value.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from enum import StrEnum

from broker.domain.studies.dose import DoseDoubt, DoseLimits, Quantity, StudyDose

FIXED = "fixed"  # a value for each procedure, without a measurement
_QUANTITIES = {
    Quantity.DAP: ("dap", "пдп", "kap", "дап"),
    Quantity.DLP: ("dlp", "пдд", "длп"),
    Quantity.AGD: ("agd", "сдж"),
    Quantity.RP: ("rp", "доза в референтной точке"),
}
_FIXED_WORDS = ("fixed", "процедура", "на процедуру")
_RUSSIAN = (("мкзв", "usv"), ("мзв", "msv"), ("сгр", "cgy"), ("мгр", "mgy"), ("гр", "gy"), ("см", "cm"))
# The unit of a coefficient, in Latin letters without marks -> what a product is multiplied by to be in mSv.
_FACTORS: dict[str, dict[str, float]] = {
    Quantity.DAP: {"usv/cgycm2": 0.001, "msv/cgycm2": 1.0, "msv/gycm2": 0.01, "usv/gycm2": 1e-5},
    Quantity.DLP: {"msv/mgycm": 1.0, "usv/mgycm": 0.001},
    Quantity.AGD: {"msv/mgy": 1.0, "usv/mgy": 0.001},
    Quantity.RP: {"msv/mgy": 1.0, "usv/mgy": 0.001},
    FIXED: {"msv": 1.0, "usv": 0.001},
}
OLDEST = 150  # years
HIGHEST = 1000.0  # kV
MAX_DOSE = 1000.0  # mSv: no diagnostic study gives more; a number above it is in another unit


class NotCalculated(StrEnum):
    """Why there is no effective dose."""

    NO_ROW = "no_row"
    SEVERAL_ROWS = "several_rows"  # two rows that fit equally well
    DOUBTFUL = "doubtful"  # the measured dose is not known, or not wholly
    IMPLAUSIBLE = "implausible"  # the measured dose is far outside of what is expected: a person has to look


@dataclass(frozen=True, slots=True)
class Coefficient:
    """One row of the table; an empty field fits everything."""

    code: str
    quantity: str  # a Quantity, or FIXED
    value: float
    unit: str
    source: str = ""  # with who has entered it
    device: str = ""  # AE title
    procedure: str = ""  # code
    site: str = ""  # code of the body site
    age_from: int = 0  # whole years at the day of the study, both included
    age_to: int = OLDEST
    view: str = ""  # as the device calls it: a code, a name, or a protocol
    kv_from: float = 0.0  # the tube's voltage, both included
    kv_to: float = HIGHEST
    valid_from: date | None = None  # the first day of studies that it is for


@dataclass(frozen=True, slots=True)
class Circumstances:
    """What a study was: the rows that fit depend on it."""

    devices: Collection[str] = ()  # AE titles
    procedure: str = ""
    site: str = ""
    age: int | None = None  # in whole years; None: unknown
    on: date | None = None  # the day of the study; None: unknown
    views: Collection[str] = ()  # what the view or protocol of all of its exposures is called


@dataclass(frozen=True, slots=True)
class CalculatedDose:
    """An effective dose, and how it was calculated."""

    millisieverts: float
    quantity: str
    amount: float | None
    coefficient: float
    unit: str
    row_code: str
    source: str


@dataclass(frozen=True, slots=True)
class TypedDose:
    """An effective dose that a person typed beside a report: it stands over the calculated one, which is kept."""

    millisieverts: float
    typed_by: str


def read_row(code: str, name: str, details: Mapping[str, str]) -> Coefficient:
    """Return a row of the table; raise ValueError with what is wrong, in English."""
    quantity = _quantity(details.get("quantity", ""))
    if quantity is None:
        raise ValueError("the quantity is none of DAP, DLP, AGD, RP, fixed")
    value = _number(details.get("coefficient", ""))
    if value is None or value < 0:
        raise ValueError("the coefficient is not a number")
    unit = details.get("unit", "")
    if _plain_unit(unit) not in _FACTORS[quantity]:
        raise ValueError(f"the unit is none of {', '.join(_FACTORS[quantity])}")
    low, high = _years(details.get("age_from", ""), 0), _years(details.get("age_to", ""), OLDEST)
    if low is None or high is None or low > high:
        raise ValueError("the age is not a span of whole years")
    kv_from, kv_to = _kilovolts(details.get("kv_from", ""), 0.0), _kilovolts(details.get("kv_to", ""), HIGHEST)
    if kv_from is None or kv_to is None or kv_from > kv_to:
        raise ValueError("the voltage is not a span of kilovolts")
    entered_by = details.get("entered_by", "")
    return Coefficient(
        code,
        quantity,
        value,
        unit,
        f"{name} ({entered_by})" if entered_by else name,
        details.get("device", ""),
        details.get("procedure", ""),
        details.get("site", ""),
        low,
        high,
        details.get("view", ""),
        kv_from,
        kv_to,
        _day(details.get("valid_from", "")),
    )


def read_limits(details: Mapping[str, str]) -> DoseLimits:
    """Return a row of the table of plausible doses; raise ValueError with what is wrong, in English."""
    quantity = _quantity(details.get("quantity", ""))
    if quantity is None or quantity == FIXED:
        raise ValueError("the quantity is none of DAP, DLP, AGD, RP")
    lowest, highest = _number(details.get("lowest", "") or "0"), _number(details.get("highest", ""))
    if lowest is None or highest is None or not 0 <= lowest < highest:
        raise ValueError("the limits are not two numbers, the lower one first")
    return DoseLimits(details.get("modality", "").upper(), Quantity(quantity), lowest, highest)


def calculate(
    rows: Sequence[Coefficient], circumstances: Circumstances, measured: StudyDose
) -> CalculatedDose | NotCalculated:
    """Return the effective dose of a study, by the row that fits most exactly; or why there is none.

    A row of what was measured comes before a fixed value. A row is more exact than another one if it is so in its
    device, its procedure or body site, its age, its view or its voltage, and less exact in none of these. Of rows that
    differ in none of these the one that is valid from a later day replaces the earlier ones.
    """
    if DoseDoubt.IMPLAUSIBLE in measured.doubts:
        return NotCalculated.IMPLAUSIBLE
    fitting = [row for row in rows if _fits(row, circumstances, measured)]
    by_measure = [row for row in fitting if row.quantity != FIXED]
    doubtful = measured.doubts & {DoseDoubt.NOT_COMPARABLE, DoseDoubt.INCOMPLETE}
    if by_measure and doubtful:
        return NotCalculated.DOUBTFUL
    usable = [row for row in by_measure if measured.of(Quantity(row.quantity)) is not None]
    chosen = usable or [row for row in fitting if row.quantity == FIXED]
    if not chosen:
        return NotCalculated.DOUBTFUL if by_measure and measured.unconverted else NotCalculated.NO_ROW
    best = [row for row in chosen if not any(_is_more_exact(other, row) for other in chosen)]
    if len(best) > 1:
        return NotCalculated.SEVERAL_ROWS
    row = best[0]
    amount = None if row.quantity == FIXED else measured.of(Quantity(row.quantity))
    product = row.value * _FACTORS[row.quantity][_plain_unit(row.unit)] * (1.0 if amount is None else amount)
    return CalculatedDose(float(f"{product:.4g}"), row.quantity, amount, row.value, row.unit, row.code, row.source)


def _fits(row: Coefficient, found: Circumstances, measured: StudyDose) -> bool:
    if row.valid_from and (found.on is None or found.on < row.valid_from):
        return False
    if row.view and _folded(row.view) not in {_folded(each) for each in (*found.views, *measured.views)}:
        return False
    if (row.kv_from, row.kv_to) != (0.0, HIGHEST):
        span = measured.kilovolts
        if span is None or not row.kv_from <= span[0] <= span[1] <= row.kv_to:
            return False
    if row.device and list(found.devices) != [row.device]:
        return False
    if (row.procedure and row.procedure != found.procedure) or (row.site and row.site != found.site):
        return False
    if (row.age_from, row.age_to) == (0, OLDEST):
        return True
    return found.age is not None and row.age_from <= found.age <= row.age_to


def _is_more_exact(one: Coefficient, other: Coefficient) -> bool:
    first, second = _exactness(one), _exactness(other)
    if first == second and _scope(one) == _scope(other):
        return (one.valid_from or date.min) > (other.valid_from or date.min)
    return first != second and all(mine >= theirs for mine, theirs in zip(first, second, strict=True))


def _exactness(row: Coefficient) -> tuple[float, ...]:
    what = 2 if row.procedure else 1 if row.site else 0
    ages, voltages = row.age_from - row.age_to, row.kv_from - row.kv_to
    return int(bool(row.device)), what, ages, int(bool(row.view)), voltages


def _scope(row: Coefficient) -> tuple[object, ...]:
    ages, voltages = (row.age_from, row.age_to), (row.kv_from, row.kv_to)
    return row.quantity, row.device, row.procedure, row.site, ages, _folded(row.view), voltages


def _folded(text: str) -> str:
    return " ".join(text.casefold().split())


def _quantity(word: str) -> str | None:
    plain = word.strip().casefold()
    if plain in _FIXED_WORDS:
        return FIXED
    return next((quantity for quantity, known in _QUANTITIES.items() if plain in known), None)


def _plain_unit(unit: str) -> str:
    plain = re.sub(r"[\s.·*()^]", "", unit.casefold()).replace("²", "2").replace("µ", "u").replace("μ", "u")
    for russian, latin in _RUSSIAN:
        plain = plain.replace(russian, latin)
    return plain


def _number(text: str) -> float | None:
    try:
        value = float(text.strip().replace(",", "."))
    except ValueError:
        return None
    return value if value < 1e6 else None


def _kilovolts(text: str, missing: float) -> float | None:
    value = _number(text) if text.strip() else missing
    return value if value is not None and 0 <= value <= HIGHEST else None


def _day(text: str) -> date | None:
    """Return a day as 01.09.2026 or 2026-09-01 (a time after it is left out), None for no text; raise ValueError."""
    word = text.strip().split(" ")[0].split("T")[0]
    if not word:
        return None
    try:
        if match := re.fullmatch(r"(\d{1,2})\.(\d{1,2})\.(\d{4})", word):
            return date(int(match[3]), int(match[2]), int(match[1]))
        return date.fromisoformat(word)
    except ValueError:
        raise ValueError("the first day of validity is not a date such as 01.09.2026") from None


def _years(text: str, missing: int) -> int | None:
    if not text.strip():
        return missing
    return int(text) if text.strip().isdecimal() and int(text) <= OLDEST else None
