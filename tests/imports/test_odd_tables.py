"""Tables as 1C, Excel and other programs write them are taken as they are meant, or refused with row and reason."""

from __future__ import annotations

import io
from datetime import date, datetime, time, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openpyxl import Workbook
from openpyxl.utils.datetime import CALENDAR_MAC_1904, to_excel

from broker.domain import validation
from broker.domain.clinic.default_procedures import PROCEDURES
from broker.domain.errors import Invalid
from broker.domain.import_result import ImportResult
from broker.domain.orders import ReferralDraft
from broker.domain.patients.people import PersonName, Sex
from broker.imports import order_json, referral_columns, referral_row
from broker.imports.referral_import import ReferralImport, read_table
from broker.imports.referral_row import Catalogue
from broker.imports.table_rows import BadTable
from broker.store.database import Store
from broker.workflow.referrals import referrals
from tests.imports import raw_xlsx
from tests.support.factory import CLINIC, DEVICES, REGISTRAR

INPUTS = Path(__file__).parent / "inputs"
CATALOGUE = Catalogue(PROCEDURES, DEVICES)
TODAY = date(2026, 11, 24)
HEADER = ("ФИО", "Дата рождения", "Пол", "СНИЛС", "Исследование", "Аппарат", "Дата", "Время", "Комментарий")
PLAIN = ("Кузнецова Анна Ильинична", "12.03.1961", "ж", "", "WLB-KNEE", "XRAY_14", "01.12.2026", "10:00", "")
BORN, START = date(1961, 3, 12), datetime(2026, 12, 1, 10)


def csv(*rows: tuple[str, ...], header: tuple[str, ...] = HEADER) -> bytes:
    return "\r\n".join(";".join(row) for row in (header, *rows)).encode()


def changed(**changes: Any) -> tuple[Any, ...]:
    """Return the plain row with other cells, by the names of the columns, underlined."""
    return tuple(
        {**dict(zip(HEADER, PLAIN, strict=True)), **{k.replace("_", " "): v for k, v in changes.items()}}.values()
    )


def xlsx(*rows: tuple[Any, ...], epoch: datetime | None = None) -> bytes:
    book = Workbook()
    if epoch:
        book.epoch = epoch
    for row in (HEADER, *rows):
        book.active.append(row)
        for cell in book.active[book.active.max_row]:
            if isinstance(cell.value, str):
                cell.data_type = "s"  # also what would be a formula
    return saved(book)


def saved(book: Workbook) -> bytes:
    file = io.BytesIO()
    book.save(file)
    return file.getvalue()


def read(data: bytes) -> list[ReferralDraft | list[str]]:
    """Return the referral of each row, or the reasons why it is refused."""
    table = referral_columns.read(data)
    found: list[ReferralDraft | list[str]] = []
    for row in table.rows:
        draft, reasons, _ = referral_row.read(row, table, CATALOGUE, TODAY)
        if draft:
            problems = validation.referral_problems(draft, datetime.combine(TODAY, time()))
            reasons = referral_row.explained(problems, table.columns, row)
        found.append([each.text for each in reasons] if reasons or not draft else draft)
    return found


def only(data: bytes) -> ReferralDraft:
    [found] = read(data)
    assert isinstance(found, ReferralDraft), found
    return found


def why(data: bytes) -> list[str]:
    [found] = read(data)
    assert isinstance(found, list), found
    return found


def imported(store: Store, name: str) -> list[ImportResult]:
    path = INPUTS / name
    return list(ReferralImport(store, REGISTRAR, CLINIC).run(read_table(path), str(path)))


def starts(store: Store) -> list[tuple[str, str, str | None, str]]:
    sql = """SELECT p.family, p.birth_date, p.snils, s.start FROM scheduled_step s
             JOIN orders o ON o.id = s.order_id JOIN patient p ON p.id = o.patient_id ORDER BY s.start"""
    with store.read() as reader:
        return [(row["family"], row["birth_date"], row["snils"], row["start"]) for row in reader.rows(sql)]


VOROBYEVA = ("Воробьёва", "1961-03-12", "11223344595", "2026-12-01T10:00:00")


# ---- files with which other programs were reported to stumble ----


@pytest.mark.parametrize(
    "name",
    [
        *("dates_of_1c.csv", "guards_of_formulas.csv"),
        *("serials.xlsx", "time_is_datetime.xlsx", "shared_strings_of_1c.xlsx"),
    ],
)
def test_a_reported_file_is_taken_as_it_is_meant(store: Store, name: str) -> None:
    assert [each.outcome for each in imported(store, name)] == ["added"]
    assert starts(store) == [VOROBYEVA]


