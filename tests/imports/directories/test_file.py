"""Exports of directories are read as registers make them; what cannot be read says why, and what to do."""

from __future__ import annotations

import contextlib
import io
import json
import tracemalloc
import zipfile
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openpyxl import Workbook

from broker.domain.clinic.directory import Entry
from broker.imports import json_stream
from broker.imports.directories import file as directory_file
from broker.imports.directories import row as directory_row
from broker.imports.directories.file import DirectoryTable
from broker.imports.directories.kinds import KINDS, modality_of
from broker.imports.directories.row import DirectoryContent, LeftOut
from broker.imports.table_rows import BadTable
from tests.imports import raw_xlsx
from tests.support.waiting import at_most

TODAY = date(2026, 11, 24)
# The shape of the Ministry's export of ICD-10.
ICD_HEADER = ("ID", "REC_CODE", "MKB_CODE", "MKB_NAME", "ID_PARENT", "ADDL_CODE", "ACTUAL", "DATE")
ICD_ROWS = (
    ("1", "01", "XIII", "БОЛЕЗНИ КОСТНО-МЫШЕЧНОЙ СИСТЕМЫ", "", "", "1", ""),
    ("2", "0101", "M15-M19", "АРТРОЗЫ", "1", "", "1", ""),
    ("3", "0102", "M17", "Гонартроз [артроз коленного сустава]", "2", "", "1", ""),
    ("4", "0103", "M17.1", "Другой первичный гонартроз", "3", "", "1", ""),
    ("5", "0104", "B59", "Пневмоцистоз", "", "", "0", "07.10.2020"),
)
ICD = [Entry("M17", "Гонартроз [артроз коленного сустава]"), Entry("M17.1", "Другой первичный гонартроз")]
GUID = "00000000-aaaa-4bbb-8ccc-000000000001"


def csv(*rows: tuple[str, ...], delimiter: str = ";", encoding: str = "utf-8-sig") -> bytes:
    return "\r\n".join(delimiter.join(f'"{cell}"' for cell in row) for row in rows).encode(encoding)


def xlsx(*rows: tuple[Any, ...]) -> bytes:
    book = Workbook()
    for row in rows:
        book.active.append(row)
    file = io.BytesIO()
    book.save(file)
    return file.getvalue()


def nsi_json(*rows: tuple[str, ...], **more: Any) -> bytes:
    listed = [
        [{"column": name, "value": cell or None} for name, cell in zip(rows[0], row, strict=True)] for row in rows[1:]
    ]
    return json.dumps({"result": "OK", "resultText": None, **more, "list": listed}, ensure_ascii=False).encode()


def objects(*rows: tuple[str, ...]) -> list[dict[str, str]]:
    return [dict(zip(rows[0], row, strict=True)) for row in rows[1:]]


def table(data: bytes, kind: str = "diagnoses", **named: str) -> DirectoryTable:
    return directory_file.read(io.BytesIO(data), KINDS[kind], named)


def gathered(data: bytes, kind: str = "diagnoses", **named: str) -> DirectoryContent:
    return directory_row.read_entries(table(data, kind, **named), kind, TODAY)


def only(kind: str, header: tuple[str, ...], row: tuple[str, ...], **named: str) -> Entry:
    result = gathered(csv(header, row), kind, **named)
    assert not result.refused
    [entry] = result.entries
    return entry


def reason(kind: str, header: tuple[str, ...], row: tuple[str, ...]) -> str:
    result = gathered(csv(header, row), kind)
    [(number, reason)] = result.refused
    assert number == 2
    return reason


