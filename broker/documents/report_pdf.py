"""Writes the signed report as a PDF: the same bytes for the same report, so that the sent and the printed one agree.

Only the two embedded fonts are used (DejaVu Sans, see
fonts/LICENSE); a character that they do not have is shown as a box, never left out.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from datetime import datetime, tzinfo
from decimal import Decimal
from pathlib import Path

from fpdf import FPDF
from fpdf.enums import XPos, YPos
from fpdf.fonts import TTFFont

from broker.domain.patients import identifiers, names
from broker.domain.patients.people import NO_NAME, Sex
from broker.domain.reading import report_form
from broker.domain.reading.reports import ReportChange, ReportState, SignedReport

FONTS = Path(__file__).parent / "fonts"
FAMILY = "DejaVu"
BOX = "\u25a1"  # in place of a character that cannot be shown
_SEXES = {Sex.MALE: "мужской", Sex.FEMALE: "женский", Sex.OTHER: ""}
_SIDES = {"L": "слева", "R": "справа", "B": "с двух сторон"}
# What stands before and after the texts, of `report_form`; other versions' fields under their own names.
FORM_LABELS = {
    "purpose": "Цель исследования",
    "repeated": "Первичное или повторное",
    "anamnesis": "Краткий анамнез",
    "contrast": "Контраст",
    "complications": "Осложнения",
    "anaesthesia": "Анестезия",
    "limits": "Что мешало",
    "scale": "Шкала",
    "consultant": "Консультировал",
    "remarks": "Примечания",
}
_BELOW = ("scale", "remarks")
_SIGNER = "consultant"
_LEFT, _TOP, _BOTTOM = 20, 16, 20  # mm
SHEET_WIDTHS = (8, 22, 36, 22, 23, 28, 33)  # relative, of a dose sheet's columns; no word is broken
SHEET_ALIGN = ("RIGHT", "LEFT", "LEFT", "LEFT", "RIGHT", "RIGHT", "LEFT")
_LABELS = 42  # mm: the column of the facts' labels
_INVISIBLE = {"\u00ad", "\u200b", "\u200c", "\u200d", "\u2060", "\ufeff", *map(chr, range(0xFE00, 0xFE10))}


def report_pdf(signed: SignedReport, clinic_name: str, zone: tzinfo, address: str = "") -> bytes:
    """Return a signed report as PDF, A4; equal arguments give equal bytes.

    `address` is the clinic's. Without a day of the images the planned one is printed. Raise ValueError for a draft:
    only signed reports are documents.
    """
    order, report = signed.order, signed.report
    if report.state is not ReportState.SIGNED or report.signed_at is None:
        raise ValueError("only a signed report is printed")
    patient, step = order.patient, order.steps[0]
    form = {name: (FORM_LABELS.get(name, name), value) for name, value in report_form.unpack(report.form).items()}
    pdf = _ReportPdf(f"№ {order.shown_number}, {names.short(patient.name)}", report.signed_at)
    pdf.set_title(f"Протокол {order.shown_number}")
    pdf.add_page()
    title = "Протокол отозван" if report.is_withdrawn else "Протокол исследования"
    pdf.head("\n".join(filter(None, (clinic_name, address))), title)
    born = f"{patient.birth_date:%d.%m.%Y}" if patient.birth_date else "неизвестна"
    if patient.birth_year:
        born = f"{patient.birth_year} год"
    study = ", ".join(part for part in (order.procedure_name, _SIDES.get(order.laterality, "")) if part)
    pdf.facts(
        [
            ("Пациент", str(patient.name)),
            ("Дата рождения", born),
            ("Пол", _SEXES[patient.sex]),
            ("Номер карты", patient.patient_id),
            ("СНИЛС", identifiers.show_snils(patient.snils)),
            ("Исследование", study),
            ("Область", signed.body_site),
            ("Дата", _when(signed.images_made_at, step.start)),
            ("Номер", order.shown_number),
            ("Аппарат", signed.devices),
            ("Направил", order.referring_doctor),
            ("Направлен из", signed.referring_clinic),
            ("Диагноз", order.diagnosis),
            ("Эффективная доза", dose(report.effective_dose)),
            *(pair for name, pair in form.items() if name not in (*_BELOW, _SIGNER)),
            *_readers(signed, zone),
            ("Версия", f"{report.version}, заменяет прежние" if report.change else ""),
        ]
    )
    if report.change in (ReportChange.CORRECTION, ReportChange.WITHDRAWAL):
        pdf.chapter("Почему отозван" if report.is_withdrawn else "Исправлено", report.reason)
    pdf.chapter("Описание", report.description)
    pdf.chapter("Заключение", report.conclusion, bold=True)
    pdf.chapter("Рекомендации", report.recommendations)
    for name in _BELOW:
        if name in form:
            pdf.chapter(*form[name])
    doctor = report.author_position[:1].upper() + report.author_position[1:] or "Врач"
    pdf.signature(doctor, str(report.author_name), report.signed_at.astimezone(zone))
    if _SIGNER in form:
        pdf.second_signature(*form[_SIGNER])
    return bytes(pdf.output())


def dose_sheet_pdf(
    title: str, about: str, table: Sequence[Sequence[str]], sums: Sequence[str], clinic_name: str, at: datetime
) -> bytes:
    """Return a patient's dose sheet as PDF, A4; `table` begins with its heading, its columns are `SHEET_WIDTHS`."""
    pdf = _ReportPdf(about, at)
    pdf.set_title(title)
    pdf.add_page()
    pdf.head(clinic_name, title)
    pdf.note(about)
    pdf.grid(table)
    for each in sums:
        pdf.note(each)
    pdf.note(f"{at:%d.%m.%Y}")
    return bytes(pdf.output())


