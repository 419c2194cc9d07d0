"""Tables of referrals are read as people make them; a refused row is reported with its column and the reason."""

from __future__ import annotations

import io
import json
import zipfile
from dataclasses import replace
from datetime import date, datetime, time, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openpyxl import Workbook

from broker.domain.clinic.default_procedures import PROCEDURES
from broker.domain.orders import Priority, ReferralDraft
from broker.domain.patients.people import PersonName, Sex
from broker.imports import order_json, referral_columns, referral_row, spreadsheet
from broker.imports.referral_columns import ReferralRow, ReferralTable
from broker.imports.referral_import import ReferralImport
from broker.imports.referral_row import Catalogue
from broker.imports.table_rows import BadTable
from broker.store.database import Store
from broker.workflow.referrals import referrals
from broker.workflow.referrals.worklist_files import SyncOutcome
from tests.support import factory
from tests.support.factory import CLINIC, DEVICES, KUZNETSOVA, REGISTRAR

CATALOGUE = Catalogue(PROCEDURES, DEVICES)
TODAY = date(2026, 11, 24)
HEADER = ("ФИО", "Дата рождения", "Пол", "Исследование", "Аппарат", "Дата", "Время")
PLAIN = ("Кузнецова Марина Петровна", "12.03.1961", "ж", "WLB-KNEE", "XRAY_14", "25.11.2026", "10:00")


def csv(
    *rows: tuple[str, ...], header: tuple[str, ...] = HEADER, delimiter: str = ";", encoding: str = "utf-8"
) -> bytes:
    return "\r\n".join(delimiter.join(row) for row in (header, *rows)).encode(encoding)


def xlsx(*rows: tuple[Any, ...], **sheets: list[tuple[Any, ...]]) -> bytes:
    book = Workbook()
    for row in rows:
        book.active.append(row)
    for title, more in sheets.items():
        sheet = book.create_sheet(title)
        for row in more:
            sheet.append(row)
    file = io.BytesIO()
    book.save(file)
    return file.getvalue()


def drafts(table: ReferralTable) -> list[ReferralDraft | None]:
    return [referral_row.read(row, table, CATALOGUE, TODAY)[0] for row in table.rows]


def only(data: bytes) -> ReferralDraft:
    [draft] = drafts(referral_columns.read(data))
    assert draft is not None
    return draft


def reasons(**changes: str) -> list[str]:
    """Return the reasons against the plain row with these fields (underlined column names) changed or added."""
    values = {**dict(zip(HEADER, PLAIN, strict=True)), **{key.replace("_", " "): cell for key, cell in changes.items()}}
    table = referral_columns.read(csv(tuple(values.values()), header=tuple(values)))
    return told(table, 0)


def told(table: ReferralTable, row: int) -> list[str]:
    return [each.text for each in referral_row.read(table.rows[row], table, CATALOGUE, TODAY)[1]]


# ---- the whole import ----


def namesakes(store: Store) -> None:
    for snils in ("11223344595", "08765430300"):
        patient = replace(KUZNETSOVA, snils=snils, policy="")
        store.write(referrals.register, factory.draft(patient=patient), REGISTRAR, CLINIC)


def test_a_row_that_means_several_people_is_refused_with_the_reason_and_the_others_are_taken(store: Store) -> None:
    namesakes(store)
    numbered = (*PLAIN, "112-233-445 95")
    table = referral_columns.read(csv((*PLAIN, ""), numbered, header=(*HEADER, "СНИЛС")))
    refused, taken = ReferralImport(store, REGISTRAR, CLINIC).run(table, "/lists/a.csv")
    assert refused.reasons == (
        "«ФИО»: means several patients here: give a number (СНИЛС, policy, card number)"
        " (found «Кузнецова Марина Петровна»)",
    )
    assert taken.outcome is SyncOutcome.ADDED


UNKNOWN = ("Неизвестный", "неизвестна", "м", *PLAIN[3:])
TWIN = ("Иванова девочка", "24.11.2026", "ж", *PLAIN[3:])