@pytest.mark.parametrize(
    "data",
    [
        csv(ICD_HEADER, *ICD_ROWS),
        csv(ICD_HEADER, *ICD_ROWS, encoding="utf-8"),
        csv(ICD_HEADER, *ICD_ROWS, encoding="cp1251"),
        csv(ICD_HEADER, *ICD_ROWS, encoding="utf-16"),
        csv(ICD_HEADER, *ICD_ROWS, delimiter=","),
        csv(ICD_HEADER, *ICD_ROWS, delimiter="\t"),
        xlsx(ICD_HEADER, *ICD_ROWS),
        xlsx(("Справочник МКБ-10",), (), ICD_HEADER, *ICD_ROWS),
        nsi_json(ICD_HEADER, *ICD_ROWS),
        nsi_json(ICD_HEADER, *ICD_ROWS, total=5),
        json.dumps(objects(ICD_HEADER, *ICD_ROWS), ensure_ascii=False).encode(),
        json.dumps(objects(ICD_HEADER, *ICD_ROWS)).encode("utf-8-sig"),
        json.dumps(objects(ICD_HEADER, *ICD_ROWS), indent=2).encode("utf-16"),
        json.dumps({"records": objects(ICD_HEADER, *ICD_ROWS)}).encode(),
    ],
    ids=[
        *("csv with a mark", "csv utf-8", "csv 1251", "csv utf-16", "commas", "tabs", "xlsx", "xlsx with a title"),
        *("register's json", "with a total", "objects", "escaped", "json utf-16", "records"),
    ],
)
def test_every_shape_of_an_export_gives_the_same_entries(data: bytes) -> None:
    result = gathered(data)
    assert result.entries == ICD
    assert result.refused == []
    assert result.left_out == {LeftOut.HEADING: 2, LeftOut.NOT_IN_FORCE: 1}


@pytest.mark.parametrize("part", raw_xlsx.PARTS)
def test_a_workbook_of_1c_is_read_whatever_the_case_of_its_parts(part: str) -> None:
    data = raw_xlsx.write([ICD_HEADER, *ICD_ROWS], stored={part: part.upper()})
    assert gathered(data).entries == ICD


def test_a_misplaced_quote_spoils_its_row_only() -> None:
    lines = ['"ID";"NAME"', '"x1";"Кисть" правая', '"x2";"Стопа"', "x3;'00120", 'x4;="00130"']
    result = gathered("\r\n".join(lines).encode(), "body-sites")
    assert result.entries == [Entry("x2", "Стопа"), Entry("x3", "00120"), Entry("x4", "00130")]
    [(number, words)] = result.refused
    assert number == 2
    assert words.endswith('(found «"Кисть" правая»)')


def test_the_visible_sheet_that_has_the_columns_is_read() -> None:
    book = Workbook()
    book.active.sheet_state = "hidden"
    book.create_sheet("Описание").append(("Справочник",))
    data = book.create_sheet("Данные")
    data.append(("ID", "NAME"))
    data.append(("x7", "Кисть"))
    file = io.BytesIO()
    book.save(file)
    read = table(file.getvalue(), "body-sites")
    assert (read.sheet, read.unread_sheets) == ("Данные", ("Sheet", "Описание"))
    assert directory_row.read_entries(read, "body-sites", TODAY).entries == [Entry("x7", "Кисть")]


def test_a_day_without_a_format_ends_an_entry_and_a_code_stays_a_text() -> None:
    rows: list[tuple[raw_xlsx.Value, ...]] = [("ID", "NAME", "DATEOUT")]
    rows += [(7, "Кисть", 46349.0), (8, "Стопа", 46350.0)]  # 23 and 24 November 2026
    result = gathered(raw_xlsx.write(rows), "body-sites")
    assert result.left_out == {LeftOut.NOT_IN_FORCE: 1}
    assert result.entries == [Entry("8", "Стопа")]


def test_an_unexpected_failure_of_a_row_is_its_refusal(monkeypatch: pytest.MonkeyPatch) -> None:
    real = directory_row._entry

    def failing(values: Mapping[str, str], kind: str, today: date) -> Entry | LeftOut:
        if values["name"] == "Кисть":
            raise ZeroDivisionError
        return real(values, kind, today)

    monkeypatch.setattr(directory_row, "_entry", failing)
    result = gathered(csv(("MKB_CODE", "MKB_NAME"), ("x1", "Кисть"), ("M17", "Стопа")))
    assert result.entries == [Entry("M17", "Стопа")]
    [(number, words)] = result.refused
    assert number == 2
    assert words == "the row could not be read (ZeroDivisionError)"


