"""The effective dose of a study by the administrator's table of coefficients. Pure.

No coefficient is known here: they depend on the device and on how a study is made (МУ 2.6.1.2944-11), and are given by
the clinic's physicist. Without a row that fits there is no value.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from broker.domain.studies.dose import DoseDoubt, Quantity, StudyDose

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


class NotCalculated(StrEnum):
    """Why there is no effective dose."""

    NO_ROW = "no_row"
    SEVERAL_ROWS = "several_rows"  # two rows that fit equally well
    DOUBTFUL = "doubtful"  # the measured dose is not known, or not wholly


@dataclass(frozen=True, slots=True)
class Coefficient:
    """One row of the table; an empty field fits everything."""

    code: str
    quantity: str  # a Quantity, or FIXED
    value: float
    unit: str
    source: str = ""
    device: str = ""  # AE title
    procedure: str = ""  # code
    site: str = ""  # code of the body site
    age_from: int = 0  # whole years at the day of the study, both included
    age_to: int = OLDEST


@dataclass(frozen=True, slots=True)
class Circumstances:
    """What a study was: the rows that fit depend on it."""

    devices: Collection[str] = ()  # AE titles
    procedure: str = ""
    site: str = ""
    age: int | None = None  # in whole years; None: unknown


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
    return Coefficient(
        code,
        quantity,
        value,
        unit,
        name,
        details.get("device", ""),
        details.get("procedure", ""),
        details.get("site", ""),
        low,
        high,
    )


def calculate(
    rows: Sequence[Coefficient], circumstances: Circumstances, measured: StudyDose
) -> CalculatedDose | NotCalculated:
    """Return the effective dose of a study, by the row that fits most exactly; or why there is none.

    A row of what was measured comes before a fixed value. A row is more exact than another one if it is so in its
    device, its procedure or body site, or its age, and less exact in none of these.
    """
    fitting = [row for row in rows if _fits(row, circumstances)]
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


def _fits(row: Coefficient, found: Circumstances) -> bool:
    if row.device and list(found.devices) != [row.device]:
        return False
    if (row.procedure and row.procedure != found.procedure) or (row.site and row.site != found.site):
        return False
    if (row.age_from, row.age_to) == (0, OLDEST):
        return True
    return found.age is not None and row.age_from <= found.age <= row.age_to


def _is_more_exact(one: Coefficient, other: Coefficient) -> bool:
    first, second = _exactness(one), _exactness(other)
    return first != second and all(mine >= theirs for mine, theirs in zip(first, second, strict=True))


def _exactness(row: Coefficient) -> tuple[int, int, int]:
    what = 2 if row.procedure else 1 if row.site else 0
    return int(bool(row.device)), what, row.age_from - row.age_to


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


def _years(text: str, missing: int) -> int | None:
    if not text.strip():
        return missing
    return int(text) if text.strip().isdecimal() and int(text) <= OLDEST else None