def load(
    store: Store, *rows: tuple[str, ...], path: str = "/lists/a.csv", header: tuple[str, ...] = HEADER
) -> list[str]:
    table = referral_columns.read(csv(*rows, header=header))
    return [each.outcome for each in ReferralImport(store, REGISTRAR, CLINIC).run(table, path)]


def people(store: Store) -> int:
    with store.read() as reader:
        found = reader.one("SELECT count(*) AS orders, count(DISTINCT patient_id) AS cards FROM orders")
    assert found is not None
    assert found["orders"] == found["cards"]
    return int(found["orders"])


@pytest.mark.parametrize("row", [UNKNOWN, TWIN])
def test_two_without_a_name_at_one_time_are_two_people_and_the_same_table_again_makes_no_more(
    store: Store, row: tuple[str, ...]
) -> None:
    assert load(store, row, PLAIN, row) == ["added"] * 3
    assert load(store, PLAIN, row, row) == ["unchanged"] * 3
    assert load(store, row, row, row) == ["unchanged", "unchanged", "added"]
    assert load(store, row, path="/lists/b.csv") == ["added"]  # of another ward, at the same time
    assert load(store, row, path="/lists/b.csv") == ["unchanged"]
    assert people(store) == 5


@pytest.mark.parametrize(("column", "number"), [("Номер карты", "777"), ("СНИЛС", "112-233-445 95")])
def test_a_number_says_that_two_without_a_name_are_one(store: Store, column: str, number: str) -> None:
    row = (*UNKNOWN, number)
    header = (*HEADER, column)
    assert load(store, row, row, header=header) == ["added", "refused"]
    assert load(store, row, path="/lists/b.csv", header=header) == ["unchanged"]
    assert people(store) == 1


@pytest.mark.slow
@settings(max_examples=25, deadline=None)
@given(
    tables=st.lists(
        st.tuples(st.sampled_from("ab"), st.lists(st.sampled_from([UNKNOWN, TWIN]), min_size=1, max_size=4)),
        min_size=1,
        max_size=5,
    )
)
def test_as_many_are_there_as_one_version_of_each_table_has_at_most(
    tmp_path_factory: pytest.TempPathFactory, tables: list[tuple[str, list[tuple[str, ...]]]]
) -> None:
    store = factory.open_store(tmp_path_factory.mktemp("tables") / "worklist.sqlite")
    try:
        for path, rows in tables:
            load(store, *rows, path=f"/lists/{path}.csv")
        expected = sum(
            max((rows.count(row) for path, rows in tables if path == each), default=0)
            for each in "ab"
            for row in (UNKNOWN, TWIN)
        )
        assert people(store) == expected
    finally:
        store.close()


# ---- the file ----


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "cp1251", "utf-16"])
@pytest.mark.parametrize("delimiter", [";", ",", "\t"])
def test_csv_is_read_in_the_encodings_and_with_the_separators_that_programs_write(
    encoding: str, delimiter: str
) -> None:
    draft = only(csv(PLAIN, delimiter=delimiter, encoding=encoding))
    assert draft.patient.name == PersonName("Кузнецова", "Марина", "Петровна")
    assert (draft.patient.birth_date, draft.patient.sex) == (date(1961, 3, 12), Sex.FEMALE)
    assert (draft.procedure_code, draft.station_ae_titles) == ("WLB-KNEE", ("XRAY_14",))
    assert draft.start == datetime(2026, 11, 25, 10, 0)


def test_quotes_and_separators_within_cells_are_understood() -> None:
    row = (*PLAIN, '"Просит ""побыстрее""; хромает\r\nна правую"')
    assert only(csv(row, header=(*HEADER, "Комментарий"))).comment == 'Просит "побыстрее"; хромает на правую'