def test_columns_that_are_found_and_those_not_read_are_reported() -> None:
    read = table(csv(ICD_HEADER, *ICD_ROWS))
    assert read.columns == {"code": "MKB_CODE", "name": "MKB_NAME", "actual": "ACTUAL"}
    assert read.unread == ("ID", "REC_CODE", "ID_PARENT", "ADDL_CODE", "DATE")


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("1.2.643.5.1.13.13.11.1005_2.27.csv", ("1.2.643.5.1.13.13.11.1005", "2.27")),
        ("1.2.643.5.1.13.13.11.1005_2.27.json", ("1.2.643.5.1.13.13.11.1005", "2.27")),
        ("1.2.643.5.1.13.13.11.1471_6_xlsx.xlsx", ("1.2.643.5.1.13.13.11.1471", "6")),
        ("1.2.643.5.1.13.13.11.1471.xlsx", ("1.2.643.5.1.13.13.11.1471", "")),
        ("1.2.643.5.1.13.13.11.1005_2.27 (1).csv", ("1.2.643.5.1.13.13.11.1005", "2.27")),
        ("mkb10.csv", ("", "")),
        ("2026.11.24.csv", ("", "")),
    ],
)
def test_the_file_name_of_the_register_has_system_and_version(name: str, parts: tuple[str, str]) -> None:
    assert directory_file.system_and_version(Path("/home") / name) == parts


def test_a_second_row_of_names_is_not_an_entry() -> None:
    russian = ("Идентификатор", "Наименование", "Статус")
    data = xlsx(russian, ("ID", "NAME", "STATUS"), ("x7", "Кисть", "Актуальный"), ("x8", "Стопа", "Не актуальный"))
    result = gathered(data, "body-sites")
    assert result.entries == [Entry("x7", "Кисть")]
    assert result.left_out == {LeftOut.NOT_IN_FORCE: 1}


def test_a_column_may_be_named() -> None:
    header, row = ("Шифр", "Как называется", "Имя"), ("x1", "Кисть", "нет")
    assert only("body-sites", header, row, code="шифр", name="Как называется") == Entry("x1", "Кисть")


@pytest.mark.parametrize(
    ("kind", "header", "named", "words"),
    [
        (
            "body-sites",
            ("Шифр", "Текст"),
            {},
            "known as the code and name of body-sites; its columns are: Шифр, Текст; .*code=COLUMN,name=COLUMN",
        ),
        ("body-sites", ("ID", "Текст"), {}, "known as the name .*Текст.*--columns name=COLUMN"),
        ("body-sites", ("ID", "CODE", "NAME"), {}, "could be CODE or ID; .*--columns code=CODE"),
        (
            "body-sites",
            ("ID", "NAME"),
            {"code": "Шифр"},
            "--columns code: the file has no column «шифр»; its columns are: ID, NAME",
        ),
        ("body-sites", ("ID", "NAME"), {"colour": "ID"}, "--columns: body-sites have no colour; they have code, name"),
        ("body-sites", ("ID", "NAME", "NAME"), {}, "two columns are called «NAME»"),
        ("doctors", ("СНИЛС", "Отдел"), {}, "known as the name or family of doctors"),
    ],
)
def test_a_column_that_is_not_known_is_asked_for(
    kind: str, header: tuple[str, ...], named: dict[str, str], words: str
) -> None:
    with pytest.raises(BadTable, match=words):
        table(csv(header, tuple("x" for _ in header)), kind, **named)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "it is empty"),
        (b"<?xml version='1.0'?><book/>", "it is XML or a web page; export it as CSV, XLSX or JSON"),
        (b"\xef\xbb\xbf\n<html>", "XML or a web page"),
        ("<?xml version='1.0'?>".encode("utf-16"), "XML or a web page"),
        (b"\xd0\xcf\x11\xe0 old", "old Excel file"),
        (b"PK\x03\x04 not really", "not an XLSX file, or a damaged one"),
        (b"\0\1\2\3", "neither XLSX nor text"),
        (b'{"result": "ERROR", "resultText": "no such dictionary"}', "it is an error response: no such dictionary"),
        (b'{"result": "OK"}', "no list of entries"),
        (
            b'{"total": 900, "list": [{"MKB_CODE": "M17", "MKB_NAME": "x"}]}',
            "one page, 1 of 900 entries; export the whole",
        ),
        (b'[{"MKB_CODE": "M17", "MKB_NAME": "x"}', "ends too early"),
        (b'[{"MKB_CODE": "M17", "MKB_NAME": "x"} {}]', "damaged"),
        (b'[{"MKB_CODE": "M17", "MKB_NAME": ]', "damaged"),
        (b"[1, 2]", "neither objects nor lists"),
        (b'{"a": [], "b": []}', "more than one list"),
        (b'{"a" 1}', "not JSON"),
        (b"{[1]: 2}", "not JSON"),
        (b'[{"MKB_CODE": "\xff"}]', "not in UTF-8"),
        (b"[" * 100_000, "damaged"),
        (b'[{"a": "' + b"x" * 1_200_000 + b'"}, {}]', "damaged|no column"),
    ],
)
def test_a_file_that_is_not_a_directory_is_refused_with_a_reason(data: bytes, words: str) -> None:
    with pytest.raises(BadTable, match=words):
        gathered(data)