def test_times_of_1c_and_excel_have_a_date_that_is_none(store: Store) -> None:
    taken, other = imported(store, "times_of_1c.csv")
    assert taken.outcome == "added"
    assert starts(store) == [VOROBYEVA]
    assert "belongs to somebody here who differs in name" in other.reasons[0]
    assert only(csv(changed(Время="30.12.1899 11:00:00"))).start == datetime(2026, 12, 1, 11)


def test_a_guard_of_zeros_is_no_part_of_a_number(store: Store) -> None:
    taken, *others = imported(store, "guards.csv")  # one number in three guards, and three people
    assert taken.outcome == "added"
    assert starts(store) == [VOROBYEVA]
    assert ["belongs to somebody here" in each.reasons[0] for each in others] == [True, True]


def test_a_stray_quote_costs_its_row_only(store: Store) -> None:
    refused, taken = imported(store, "stray_quote.csv")
    assert (refused.where, refused.reasons) == (
        "row 2",
        (
            "«Комментарий»: has a quote in the wrong place: remove it, or double it and put the whole cell into quotes"
            ' (found «"Срочно" позвонить»)',
        ),
    )
    assert (taken.where, taken.outcome) == ("row 3", "added")
    assert starts(store) == [("Дроздов", "1961-03-12", None, "2026-12-01T11:20:00")]


def test_a_single_name_is_taken(store: Store) -> None:
    assert [each.outcome for each in imported(store, "mononym.csv")] == ["added"]


def test_a_card_number_in_json_that_no_device_can_take_is_refused(store: Store) -> None:
    [draft] = order_json.read((INPUTS / "order_card_number_70.json").read_bytes())
    with pytest.raises(Invalid, match="patient_id: too_long"):
        store.write(referrals.register, draft, REGISTRAR, CLINIC)


# ---- dates and times ----


@pytest.mark.parametrize(
    "born",
    [
        "12.03.1961 0:00:00",
        "12.03.1961 00:00",
        "12.03.1961 г.",
        "1961-03-12T00:00:00.000",
        "'12.03.1961",
        '="12.03.1961"',
    ],
)
def test_a_birth_date_may_have_the_time_that_programs_add(born: str) -> None:
    assert only(csv(changed(Дата_рождения=born))).patient.birth_date == BORN


@pytest.mark.parametrize(
    ("born", "reason"),
    [
        ("11.03.1961 21:00:00", "is not a date such as 12.03.1961 (found «11.03.1961 21:00:00»)"),  # a zone was lost
        (
            "01.01.0001 0:00:00",
            "is missing: write the year alone, or «неизвестна», where no more is known (found «01.01.0001 0:00:00»)",
        ),
        ("22352", "is not a date such as 12.03.1961 (found «22352»)"),  # in CSV nothing says that these are days
    ],
)
def test_a_birth_date_that_may_be_another_day_is_refused(born: str, reason: str) -> None:
    assert why(csv(changed(Дата_рождения=born))) == [f"«Дата рождения»: {reason}"]


@pytest.mark.parametrize(
    ("day", "at"),
    [
        ("01.12.2026 10:00:00", ""),
        ("2026-12-01 10:00", "10:00"),
        ("01.12.2026 0:00:00", "01.01.0001 10:00:00"),
        ("01.12.2026", "01.12.2026 10:00"),
        ("01.12.2026", "10.00"),
        (datetime(2026, 12, 1), time(10)),
        (datetime(2026, 12, 1, 10), None),
        (datetime(2026, 12, 1, 10), time(10)),
        (date(2026, 12, 1), datetime(2026, 12, 1, 10)),
        (date(2026, 12, 1), timedelta(hours=10)),
        (46357, 10 / 24),
        (46357, 0.41666),  # rounded by the program that wrote it
        (46357.41667, None),
        (46357, 46357 + 10 / 24),
    ],
)
def test_a_start_is_read_from_whatever_its_cells_hold(day: Any, at: Any) -> None:
    row = changed(Дата=day, Время=at)
    assert only(xlsx(row)).start == START
    if isinstance(day, str):
        assert only(csv(row)).start == START