def test_column_names_are_known_in_russian_and_english_however_they_are_written() -> None:
    header = ("NAME", " date_of  birth", "Gender:", "Procedure", "AE Title", "Start", "CITO!")
    row = ("Kuznetsova Marina", "1961-03-12", "F", "wlb-knee", "XRAY_14", "2026-11-25T10:00", "+")
    draft = only(csv(row, header=header, delimiter=","))
    assert (draft.patient.name, draft.priority) == (PersonName("Kuznetsova", "Marina"), Priority.URGENT)
    assert draft.start == datetime(2026, 11, 25, 10, 0)


def test_a_title_above_and_blank_rows_are_passed_over_and_rows_keep_their_numbers() -> None:
    lines = [("Запись на завтра",), (), HEADER, PLAIN, (), PLAIN]
    data = "\n".join(";".join(line) for line in lines).encode()
    assert [row.number for row in referral_columns.read(data).rows] == [4, 6]


def test_unknown_columns_are_named() -> None:
    table = referral_columns.read(csv((*PLAIN, "x", "y"), header=(*HEADER, "цвет", "обувь")))
    assert table.unknown == ("цвет", "обувь")
    assert None not in drafts(table)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "no row of column names"),
        (b"\x00\x01\x02", "neither XLSX nor text"),
        (b"hello\nworld", "no row of column names"),
        (csv(PLAIN[:6], header=(*HEADER[:5], "Пол")), "«Пол» and «Пол» mean the same"),
        (csv((*PLAIN, "x"), header=(*HEADER, "гендер", "sex")), "«Пол» and «sex» mean the same"),
        (csv(PLAIN[1:], header=HEADER[1:]), r"columns are missing: фио \(name\)"),
        (csv(PLAIN[:5], header=HEADER[:5]), r"columns are missing: дата и время \(start\)"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "old Excel file"),
        (b"PK\x03\x04 broken", "damaged"),
    ],
)
def test_what_is_not_a_table_of_referrals_is_refused_as_a_whole(data: bytes, reason: str) -> None:
    with pytest.raises(BadTable, match=reason):
        referral_columns.read(data)


