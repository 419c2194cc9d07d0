"""The printed report: readable, complete, the same every time, and not to be broken by what somebody has typed."""

from __future__ import annotations

import io
import subprocess
import sys
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pypdf import PdfReader

from broker.documents import report_pdf
from broker.domain.reading import report_form
from broker.domain.reading.reports import ReportState, SignedReport
from tests.documents.report import ORDER, REPORT
from tests.support.clock import ZONE


def pages(**changes: Any) -> list[str]:
    """Print a report and read its pages back."""
    signed = SignedReport(
        ORDER, replace(REPORT, **changes), datetime(2026, 11, 24, 9, 7), "Рентген", "Больница № 2", "Коленный сустав"
    )
    made = report_pdf.report_pdf(signed, "Поликлиника № 7", ZONE)
    return [page.extract_text() for page in PdfReader(io.BytesIO(made)).pages]


def test_everything_is_on_it_and_can_be_copied_out() -> None:
    [page] = pages()
    for words in (
        "Поликлиника № 7",
        "Кузнецова Марина Петровна",
        "12.03.1961",
        "112-233-445 95",
        "Рентгенография коленного сустава, справа",
        "24.11.2026, 09:07",
        "женский",
        "Больница № 2",
        "Коленный сустав",
        "K2611-0094",
        "Рентген",
        "Зимин Андрей Павлович, терапевт",
        "M17.1",
        "0,01 мЗв",
        "Суставная щель сужена.",
        "Артроз правого коленного сустава II стадии.",
        "Консультация ортопеда.",
        "Врач-рентгенолог: Вольская Т. А.",
        "Подписано 25.11.2026 в 01:30",  # the clinic's time, not UTC
        "Страница 1 из 1",
    ):
        assert words in page


def test_the_clinics_address_is_on_it_where_it_is_configured() -> None:
    made = report_pdf.report_pdf(SignedReport(ORDER, REPORT), "Поликлиника № 7", ZONE, "г. Энск, ул. Заречная, 5")
    assert "Поликлиника № 7\nг. Энск, ул. Заречная, 5\n" in PdfReader(io.BytesIO(made)).pages[0].extract_text()


def test_what_form_34_asks_is_on_it_where_it_was_typed() -> None:
    form = report_form.pack({name: f"слово {name}" for name in report_form.FIELDS})
    printed = " ".join(pages(form=form))
    for name in report_form.FIELDS:
        assert f"слово {name}" in printed
        assert report_pdf.FORM_LABELS[name] in printed


def test_what_is_not_known_is_left_out() -> None:
    [page] = pages(effective_dose=None, recommendations="", description="", author_position="")
    for word in ("Эффективная доза", "Рекомендации", "Описание", "None"):
        assert word not in page
    assert "Врач: Вольская Т. А." in page


def test_without_a_day_of_the_images_the_planned_one_is_printed() -> None:
    made = report_pdf.report_pdf(SignedReport(ORDER, REPORT), "Поликлиника № 7", ZONE)
    assert "23.11.2026" in PdfReader(io.BytesIO(made)).pages[0].extract_text()


def test_the_fonts_are_in_it_and_only_what_is_needed_of_them() -> None:
    made = report_pdf.report_pdf(SignedReport(ORDER, REPORT), "Поликлиника № 7", ZONE)
    assert len(made) < 60_000
    assert made.count(b"/FontFile2") == 2
    assert (report_pdf.FONTS / "LICENSE").read_text(encoding="utf-8").startswith("DejaVu")


def test_a_long_report_flows_over_pages_that_know_whose_they_are() -> None:
    lines = [f"Строка {number}: очаговых и инфильтративных изменений не определяется." for number in range(150)]
    found = pages(description="\n".join(lines))
    assert len(found) > 2
    for number, page in enumerate(found, 1):
        assert f"Страница {number} из {len(found)}" in page
        assert "K2611-0094, Кузнецова М. П." in page
    whole = "\n".join(found)
    assert all(line in whole for line in lines)
    assert "Подпись" in found[-1]


@pytest.mark.parametrize("words", ["a\x00b\x07", "שלום", "слева \u202eсправа", "\ud83d\U0001f9e0", "\ufffe", "漢"])
def test_what_cannot_be_shown_is_a_box_not_a_gap(words: str) -> None:
    [page] = pages(description=words)
    assert report_pdf.BOX in page
    assert "\u202e" not in page


def test_what_is_never_seen_needs_no_box() -> None:
    [page] = pages(description="рент\u00adген\u200bография\ufeff\r\nдалее\tи")
    assert report_pdf.BOX not in page
    assert "рентгенография" in page


@pytest.mark.slow
@settings(max_examples=40, deadline=None)
@given(st.text(max_size=400), st.text(alphabet="а(\\)<>%\n\r\u2028^{}nb", max_size=200), st.floats(0, 1000))
def test_nothing_typed_breaks_it(one: str, other: str, dose: float) -> None:
    assert pages(description=one, conclusion=other, recommendations="ш" * len(one), effective_dose=dose)


@pytest.mark.slow
def test_the_same_report_gives_the_same_bytes_in_every_process() -> None:
    program = (
        "import hashlib; from broker.documents import report_pdf;"
        " from broker.domain.reading.reports import SignedReport;"
        " from tests.documents.report import ORDER, REPORT; from tests.support.clock import ZONE;"
        " signed = SignedReport(ORDER, REPORT);"
        " print(hashlib.sha256(report_pdf.report_pdf(signed, 'Поликлиника № 7', ZONE)).hexdigest())"
    )
    root = Path(__file__).parents[2]
    made = {
        subprocess.run(
            [sys.executable, "-c", program],
            cwd=root,
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": str(root), "TZ": zone},
            capture_output=True,
            check=True,
            text=True,
        ).stdout
        for seed, zone in (("1", "UTC"), ("2", "Asia/Vladivostok"))
    }
    assert len(made) == 1


def test_a_draft_is_not_a_document() -> None:
    with pytest.raises(ValueError, match="signed"):
        report_pdf.report_pdf(SignedReport(ORDER, replace(REPORT, state=ReportState.DRAFT)), "Поликлиника № 7", ZONE)


@pytest.mark.parametrize(
    ("value", "words"),
    [(None, ""), (0.0, "0 мЗв"), (0.03, "0,03 мЗв"), (12.0, "12 мЗв"), (1e-05, "0,00001 мЗв"), (1000.0, "1000 мЗв")],
)
def test_a_dose_is_written_as_people_read_it(value: float | None, words: str) -> None:
    assert report_pdf.dose(value) == words


def test_no_word_of_a_dose_sheet_is_broken() -> None:
    words = ("60", "12.11.2026", "Рентгенография колена", "Больница № 2", "10,7 сГр·см²", "0,05", "профилактическое")
    head = ("№", "Дата", "Вид исследования", "Где", "Доза по аппарату", "Эффективная доза, мЗв", "Примечание")
    made = report_pdf.dose_sheet_pdf(
        "Лист учёта доз", "карта 1", [head, words], ["Сумма"], "Клиника", datetime(2026, 11, 12)
    )
    whole = " ".join(PdfReader(io.BytesIO(made)).pages[0].extract_text().split())
    for each in (*head, *words):
        assert each in whole


def test_who_was_consulted_has_a_line_for_the_own_pen() -> None:
    printed = " ".join(pages(form=report_form.pack({"consultant": "Соколов В. И."})))
    signed, _, second = printed.partition("Консультировал: Соколов В. И.")
    assert (signed.count("Подпись ___"), second.count("Подпись ___")) == (1, 1)
    assert " ".join(pages()).count("Подпись ___") == 1