@pytest.mark.parametrize(
    ("day", "at", "reason"),
    [
        ("01.12.2026", "02.12.2026 10:00", "«Время»: is not a time such as 10:00 (found «02.12.2026 10:00»)"),
        ("01.12.2026", "01.12.2026 0:00:00", "«Время»: is not a time such as 10:00 (found «01.12.2026 0:00:00»)"),
        ("01.12.2026", "01.01.0001 0:00:00", "«Время»: is missing (found «01.01.0001 0:00:00»)"),
        ("01.12.2026 10:00", "11:00", "«Дата»: is not a date such as 24.11.2026 (found «01.12.2026 10:00»)"),
        ("30.12.1899 10:00", "", "«Дата»: is not a date such as 24.11.2026 (found «30.12.1899 10:00»)"),
        (46357, 10, "«Время»: is not a time such as 10:00 (found «10»)"),
        (46357, 10.25, "«Время»: is not a time such as 10:00 (found «10.25»)"),
        (-5, time(10), "«Дата»: is not a date such as 24.11.2026 (found «-5»)"),
        (1e300, time(10), "is not a date such as 24.11.2026"),
    ],
)
def test_a_start_that_its_cells_leave_open_is_refused(day: Any, at: Any, reason: str) -> None:
    assert any(reason in each for each in why(xlsx(changed(Дата=day, Время=at))))


def test_days_of_the_mac_are_counted_from_1904() -> None:
    days, born = (to_excel(each, CALENDAR_MAC_1904) for each in (datetime(2026, 12, 1), datetime(1961, 3, 12)))
    draft = only(xlsx(changed(Дата=days, Дата_рождения=born), epoch=CALENDAR_MAC_1904))
    assert (draft.start, draft.patient.birth_date) == (START, BORN)


@pytest.mark.parametrize(("written", "born"), [(1961, 1961), (1899, 1899), (22352, BORN), (9000, date(1924, 8, 21))])
def test_a_number_in_a_column_of_birth_dates_is_a_year_or_a_day(written: int, born: date | int) -> None:
    [found] = read(xlsx(changed(Дата_рождения=written)))
    if born == 1899:
        assert found == ["«Дата рождения»: is too long ago (found «1899»)"]
    else:
        assert isinstance(found, ReferralDraft)
        assert found.patient.born == born


# ---- quotes ----

_OTHER = changed(ФИО="Дроздов Олег Ильич", Пол="м")


@pytest.mark.parametrize(
    "comments",
    [
        ('"Срочно" позвонить', ""),
        ('"Срочно', ""),
        ('"Срочно', 'позвонить"'),  # two that seem one cell over two lines
        ('"', '"'),
        (' "ООО" Ромашка"', ""),
    ],
)
def test_a_misplaced_quote_spoils_no_other_row(comments: tuple[str, str]) -> None:
    rows = [changed(Комментарий=comments[0]), _OTHER, changed(Комментарий=comments[1], ФИО="Ким Анна"), _OTHER]
    found = read(csv(*rows))
    assert len(found) == 4
    for row in (found[1], found[3]):
        assert isinstance(row, ReferralDraft)
        assert row.patient.name.family == "Дроздов"
    first = found[0]
    assert isinstance(first, ReferralDraft) or "has a quote in the wrong place" in first[0]


def test_quotes_where_they_belong_hold_lines_and_separators() -> None:
    row = changed(Комментарий='"первое; второе\r\nООО ""Ромашка""; третье"')
    first, second = read(csv(row, _OTHER))
    assert isinstance(first, ReferralDraft)
    assert first.comment == 'первое; второе ООО "Ромашка"; третье'
    assert isinstance(second, ReferralDraft)


# ---- words and columns ----


@pytest.mark.parametrize(
    ("written", "sex"),
    [
        *((word, Sex.FEMALE) for word in ("ж.", "Ж", "жен.", "женский", "ЖЕНЩИНА", "девочка", "2", 2)),
        *((word, Sex.MALE) for word in ("м.", "муж", "мужской", "Мужчина", "мальчик", "1", 1)),
    ],
)
def test_a_sex_is_a_word_or_its_official_code(written: str | int, sex: Sex) -> None:
    assert only(xlsx(changed(Пол=written))).patient.sex is sex


def test_codes_that_count_from_0_are_refused_and_words_are_not() -> None:
    found = read(csv(changed(Пол="0"), changed(Пол="1"), changed(Пол="ж")))
    assert found[0] == ["«Пол»: is neither м nor ж (found «0»)"]
    assert found[1] == ["«Пол»: is a code, and with 0 among them it is open which sex it is: write м or ж (found «1»)"]
    assert isinstance(found[2], ReferralDraft)


def test_the_doctor_who_refers_is_not_the_one_who_examines() -> None:
    header = (*HEADER, "Врач", "Направивший врач")
    table = referral_columns.read(csv((*PLAIN, "Орлов Павел Ильич", "Зимин Андрей Павлович"), header=header))
    draft, _, _ = referral_row.read(table.rows[0], table, CATALOGUE, TODAY)
    assert draft is not None
    assert draft.referrer == PersonName("Зимин", "Андрей", "Павлович")
    assert table.unknown == ("Врач",)
    assert only(csv((*PLAIN, "Орлов Павел"), header=(*HEADER, "Врач"))).referrer == PersonName("Орлов", "Павел")