def test_a_table_is_not_larger_than_a_person_can_mean(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(referral_columns, "MAX_ROWS", 3)
    assert len(referral_columns.read(csv(*[PLAIN] * 3)).rows) == 3
    with pytest.raises(BadTable, match="more than 3 rows"):
        referral_columns.read(csv(*[PLAIN] * 4))
    with pytest.raises(BadTable, match="more than 3 rows"):
        referral_columns.read(csv() + b"\n" * 40)
    with pytest.raises(BadTable, match="more than 200 cells"):
        referral_columns.read(csv(("x",) * 201))
    monkeypatch.setattr(referral_columns, "MAX_BYTES", 10)
    with pytest.raises(BadTable, match="larger"):
        referral_columns.read(csv(PLAIN))


# ---- XLSX ----


def test_an_excel_sheet_has_real_dates_and_numbers() -> None:
    header = (*HEADER, "СНИЛС", "Полис", "Вес", "Рост", "Срочно")
    row = (
        "Кузнецова Марина Петровна",
        datetime(1961, 3, 12),
        "Ж",
        "WLB-KNEE",
        "Рентген",
        date(2026, 11, 25),
        time(10, 0),
        11223344595,
        7800000012345671,
        70.5,
        165,
        True,
    )
    table = referral_columns.read(xlsx(header, row))
    assert table.rows[0].values["snils"] == "11223344595"
    assert table.rows[0].values["height"] == "165"
    [draft] = drafts(table)
    assert draft is not None
    assert (draft.patient.policy, draft.patient.weight) == ("7800000012345671", 70.5)
    assert (draft.start, draft.priority) == (datetime(2026, 11, 25, 10, 0), Priority.URGENT)
    assert draft.station_ae_titles == ("XRAY_14",)


@pytest.mark.parametrize("column", ["СМО", "Страховая компания", "Страховая"])
def test_the_insurer_of_the_policy_may_be_a_column(column: str) -> None:
    draft = only(csv((*PLAIN, "7800000012345671", "78007 Городская страховая"), header=(*HEADER, "ЕНП", column)))
    assert draft.patient.insurer == "78007 Городская страховая"  # in its stored form as the use case takes it


def test_a_start_may_be_one_cell_and_a_time_a_length_of_time() -> None:
    header = (*HEADER[:5], "Дата и время")
    assert only(xlsx(header, (*PLAIN[:5], datetime(2026, 11, 25, 9, 30)))).start == datetime(2026, 11, 25, 9, 30)
    assert only(xlsx(HEADER, (*PLAIN[:6], timedelta(hours=9, minutes=30)))).start == datetime(2026, 11, 25, 9, 30)


def test_only_the_first_sheet_is_read_and_the_others_are_named() -> None:
    table = referral_columns.read(xlsx(HEADER, PLAIN, Справка=[("x",)]))
    assert (table.sheet, table.unread_sheets) == ("Sheet", ("Справка",))


def test_formulas_count_by_their_last_value_and_their_errors_are_reported() -> None:
    table = referral_columns.read(xlsx(HEADER, (*PLAIN[:6], "=1+1"), ("#N/A", *PLAIN[1:])))
    assert told(table, 0) == ["«Время»: is missing"]
    assert told(table, 1)[0] == "«ФИО»: holds an error of the spreadsheet: correct the formula (found «#N/A»)"


def test_zeros_that_a_spreadsheet_took_from_a_snils_come_back() -> None:
    header, row = (*HEADER, "СНИЛС"), (*PLAIN, 8765430200)
    assert only(xlsx(header, row)).patient.snils == "08765430200"


def test_an_archive_that_unpacks_to_too_much_is_not_unpacked(monkeypatch: pytest.MonkeyPatch) -> None:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("xl/workbook.xml", b"\0" * 2_000_000)
    monkeypatch.setattr(spreadsheet, "MAX_UNPACKED", 1_000_000)
    with pytest.raises(BadTable, match="unpacks to more"):
        referral_columns.read(file.getvalue())


def test_an_archive_that_is_not_a_workbook_is_refused() -> None:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("hello.txt", "x")
    with pytest.raises(BadTable, match="not an XLSX"):
        referral_columns.read(file.getvalue())


@given(st.binary(max_size=400))
def test_random_bytes_are_refused_and_nothing_else_happens(data: bytes) -> None:
    for start in (b"", b"PK\x03\x04", "ФИО;Дата рождения;пол\n".encode()):
        with pytest.raises(BadTable):
            referral_columns.read(start + data)


# ---- the rows ----


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"ФИО": ""}, "«ФИО»: is missing"),
        ({"Дата_рождения": "31.02.1961"}, "«Дата рождения»: is not a date such as 12.03.1961 (found «31.02.1961»)"),
        ({"Дата_рождения": "12.03.61"}, "«Дата рождения»: is not a date such as 12.03.1961 (found «12.03.61»)"),
        ({"Дата_рождения": "03/12/1961"}, "«Дата рождения»: is not a date such as 12.03.1961 (found «03/12/1961»)"),
        (
            {"Дата_рождения": ""},
            "«Дата рождения»: is missing: write the year alone, or «неизвестна», where no more is known",
        ),
        ({"Пол": "х"}, "«Пол»: is neither м nor ж (found «х»)"),
        (
            {"Исследование": "Рентген"},
            "«Исследование»: is not in the directory: write its code or its whole name (found «Рентген»)",
        ),
        (
            {"Аппарат": "КТ"},
            "«Аппарат»: is not a registered device: write its AE title or its name (found «КТ»)",
        ),
        (
            {"Аппарат": "XRAY_14, КТ"},
            "«Аппарат»: is not a registered device: write its AE title or its name (found «XRAY_14, КТ»)",
        ),
        ({"Дата": ""}, "«Дата»: is missing"),
        ({"Время": "25:00"}, "«Время»: is not a time such as 10:00 (found «25:00»)"),
        ({"Срочно": "может быть"}, "«Срочно»: is not understood: write да or нет (found «может быть»)"),
        (
            {"Оплата": "в долг"},
            "«Оплата»: is not understood: write омс, дмс, платно, бюджет, собственные or другое (found «в долг»)",
        ),
        ({"Сторона": "верх"}, "«Сторона»: is not understood: write справа, слева or обе (found «верх»)"),
        ({"Вес": "много"}, "«Вес»: is not a number (found «много»)"),
    ],
)
def test_a_wrong_cell_is_reported_by_its_column_and_reason(changes: dict[str, str], reason: str) -> None:
    assert reasons(**changes) == [reason]


