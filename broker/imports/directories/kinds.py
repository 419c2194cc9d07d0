"""The kinds of directories that can be imported: their code systems, and the names that their columns have. Pure.

The names are those of the exports of the Ministry's register (НСИ) and of tables that clinics keep themselves. The
codes are not here: official codes come from the official exports only.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache

from broker.domain.patients.identifiers import INSURERS
from broker.imports.table_rows import plain

_NSI, _N3 = "1.2.643.5.1.13.13.11", "1.2.643.2.69.1.1.1"
_NAME = ("name", "наименование", "название", "полное наименование", "full name", "fullname", "s name", "sname")
_SHORT = ("short name", "shortname", "name short", "краткое наименование", "короткое", "сокращенное наименование")
# Several of them in one file leave open which one is the code: then a person has to name it.
ANY_CODE = ("код", "code", "id", "идентификатор", "уникальный идентификатор")


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of directory.

    `columns` are field -> names of its column, folded and without punctuation, the best one first; `needed` are fields
    of which one of each group is required. `codes` are names that only the column of the code has.
    """

    name: str
    title: str
    system: str = ""  # OID; empty where there is none
    codes: tuple[str, ...] = ()
    columns: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    needed: tuple[tuple[str, ...], ...] = (("code",), ("name",))

    @property
    def fields(self) -> dict[str, tuple[str, ...]]:
        """Return every field with the names of its column."""
        return {
            "code": (*self.codes, *ANY_CODE),
            **self.columns,
            "actual": ("actual", "актуальность", "признак актуальности", "статус", "status", "rel", "действует"),
            "until": ("dateout", "date out", "data end", "date end", "дата окончания", "дата окончания действия"),
        }


KINDS: dict[str, Kind] = {
    kind.name: kind
    for kind in (
        Kind(
            "procedures",
            "Procedures",
            f"{_NSI}.1471",
            ("s code", "scode", "код исследования"),
            {
                "name": (*_NAME, *_SHORT),
                "method": ("метод", "method", "s method", "метод исследования", "вид", "вид исследования"),
                "modality": ("modality", "модальность"),
                "minutes": ("minutes", "минут", "минуты", "длительность"),
                "site": ("локализация", "localization", "s localization", "body site", "анатомическая локализация"),
                "area": ("область", "area", "s area", "область исследования"),
                "site_code": ("body site code", "код локализации", "код анатомической локализации"),
            },
        ),
        Kind("body-sites", "Body sites", f"{_NSI}.1477", (), {"name": (*_NAME, *_SHORT)}),
        Kind(
            "organisations",
            "Organisations",
            f"{_N3}.64",
            ("guid", "гуид", "uuid", "id n3", "идентификатор n3"),
            {
                "name": (*_SHORT, *_NAME, "организация", "name of organisation"),
                "full": ("полное наименование", "full name", "fullname", *_NAME),
                "oid": ("oid",),
            },
        ),
        Kind(
            "insurers",
            "Insurers",
            INSURERS,
            ("smocod", "код смо", "реестровый номер"),
            {
                "name": ("nam smok", *_SHORT, "nam smop", *_NAME, "наименование смо", "страховая компания"),
                "full": ("nam smop", "полное наименование", "full name", *_NAME),
            },
        ),
        Kind(
            "doctors",
            "Doctors",
            "",
            ("табельный номер", "номер врача"),
            {
                "name": (
                    "фио",
                    "ф и о",
                    "фио врача",
                    "врач",
                    "фамилия имя отчество",
                    "doctor",
                    *_NAME[:1],
                    "full name",
                ),
                "family": ("фамилия", "family", "last name", "surname"),
                "given": ("имя", "given", "first name"),
                "middle": ("отчество", "middle", "patronymic"),
                "snils": ("снилс", "snils", "снилс врача"),
                "position": ("должность", "position", "должность врача"),
                "position_code": ("код должности", "position code"),
                "specialty": ("специальность", "specialty", "speciality"),
                "specialty_code": ("код специальности", "specialty code", "speciality code"),
                "organisation": ("организация", "organisation", "organization", "мо"),
            },
            (("name", "family"),),
        ),
        Kind(
            "dose-coefficients",
            "Dose coefficients",
            "",
            ("код строки", "строка"),
            {
                "name": ("источник", "source", *_NAME),
                "quantity": ("величина", "quantity"),
                "coefficient": ("коэффициент", "coefficient", "значение", "value"),
                "unit": ("единица", "unit", "единица измерения"),
                "device": ("аппарат", "device", "ae title"),
                "procedure": ("исследование", "procedure", "код исследования"),
                "site": ("область", "site", "код области", "body site code"),
                "age_from": ("возраст от", "age from"),
                "age_to": ("возраст до", "age to"),
                "view": ("проекция", "view", "протокол съемки"),
                "kv_from": ("кв от", "kv from", "напряжение от"),
                "kv_to": ("кв до", "kv to", "напряжение до"),
                "valid_from": ("действует с", "valid from"),
                "entered_by": ("кто внес", "внес", "entered by"),
            },
            (("code",), ("name",), ("quantity",), ("coefficient",), ("unit",)),
        ),
        Kind(
            "dose-limits",
            "Plausible doses",
            "",
            ("код строки", "строка"),
            {
                "name": ("источник", "source", *_NAME),
                "modality": ("модальность", "modality"),
                "quantity": ("величина", "quantity"),
                "lowest": ("не меньше", "lowest"),
                "highest": ("не больше", "highest"),
            },
            (("code",), ("name",), ("modality",), ("quantity",), ("highest",)),
        ),
        Kind(
            "positions",
            "Positions",
            f"{_NSI}.1002",
            ("код должности",),
            {"name": (*_NAME, *_SHORT, "должность"), "specialty_code": ("код специальности", "specialty code")},
        ),
        Kind(
            "specialties",
            "Specialties",
            f"{_NSI}.1066",
            ("код специальности",),
            {"name": (*_NAME, *_SHORT, "специальность")},
        ),
        Kind(
            "diagnoses",
            "Diagnoses",
            f"{_NSI}.1005",
            ("mkb code", "код мкб", "код мкб 10", "мкб", "мкб 10", "icd10", "icd 10", "код диагноза"),
            {"name": ("mkb name", "наименование мкб", *_NAME, "диагноз", "описание")},
        ),
    )
}