def test_a_code_beside_its_name_is_what_is_read() -> None:
    header = (*HEADER, "Код услуги", "Диагноз", "Код МКБ")
    row = (*changed(Исследование="Снимок колена"), "WLB-KNEE", "Гонартроз", "M17.1")
    draft = only(csv(row, header=header))
    assert (draft.procedure_code, draft.diagnosis_code, draft.diagnosis_text) == ("WLB-KNEE", "M17.1", "Гонартроз")


def test_two_columns_of_the_same_meaning_are_refused_with_what_to_do() -> None:
    with pytest.raises(BadTable, match="«Врач» and «doctor» mean the same: remove one of them"):
        referral_columns.read(csv((*PLAIN, "", ""), header=(*HEADER, "Врач", "doctor")))


@pytest.mark.parametrize(
    "dash", ["\u2010", "\u2011", "\u2013", "\u2014", "\u2212", "\u2043", "\ufe63", "\u058a", "\u00a0"]
)
def test_any_dash_and_blank_divides_a_number(dash: str) -> None:
    assert only(csv(changed(СНИЛС=f"112{dash}233{dash}445\u202f95"))).patient.snils == "11223344595"


# ---- workbooks ----


@pytest.mark.parametrize(
    "stored",
    [
        {"xl/sharedStrings.xml": "xl/SharedStrings.xml"},
        {"xl/worksheets/sheet1.xml": "xl/worksheets/Sheet1.xml"},
        {"xl/workbook.xml": "XL/Workbook.XML"},
        {"[Content_Types].xml": "[content_types].xml", "_rels/.rels": "_RELS/.rels"},
    ],
)
def test_parts_are_found_whatever_the_case_of_their_names(stored: dict[str, str]) -> None:
    assert only(raw_xlsx.write([HEADER, PLAIN], stored=stored)).start == START
    assert only(raw_xlsx.write([HEADER, PLAIN], stored=stored, backslashes=True)).start == START


def sheets(**rows: list[tuple[Any, ...]]) -> Workbook:
    book = Workbook()
    book.remove(book.active)
    for title, each in rows.items():
        sheet = book.create_sheet(title)
        for row in each:
            sheet.append(row)
    return book


def test_the_first_visible_sheet_with_a_header_is_read_and_named() -> None:
    book = sheets(
        Черновик=[HEADER, changed(ФИО="Не Тот")],
        Титул=[("Запись на рентген",), ("Поликлиника",)],
        Врачи=[("Фамилия", "Имя"), ("Зимин", "Андрей")],
        Запись=[HEADER, PLAIN],
        Завтра=[HEADER, _OTHER],
    )
    book["Черновик"].sheet_state = "hidden"
    book.active = 3
    data = saved(book)
    assert only(data).patient.name.family == "Кузнецова"
    table = referral_columns.read(data)
    assert (table.sheet, table.unread_sheets) == ("Запись", ("Черновик", "Титул", "Врачи", "Завтра"))


def test_a_sheet_that_lacks_a_column_is_named_by_what_it_lacks() -> None:
    with pytest.raises(BadTable, match=r"columns are missing: пол \(sex\)"):
        referral_columns.read(saved(sheets(Титул=[("Запись",)], Запись=[HEADER[:2] + HEADER[4:], ("x",)])))
    with pytest.raises(BadTable, match="no row of column names is found in the sheet «Титул»"):
        referral_columns.read(saved(sheets(Титул=[("Запись",)], Пусто=[])))


# ---- whatever else may happen ----