def test_an_archive_has_to_be_unpacked() -> None:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("1.2.643.5.1.13.13.11.1005_2.27.csv", csv(ICD_HEADER, *ICD_ROWS))
    with pytest.raises(BadTable, match="ZIP archive and not an XLSX file; unpack it"):
        gathered(file.getvalue())


def test_rows_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(directory_file, "MAX_ROWS", 3)
    with pytest.raises(BadTable, match="more than 3 rows"):
        gathered(csv(ICD_HEADER, *ICD_ROWS))
    with pytest.raises(BadTable, match="more than 200 columns"):
        gathered(csv((*ICD_HEADER, *(f"c{place}" for place in range(300))), *ICD_ROWS))


@pytest.mark.parametrize(
    ("row", "words"),
    [
        (("", "Гонартроз"), "the code is missing"),
        (("M17", ""), "the name is missing"),
        (("7003320", "Гонартроз"), "7003320 is not a code of ICD-10"),
        (("M17.", "Гонартроз"), "M17. is not a code of ICD-10"),
        (("M17", "x" * 1001), "the name is longer than 1000 characters"),
    ],
)
def test_what_is_not_a_diagnosis_is_refused_with_the_reason(row: tuple[str, ...], words: str) -> None:
    assert reason("diagnoses", ("MKB_CODE", "MKB_NAME"), row) == words


@pytest.mark.parametrize("written", ["A17.0+", "a17.0", "А17.0", "A17.0*", " A17.0 †"])
def test_marks_and_letters_of_icd_10_are_corrected(written: str) -> None:
    assert only("diagnoses", ("MKB_CODE", "MKB_NAME"), (written, "Туберкулезный менингит")).code == "A17.0"


@pytest.mark.parametrize(
    ("kind", "header", "row", "words"),
    [
        ("organisations", ("GUID", "NAME"), ("12", "ГП 5"), "12 is not a GUID"),
        ("body-sites", ("ID", "NAME"), ("a b", "Кисть"), "the code a b has blanks in it"),
        ("body-sites", ("ID", "NAME"), ("x" * 65, "Кисть"), "the code is longer than 64 characters"),
        (
            "procedures",
            ("S_CODE", "S_NAME"),
            ("x" * 17, "Р"),
            "the code is longer than 16 characters, more than a modality can take",
        ),
        ("procedures", ("S_CODE", "S_NAME"), ("a\\b", "Р"), "the code has a backslash in it"),
        (
            "procedures",
            ("S_CODE", "S_NAME"),
            ("WLB-KNEE", "Р"),
            "WLB-KNEE is a code of this program's own, not of an official dictionary",
        ),
        (
            "procedures",
            ("S_CODE", "S_NAME", "modality"),
            ("x", "Р", "рентген"),
            "рентген is not a modality such as DX, CT, MG",
        ),
        ("procedures", ("S_CODE", "S_NAME", "minutes"), ("x", "Р", "0"), "0 is not a number of minutes from 1 to 480"),
        (
            "doctors",
            ("ФИО", "СНИЛС"),
            ("Зимин А. П.", "112-233-445 96"),
            "the СНИЛС has a wrong check digit or number of digits (found «112-233-445 96»)",
        ),
        ("doctors", ("ФИО", "СНИЛС"), ("", "112-233-445 95"), "the name is missing"),
    ],
)
def test_what_is_not_an_entry_is_refused_with_the_reason(
    kind: str, header: tuple[str, ...], row: tuple[str, ...], words: str
) -> None:
    assert reason(kind, header, row) == words


def test_a_code_that_occurs_twice_is_reported_with_both_rows() -> None:
    rows = (("M17", "Гонартроз"), ("M16", "Коксартроз"), ("M17", "Гонартроз"), ("m17", "Другое"))
    result = gathered(csv(("MKB_CODE", "MKB_NAME"), *rows))
    assert [each.code for each in result.entries] == ["M17", "M16"]
    assert result.refused == [(4, "is the same as row 2"), (5, "has the code M17, as has row 2")]
    as_json = gathered(json.dumps(objects(("MKB_CODE", "MKB_NAME"), *rows)).encode())
    assert as_json.refused == [(3, "is the same as entry 1"), (4, "has the code M17, as has entry 1")]