def _when(made_at: datetime | None, planned: datetime) -> str:
    """Return the day and time of the images, only the planned day where no modality has reported them."""
    return f"{made_at:%d.%m.%Y, %H:%M}" if made_at else f"{planned:%d.%m.%Y}"


def _readers(signed: SignedReport, zone: tzinfo) -> list[tuple[str, str]]:
    """Return who else has read the study; their words are no part of the document."""
    for read in signed.reads:
        if read.decided_with != NO_NAME and read.given_at:
            on = f"{read.given_at.astimezone(zone):%d.%m.%Y}"
            return [("Решили вместе", f"{read.reader_name} и {read.decided_with}, {on}")]
    author = signed.report.author
    others = [read for read in signed.reads if read.reader != author]
    if not others:
        return []
    said = [f"{read.reader_name}, {read.given_at.astimezone(zone):%d.%m.%Y}" for read in others if read.given_at]
    return [("Второе чтение" if len(others) == 1 else "Чтения", "; ".join(said))]


def dose(value: float | None) -> str:
    """Return an effective dose as people read it: «0,03 мЗв»; empty for None."""
    return f"{format(Decimal(str(value)), 'f').removesuffix('.0').replace('.', ',')} мЗв" if value is not None else ""


class _ReportPdf(FPDF):
    """A4 in our two fonts, with the number and the page at the foot of every page."""

    def __init__(self, foot: str, created: datetime) -> None:
        super().__init__(format="A4")
        self._foot = foot  # of every page, for sheets get separated
        self.set_creation_date(created)
        self.set_producer("worklist-broker")
        self.set_lang("ru-RU")
        self.add_font(FAMILY, "", FONTS / "DejaVuSans.ttf")
        self.add_font(FAMILY, "B", FONTS / "DejaVuSans-Bold.ttf")
        maps = [frozenset(font.cmap) for font in self.fonts.values() if isinstance(font, TTFFont)]
        self._drawable = frozenset.intersection(*maps)  # code points that both have
        self.c_margin = 0
        self.set_margins(_LEFT, _TOP, _LEFT)
        self.set_auto_page_break(True, _BOTTOM)

    def footer(self) -> None:
        """Write the number and the page; fpdf2 calls it at the end of each page."""
        self.set_y(-14)
        self.set_font(FAMILY, "", 8)
        self.set_text_color(90)
        self.cell(self.epw / 2, 5, _plain(self._foot, self._drawable))
        self.cell(self.epw / 2, 5, f"Страница {self.page_no()} из {{nb}}", align="R")
        self.set_text_color(0)

    def head(self, clinic: str, title: str) -> None:
        """Write the clinic's name, its address below, and the document's title."""
        self.set_font(FAMILY, "", 10)
        self._lines(clinic, 5)
        self.ln(2)
        self._rule()
        self.ln(5)
        self.set_font(FAMILY, "B", 15)
        self._lines(title, 8)
        self.ln(2)

    def facts(self, pairs: list[tuple[str, str]]) -> None:
        """Write pairs of label and value; empty values are left out."""
        for label, value in pairs:
            if value:
                self._room(6)
                self.set_font(FAMILY, "", 9.5)
                self.set_text_color(90)
                self.cell(_LABELS, 5.5, label)
                self.set_text_color(0)
                self.set_font(FAMILY, "B" if label == "Пациент" else "", 9.5)
                self.multi_cell(
                    self.epw - _LABELS,
                    5.5,
                    _plain(value, self._drawable),
                    align="L",
                    new_x=XPos.LMARGIN,
                    new_y=YPos.NEXT,
                )

    def chapter(self, title: str, content: str, *, bold: bool = False) -> None:
        """Write a part of the report under its heading, which is never left alone at a page's end."""
        if not content.strip():
            return
        self._room(22)
        self.ln(5)
        self.set_font(FAMILY, "B", 11)
        self._lines(title, 7)
        self.set_font(FAMILY, "B" if bold else "", 10.5)
        self._lines(content.strip(), 5.6)

    def note(self, content: str) -> None:
        """Write a line."""
        self._room(8)
        self.ln(2)
        self.set_font(FAMILY, "", 9.5)
        self._lines(content, 5.5)

    def grid(self, rows: Sequence[Sequence[str]]) -> None:
        """Write a table whose heading is repeated on every page."""
        self.ln(3)
        self.set_font(FAMILY, "", 8.5)
        with self.table(
            col_widths=SHEET_WIDTHS, text_align=SHEET_ALIGN, line_height=4.6, padding=1, borders_layout="MINIMAL"
        ) as table:
            for row in rows:
                table.row([_plain(each, self._drawable) for each in row])
        self.ln(2)

    def signature(self, doctor: str, name: str, at: datetime) -> None:
        """Write who signed and when, and a line for the pen."""
        self._room(32)
        self.ln(7)
        self._rule()
        self.ln(5)
        self.set_font(FAMILY, "", 10)
        self._lines(f"{doctor}: {name}", 6)
        self._lines(f"Подписано {at:%d.%m.%Y} в {at:%H:%M}", 6)
        self.ln(3)
        self._lines("Подпись ____________________", 6)

    def second_signature(self, label: str, name: str) -> None:
        """Write who was consulted, and a line for that doctor's own pen."""
        self._room(20)
        self.ln(4)
        self.set_font(FAMILY, "", 10)
        self._lines(f"{label}: {name}", 6)
        self.ln(3)
        self._lines("Подпись ____________________", 6)

    def _lines(self, content: str, height: float) -> None:
        self.multi_cell(
            self.epw, height, _plain(content, self._drawable), align="L", new_x=XPos.LMARGIN, new_y=YPos.NEXT
        )

    def _rule(self) -> None:
        self.set_draw_color(150)
        self.line(self.l_margin, self.get_y(), self.w - self.r_margin, self.get_y())

    def _room(self, height: float) -> None:
        if self.will_page_break(height):
            self.add_page()


def _plain(content: str, drawable: frozenset[int]) -> str:
    """Replace what the fonts do not have, control characters and right-to-left characters by boxes; keep line ends.

    Right-to-left text would be drawn in the wrong order, and a direction mark could reverse a finding.
    """
    chars = []
    for char in unicodedata.normalize("NFC", content).replace("\r\n", "\n").replace("\r", "\n").expandtabs(4):
        if char in _INVISIBLE:
            continue
        odd = unicodedata.category(char)[0] == "C" or unicodedata.bidirectional(char) in ("R", "AL")
        chars.append(char if char == "\n" or (ord(char) in drawable and not odd) else BOX)
    return "".join(chars)