def test_an_unexpected_failure_of_a_row_is_its_refusal(
    store: Store, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    real = referral_row.read

    def failing(row: Any, *rest: Any) -> Any:
        if row.number == 2:
            raise ZeroDivisionError(row.values["name"])
        return real(row, *rest)

    monkeypatch.setattr(referral_row, "read", failing)
    table = referral_columns.read(csv(PLAIN, _OTHER))
    failed, taken = ReferralImport(store, REGISTRAR, CLINIC).run(table, "/lists/a.csv")
    assert failed.reasons == ("the row could not be read or kept: report it to the administrator (ZeroDivisionError)",)
    assert taken.outcome == "added"
    assert "Кузнецова" not in caplog.text
    with store.read() as reader:
        assert reader.value("SELECT count(*) FROM import_refusal WHERE row = 2") == 1


# Column -> what it may hold that means the plain row.
_CLEAR: dict[str, list[Any]] = {
    "Дата рождения": ["12.03.1961", "12.03.1961 0:00:00", "1961-03-12T00:00:00", datetime(1961, 3, 12), BORN, 22352],
    "Пол": ["ж", "Ж.", "жен.", "Женский", "женщина", "2", 2],
    "СНИЛС": ["112-233-445 95", "112\u2011233\u2011445\u00a095", '="11223344595"', "'11223344595", 11223344595],
    "Дата": ["01.12.2026", "01.12.2026 0:00:00", date(2026, 12, 1), datetime(2026, 12, 1), 46357],
    "Время": [
        "10:00",
        "10:00:00",
        "01.01.0001 10:00:00",
        "30.12.1899 10:00",
        time(10),
        datetime(2026, 12, 1, 10),
        10 / 24,
    ],
}
# And what leaves it open.
_UNCLEAR: dict[str, list[Any]] = {
    "Дата рождения": ["12.03.61", "11.03.1961 21:00", "31.02.1961", "", -1, 22352.9, datetime(1961, 3, 11, 21)],
    "Пол": ["", "х", "0", 0, True],
    "СНИЛС": ["112-233-445 96", 1.1e15, "'", '="0"', "112+233"],
    "Дата": ["01.12", "", "12/01/2026", 12, -1, 1e12],
    "Время": ["", "25:00", "утром", "01.01.0001 0:00:00", 10, datetime(2026, 12, 2, 10), -0.5],
}


@st.composite
def odd_cells(draw: st.DrawFn) -> tuple[dict[str, Any], set[str]]:
    """Return cells by column, and the columns that are unclear."""
    unclear = draw(st.sets(st.sampled_from(sorted(_UNCLEAR)), max_size=2))
    return {c: draw(st.sampled_from((_UNCLEAR if c in unclear else _CLEAR)[c])) for c in sorted(_CLEAR)}, unclear


def _raw(value: Any) -> raw_xlsx.Value:
    """Return a value as it stands in a file that has lost all formats."""
    if isinstance(value, bool):
        return "ИСТИНА" if value else "ЛОЖЬ"
    if isinstance(value, date | time):
        return float(to_excel(value))
    return value if isinstance(value, str) else float(value)


@pytest.mark.slow
@settings(max_examples=150, deadline=None)
@given(
    rows=st.lists(odd_cells(), min_size=1, max_size=4),
    writer=st.sampled_from(["openpyxl", "raw", "inline", "1c", "csv"]),
)
def test_a_row_is_taken_as_it_is_meant_or_refused_by_its_columns(
    rows: list[tuple[dict[str, Any], set[str]]], writer: str
) -> None:
    if writer == "csv":
        rows = [(cells, unclear) for cells, unclear in rows if all(isinstance(each, str) for each in cells.values())]
    lines = [changed(**cells) for cells, _ in rows]
    stored = {"xl/sharedStrings.xml": "xl/SharedStrings.xml"} if writer == "1c" else {}
    match writer:
        case "csv":
            quoted = [tuple('"' + cell.replace('"', '""') + '"' for cell in line) for line in lines]
            data = csv(*quoted)
        case "openpyxl":
            data = xlsx(*lines)
        case _:
            raw = [[_raw(value) for value in line] for line in lines]
            data = raw_xlsx.write([HEADER, *raw], stored=stored, shared=writer != "inline")
    counts_from_0 = any(str(cells["Пол"]) == "0" for cells, _ in rows)
    for (cells, unclear), found in zip(rows, read(data), strict=True):
        if counts_from_0 and str(cells["Пол"]) in ("1", "2"):
            unclear = unclear | {"Пол"}
        if unclear:
            assert isinstance(found, list), (cells, found)
            assert all(any(f"«{column}»" in reason for reason in found) for column in unclear), (cells, found)
        else:
            assert isinstance(found, ReferralDraft), (cells, found)
            assert (found.patient.birth_date, found.patient.sex, found.start) == (BORN, Sex.FEMALE, START)
            assert found.patient.snils == "11223344595"


@pytest.mark.slow
@settings(max_examples=150, deadline=None)
@given(comments=st.lists(st.text('";a', max_size=6), min_size=1, max_size=5))
def test_whatever_quotes_a_cell_holds_every_row_is_read_for_itself(comments: list[str]) -> None:
    rows = [changed(ФИО=f"Ким А{'а' * place}", Комментарий=each) for place, each in enumerate(comments)]
    found = read(csv(*rows))
    assert len(found) == len(rows)
    for place, each in enumerate(found):
        if isinstance(each, ReferralDraft):
            assert each.patient.name.given == f"А{'а' * place}"
            assert "Ким" not in each.comment