@pytest.mark.parametrize(
    ("until", "left_out"),
    [
        ("", False),
        ("31.12.2099", False),
        ("2020-10-07", True),
        ("23.11.2026", True),
        ("24.11.2026", False),
        ("когда-нибудь", False),
        ("99.99.2020", False),
    ],
)
def test_an_entry_whose_last_day_is_over_is_left_out(until: str, left_out: bool) -> None:
    result = gathered(csv(("ID", "NAME", "DATEOUT"), ("x1", "Терапия", until)), "specialties")
    assert bool(result.left_out) is left_out
    assert len(result.entries) == (not left_out)


def test_an_organisation_has_its_guid_and_both_names() -> None:
    header = ("GUID", "NAME", "SHORT_NAME", "OID")
    assert only("organisations", header, (GUID.upper(), "Поликлиника № 5", "ГП 5", "1.2.3")) == Entry(
        GUID, "ГП 5", {"full": "Поликлиника № 5", "oid": "1.2.3"}
    )
    assert only("organisations", ("GUID", "NAME"), (f"Organization/{GUID}", "ГП 5")) == Entry(GUID, "ГП 5")


def test_a_doctor_is_known_by_the_snils_or_by_a_number_or_by_the_name() -> None:
    header = ("ФИО", "СНИЛС", "Должность", "Код должности", "Код специальности")
    details = {"family": "Зимин", "given": "Андрей", "middle": "Павлович"}
    zimin = only("doctors", header, ("Зимин Андрей Павлович", "112-233-445 95", "терапевт", "x1", "y1"))
    assert (zimin.code, zimin.name) == ("11223344595", "Зимин Андрей Павлович")
    assert zimin.details == {
        **details,
        "snils": "11223344595",
        "position": "терапевт",
        "position_code": "x1",
        "specialty_code": "y1",
    }
    parts = ("Фамилия", "Имя", "Отчество", "Табельный номер")
    assert only("doctors", parts, ("Зимин", "Андрей", "Павлович", "17")) == Entry(
        "17", "Зимин Андрей Павлович", details
    )
    assert only("doctors", ("ФИО", "ID"), ("Зимин Андрей Павлович", "")).code == "зимин андрей павлович"


def test_a_snils_that_lost_its_zeros_in_excel_is_read() -> None:
    result = gathered(xlsx(("ФИО", "СНИЛС"), ("Зимин А. П.", 8765430300)), "doctors")
    assert [each.code for each in result.entries] == ["08765430300"]


@pytest.mark.parametrize(
    "name",
    [
        '=HYPERLINK("http://x","y")',
        "<script>alert(1)</script>",
        "@SUM(1)",
        "+7",
        "{{7*7}}",
        "'; DROP TABLE directory; --",
    ],
)
def test_a_formula_or_html_in_a_name_is_text(name: str) -> None:
    assert gathered(json.dumps([{"ID": "x1", "NAME": name}]).encode(), "body-sites").entries == [Entry("x1", name)]
    doubled = f'"{name.replace(chr(34), chr(34) * 2)}"'
    assert gathered(f"ID;NAME\nx1;{doubled}".encode(), "body-sites").entries == [Entry("x1", name)]
    book = Workbook()
    book.active.append(("ID", "NAME"))
    book.active.append(("x1", name))
    book.active["B2"].data_type = "s"
    file = io.BytesIO()
    book.save(file)
    assert gathered(file.getvalue(), "body-sites").entries == [Entry("x1", name)]


def test_a_formula_of_excel_is_not_worked_out() -> None:
    result = gathered(xlsx(("ID", "NAME"), ("x1", "=1+1")), "body-sites")
    assert result.refused == [(2, "the name is missing")]


def test_control_characters_do_not_come_through() -> None:
    assert only("body-sites", ("ID", "NAME"), ("x1", "Ки\x1b[31mсть\u202e")) == Entry("x1", "Ки[31mсть")