# The DICOM modality (PS3.3 C.7.3.1.1.1) that a method of examination implies: the first line of which a beginning of a
# word, or a whole word (in quotes), occurs in the method; else in the name. MR and CT come before angiography, and
# that before plain X-ray, because «КТ-ангиография» is done by CT.
MODALITIES: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("MG", ("маммограф", "томосинтез молочн")),
    ("PT", ("позитронн", "'пэт'")),
    ("NM", ("сцинтиграф", "радионуклид", "однофотонн", "'офэкт'")),
    ("MR", ("магнитно резонанс", "'мрт'", "'мр'")),
    ("OPT", ("оптическая когерентн",)),
    ("CT", ("компьютерн", "'кт'", "'мскт'", "'клкт'")),
    ("US", ("ультразвук", "ультрасон", "'узи'", "'уздг'", "эхокардиограф", "'эхокг'", "допплер", "доплер", "дуплексн")),
    ("XA", ("ангиограф", "коронарограф", "флебограф", "артериограф")),
    ("RF", ("рентгеноскоп",)),
    ("BMD", ("денситометр", "рентгеноденситометр")),
    ("PX", ("ортопантомограф", "панорамная рентгеногр")),
    ("IO", ("радиовизиограф", "внутриротов")),
    ("DX", ("флюорограф", "рентген", "урограф")),
    ("ECG", ("электрокардиограф", "'экг'", "холтер")),
    ("ES", ("эндоскоп", "гастроскоп", "колоноскоп", "бронхоскоп", "эзофагогастродуоденоскоп")),
)
MINUTES = {"MG": 20, "CT": 20, "MR": 30, "US": 20, "XA": 60, "NM": 40, "PT": 60, "RF": 20}
USUAL_MINUTES = 15


def modality_of(method: str, name: str, words: Mapping[str, str] | None = None) -> str:
    """Return the modality of an examination by its method or else by its name; empty if neither implies one.

    `words` are an administrator's own beginnings of words -> modality; they come first.
    """
    own = tuple((modality, (plain(word),)) for word, modality in (words or {}).items())
    return _modality(plain(method), own) or _modality(plain(name), own)


@lru_cache(maxsize=256)  # a directory of thousands has a dozen methods
def _modality(text: str, own: tuple[tuple[str, tuple[str, ...]], ...]) -> str:
    for modality, beginnings in (*own, *MODALITIES) if text else ():
        if any(_occurs(each, text) for each in beginnings):
            return modality
    return ""


def _occurs(beginning: str, text: str) -> bool:
    word = beginning.strip("'")
    return f" {word} " in f" {text} " if word != beginning else f" {word}" in f" {text}"