def test_all_that_is_wrong_with_a_row_is_reported_at_once() -> None:
    assert reasons(ФИО="Иванов1 Иван", Пол="", Исследование="?", СНИЛС="112-233-445 94", Вес="900") == [
        "«Пол»: is missing",
        "«Исследование»: is not in the directory: write its code or its whole name (found «?»)",
        "«ФИО»: has characters that a name does not have (found «Иванов1 Иван»)",
        "«СНИЛС»: has a wrong check digit: compare it with the document (found «112-233-445 94»)",
        "«Вес»: is out of reason (found «900»)",
    ]


def test_more_cells_than_columns_are_a_reason() -> None:
    table = referral_columns.read(csv((*PLAIN, "x")))
    assert told(table, 0) == ["there are more cells than columns: put a cell with a separator in it into quotes"]


def test_every_column_finds_its_field() -> None:
    header = (
        "фамилия", "имя", "отчество", "д.р.", "пол", "№ карты", "СНИЛС", "ЕНП", "тел.", "вес, кг", "рост (см)",
        "аллергии", "беременность", "услуга", "оборудование", "дата и время", "сторона", "срочность", "финансирование",
        "врач", "СНИЛС врача", "должность", "МКБ-10", "описание диагноза", "примечание",
    )  # fmt: skip
    row: tuple[str, ...] = (
        "Иванов", "Иван", "оглы Али", "1.2.1980", "муж.", "17", "112-233-445 95", "7800 0000 1234 5671", "+7 900",
        "80,5", "180 см", "йод", "нет", "Рентгенография коленного сустава", "XRAY_14; FLG_12", "25.11.2026 9.30",
        "справа", "срочно", "дмс", "Зимин Андрей Павлович", "11223344595", "терапевт", "м17.1 гонартроз", "справа",
        "хромает",
    )  # fmt: skip
    name = next(each for each in PROCEDURES if each.code == "WLB-KNEE").name
    row = tuple(name if cell.startswith("Рентгенография") else cell for cell in row)
    draft = only(csv(row, header=header, delimiter="\t"))
    patient = draft.patient
    assert patient.name == PersonName("Иванов", "Иван", "оглы Али")
    assert (patient.birth_date, patient.sex, patient.patient_id) == (date(1980, 2, 1), Sex.MALE, "17")
    assert (patient.snils, patient.policy, patient.phone) == ("11223344595", "7800000012345671", "+7 900")
    assert (patient.weight, patient.height) == (80.5, 180)
    assert (patient.allergies, patient.pregnancy) == ("йод", "нет")
    assert (draft.procedure_code, draft.station_ae_titles) == ("WLB-KNEE", ("XRAY_14", "FLG_12"))
    assert (draft.start, draft.laterality, draft.priority) == (datetime(2026, 11, 25, 9, 30), "R", Priority.URGENT)
    assert (draft.finance, draft.referrer) == ("4", PersonName("Зимин", "Андрей", "Павлович"))
    assert (draft.referrer_snils, draft.referrer_position) == ("11223344595", "терапевт")
    assert (draft.diagnosis_code, draft.diagnosis_text) == ("м17.1", "гонартроз справа")
    assert draft.comment == "хромает"


def test_the_same_row_has_one_submission_id_in_every_format() -> None:
    first = only(csv(PLAIN)).submission_id
    assert first == only(xlsx(HEADER, (PLAIN[0], datetime(1961, 3, 12), *PLAIN[2:]))).submission_id
    assert first == only(csv(tuple(reversed(PLAIN)), header=tuple(reversed(HEADER)), delimiter="\t")).submission_id
    assert first != only(csv((*PLAIN[:6], "10:10"))).submission_id