@pytest.mark.parametrize(
    ("method", "name", "modality"),
    [
        ("Рентгенография", "", "DX"),
        ("", "Рентгенография флюорография легких", "DX"),
        ("Компьютерная томография", "", "CT"),
        ("", "КТ-ангиография сосудов головы", "CT"),
        ("", "Спиральная компьютерная томография", "CT"),
        ("", "МР-ангиография", "MR"),
        ("Магнитно-резонансная томография", "", "MR"),
        ("Ультразвуковое исследование", "Допплерография", "US"),
        ("УЗИ", "", "US"),
        ("Маммография", "Рентгенография молочных желёз", "MG"),
        ("Позитронно-эмиссионная томография, совмещенная с компьютерной", "", "PT"),
        ("Сцинтиграфия", "", "NM"),
        ("", "Рентгеноскопия желудка", "RF"),
        ("", "Рентгеноденситометрия", "BMD"),
        ("", "Ортопантомография", "PX"),
        ("Электрокардиография", "", "ECG"),
        ("", "Оптическая когерентная томография", "OPT"),
        ("", "Спирометрия", ""),
        ("", "Актография", ""),  # «кт» inside a word is no CT
        ("Иное", "Рентгенография кисти", "DX"),
        ("", "", ""),
    ],
)
def test_the_modality_follows_from_the_method_or_else_the_name(method: str, name: str, modality: str) -> None:
    assert modality_of(method, name) == modality


def test_an_administrators_own_words_come_first() -> None:
    assert modality_of("Рентгеноскопия", "", {"рентгеноскоп": "XA"}) == "XA"
    assert modality_of("", "Спирометрия", {"Спиро": "HD"}) == "HD"


@pytest.mark.slow
@pytest.mark.parametrize("shape", ["csv", "json"])
def test_fifty_thousand_rows_are_read_quickly(shape: str) -> None:
    rows = [(f"{chr(65 + n % 26)}{n // 26 % 100:02}.{n // 2600:02}", f"Болезнь номер {n}", "1") for n in range(50_000)]
    header = ("MKB_CODE", "MKB_NAME", "ACTUAL")
    data = csv(header, *rows) if shape == "csv" else nsi_json(header, *rows)
    with at_most():
        result = gathered(data)
    assert len(result.entries) == 50_000


@pytest.mark.slow
@pytest.mark.parametrize("shape", ["csv", "xlsx", "json"])
def test_reading_takes_no_more_memory_for_more_rows(shape: str) -> None:
    header = ("MKB_CODE", "MKB_NAME", "ACTUAL")
    made = {"csv": csv, "xlsx": xlsx, "json": nsi_json}[shape]

    def peak(rows: int) -> int:
        data = made(header, *((f"M{n}", f"Название болезни {n}", "1") for n in range(rows)))
        tracemalloc.start()
        for _ in table(data).rows:
            pass
        used = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return used - (rows * 200 if shape == "xlsx" else 0)  # Excel keeps its texts in one piece, apart from the rows

    peak(10)
    assert peak(8_000) < peak(1_000) + (3 << 20)


@given(
    st.lists(
        st.dictionaries(
            st.text(max_size=8), st.text(max_size=300) | st.integers() | st.booleans() | st.none(), max_size=5
        ),
        max_size=30,
    ),
    st.sampled_from([None, 1]),
    st.integers(1, 50),
)
def test_json_is_read_alike_in_pieces_of_any_size(items: list[dict[str, Any]], indent: int | None, chunk: int) -> None:
    data = json.dumps({"a": 12, "list": items, "b": {"c": [1]}}, indent=indent, ensure_ascii=False).encode(
        "utf-8", "replace"
    )
    whole = list(json_stream.read(io.BytesIO(data)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_stream, "_CHUNK", chunk)
        assert list(json_stream.read(io.BytesIO(data))) == whole
    assert len(whole) == len(items)


@given(st.binary(max_size=300) | st.text(max_size=200).map(lambda text: text.encode("utf-8", "replace")))
def test_whatever_is_in_a_file_it_is_read_or_refused(data: bytes) -> None:
    for start in (b"", b"ID;NAME\n", b'[{"ID": "', b"PK\x03\x04"):
        with contextlib.suppress(BadTable):
            gathered(start + data, "body-sites")


def test_insurers_are_read_from_the_register_of_the_fund_and_a_code_has_five_digits() -> None:
    header = ("tf_okato", "smocod", "nam_smop", "nam_smok", "d_end")
    row = ("40000", "78007", "Общество «Городская страховая»", "Городская страховая", "")
    found = only("insurers", header, row)
    assert found == Entry("78007", "Городская страховая", {"full": "Общество «Городская страховая»"})
    assert "five digits" in reason("insurers", header, ("40000", "780071", "Общество", "Общество", ""))