def test_the_use_cases_problems_are_reported_in_the_tables_words() -> None:
    columns = {"name": "ФИО", "date": "Дата", "station": "Аппарат"}
    problems = {"given": "required", "date": "past", "device": "other_modality", "snils": "other_patient"}
    row = ReferralRow(2, {"name": "", "date": "24.11.2020", "station": "КТ"})
    assert [each.text for each in referral_row.explained(problems, columns, row)] == [
        "«ФИО»: is missing",
        "«Дата»: is over: write a day to come (found «24.11.2020»)",
        "«Аппарат»: does another kind of examination (found «КТ»)",
        "снилс: belongs to another patient here",
    ]


# ---- people who are not fully known ----


@pytest.mark.parametrize(
    ("name", "born", "patient"),
    [
        ("Сухарто", "12.03.1961", (PersonName("Сухарто"), date(1961, 3, 12))),
        ("Сухарто —", "12.03.1961", (PersonName("Сухарто"), date(1961, 3, 12))),
        ("'т Хоофт Герард", "1961", (PersonName("'т Хоофт", "Герард"), 1961)),
        ("Ким Анна", "1961 г. р.", (PersonName("Ким", "Анна"), 1961)),
        ("Ким Анна", "неизвестна", (PersonName("Ким", "Анна"), None)),
        ("Ким Анна", "-", (PersonName("Ким", "Анна"), None)),
        ("Неизвестный №3", "нет", (PersonName("Неизвестный", "№3"), None)),
        ("Неизвестный №3", "", (PersonName("Неизвестный", "№3"), None)),
        ("Иванова новорождённая", "01.11.2026", (PersonName("Иванова", "новорождённая"), date(2026, 11, 1))),
    ],
)
def test_somebody_who_is_not_fully_known_is_registered(
    store: Store, name: str, born: str, patient: tuple[PersonName, date | int | None]
) -> None:
    data = csv((name, born, *PLAIN[2:], "Иванова Мария"), header=(*HEADER, "Мать"))
    order = store.write(referrals.register, only(data), REGISTRAR, CLINIC)
    assert (order.patient.name, order.patient.born) == patient
    assert order.patient.mother == "Иванова Мария"


def test_an_empty_cell_for_the_given_name_may_have_been_forgotten() -> None:
    header = ("Фамилия", "Имя", *HEADER[1:])

    def of(given: str) -> list[str]:
        table = referral_columns.read(csv(("Сухарто", given, *PLAIN[1:]), header=header))
        return [each.text for each in referral_row.read(table.rows[0], table, CATALOGUE, TODAY)[1]]

    assert of("") == ["«Имя»: is missing: write a dash for somebody who has one name only"]
    assert of("-") == of("Хаджи") == []


@pytest.mark.parametrize(
    ("written", "born"), [("1961-03-12", date(1961, 3, 12)), ("1961", 1961), (1961, 1961), (None, None)]
)
def test_json_says_as_much_of_a_birth_date_as_is_known(written: object, born: date | int | None) -> None:
    [draft] = order_json.read(as_json(written))
    assert (draft.patient.name, draft.patient.born) == (PersonName("Сухарто"), born)


@pytest.mark.parametrize("written", ["12.03.1961", 12, "", 1961.5, True])
def test_json_with_another_birth_date_is_refused(written: object) -> None:
    with pytest.raises(order_json.BadJson, match="must be a date such as 1961-03-12, a year, or null"):
        order_json.read(as_json(written))


def as_json(birth_date: object) -> bytes:
    person = {"name": "Сухарто", "birth_date": birth_date, "sex": "M"}
    stated = {"patient": person, "procedure": "WLB-KNEE", "stations": ["XRAY_14"], "start": "2026-11-25T10:00"}
    return json.dumps(stated).encode()
