"""The words of structured reports: all that DCMTK prints of one is in ours, in order; what is broken is left out."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pydicom
import pytest
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from broker.dicom.sr import content, report_text
from broker.domain.studies.received_text import ReceivedText, ReportPart, Standing


def coded(value: str, meaning: str) -> Sequence:
    ds = Dataset()
    ds.CodeValue, ds.CodingSchemeDesignator, ds.CodeMeaning = value, "DCM", meaning
    return Sequence([ds])


def item(kind: str, code: str = "", meaning: str = "", *children: Dataset, **values: object) -> Dataset:
    ds = Dataset()
    ds.ValueType, ds.RelationshipType = kind, "CONTAINS"
    if meaning:
        ds.ConceptNameCodeSequence = coded(code, meaning)
    for keyword, value in values.items():
        setattr(ds, keyword, value)
    if children:
        ds.ContentSequence = Sequence(children)
    return ds


def of(*children: Dataset, **values: object) -> ReceivedText:
    return report_text.read(item("CONTAINER", "126000", "Imaging Report", *children, **values))


def file(name: str) -> Path:
    found = get_testdata_file(name)
    assert isinstance(found, str)
    return Path(found)


@pytest.mark.parametrize("name", ["test-SR.dcm", "reportsi.dcm", "reportsi_with_empty_number_tags.dcm"])
def test_it_has_every_value_that_dcmtk_prints_in_the_same_order(name: str) -> None:
    path = file(name)
    command = ["dsrdump", "-q", "-Ei", "-Ee", "-Ec", "+Pl", "+U8", str(path)]
    judge = subprocess.run(command, capture_output=True, timeout=60, check=False).stdout.decode("utf-8", "replace")
    shown = "\n".join(each.text for each in report_text.read(pydicom.dcmread(path)).lines)
    printed = re.findall(r'(?:TEXT|NUM|UIDREF):?\S*?[^=\n]*="((?:[^"\\]|\\.)*)"', judge)
    codes = re.findall(r'CODE:[^=\n]*=\([^,]*,[^,]*,"([^"]*)"', judge)
    assert printed
    at = 0
    for value in printed:
        words = value.replace("\\r\\n", "\n").replace("\\n", "\n").replace("\\r", "\n").strip()
        if "$" in words:
            continue  # a letter of Latin-1 that dcmdump cannot convert follows
        at = shown.index(words, at)
    assert all(each in shown for each in codes)


def test_what_says_that_it_is_complete_and_verified_is_final_with_its_observers() -> None:
    found = report_text.read(pydicom.dcmread(file("test-SR.dcm")))
    assert found.standing is Standing.FINAL
    assert [each.split(",")[-1] for each in found.authors] == [" OFFIS e.V.", " Organisation"]
    assert found.predecessors
    assert report_text.read(pydicom.dcmread(file("reportsi.dcm"))).standing is Standing.DRAFT


def test_the_known_sections_become_the_fields_of_our_report() -> None:
    found = of(
        item("CONTAINER", "121070", "Findings", item("TEXT", "121071", "Finding", TextValue="Лёгкие прозрачны.")),
        item("NUM", "1", "Diameter", MeasuredValueSequence=_measured("12.5", "mm")),
        item("CONTAINER", "121072", "Impressions", item("TEXT", "121073", "Impression", TextValue="Норма.")),
        item("TEXT", "121077", "Conclusion", TextValue="Без патологии."),
        item("CONTAINER", "121074", "Recommendations", item("TEXT", "1", "Срок", TextValue="Через год")),
    )
    assert found.of_part(ReportPart.DESCRIPTION) == "Лёгкие прозрачны."
    assert found.of_part(ReportPart.CONCLUSION) == "Норма.\nБез патологии."
    assert found.of_part(ReportPart.RECOMMENDATIONS) == "Срок: Через год"
    assert "Diameter: 12.5 mm" in [each.text for each in found.lines]


def test_without_a_known_section_all_is_description_but_not_what_is_about_the_report() -> None:
    about = item("PNAME", "121008", "Person Observer Name", PersonName="Ли^Ен", RelationshipType="HAS OBS CONTEXT")
    found = of(about, item("CONTAINER", "x", "Текст", item("TEXT", "y", "Слова", TextValue="раз")))
    assert found.of_part(ReportPart.DESCRIPTION) == "Текст\nСлова: раз"
    assert found.of_part(ReportPart.CONCLUSION) == ""
    assert found.lines[0].text == "Person Observer Name: Ли Ен"


def test_what_refers_to_images_is_shown_and_not_taken_over() -> None:
    found = of(item("TEXT", "1", "Слова", TextValue="раз"), item("IMAGE"), item("COMPOSITE", "1", "Ряд"))
    assert [each.text for each in found.lines] == ["Слова: раз", "снимок", "Ряд: объект"]
    assert found.of_part(ReportPart.DESCRIPTION) == "Слова: раз"


def test_dates_times_and_codes_are_words() -> None:
    lines = of(
        item("DATE", "1", "День", Date="20261124"),
        item("TIME", "1", "Час", Time="0930"),
        item("DATETIME", "1", "Когда", DateTime="20261124093015"),
        item("CODE", "1", "Сторона", ConceptCodeSequence=coded("L", "левая")),
    ).lines
    words = [each.text for each in lines]
    assert words == ["День: 24.11.2026", "Час: 09:30", "Когда: 24.11.2026 09:30", "Сторона: левая"]


def test_a_broken_item_is_counted_and_the_rest_is_read() -> None:
    found = of(item("NUM", "1", "Пусто"), item("TEXT", "1", "Есть", TextValue="да"), Dataset())
    assert [each.text for each in found.lines] == ["Есть: да"]
    assert found.unread == 2


def test_what_is_endless_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    deep = item("TEXT", "1", "n", TextValue="дно")
    for _ in range(content.DEEPEST + 5):
        deep = item("CONTAINER", "1", "n", deep)
    assert of(deep).is_cut
    assert len(of(deep).lines) <= content.DEEPEST
    monkeypatch.setattr(report_text, "MOST_LINES", 3)
    many = of(*(item("TEXT", "1", "n", TextValue=str(each)) for each in range(9)))
    assert (len(many.lines), many.is_cut) == (3, True)
    monkeypatch.setattr(report_text, "MOST_CHARACTERS", 10)
    assert of(item("TEXT", "1", "", TextValue="я" * 50)).lines[0].text == "я" * 10


def _measured(value: str, unit: str) -> Sequence:
    ds = Dataset()
    ds.NumericValue, ds.MeasurementUnitsCodeSequence = value, coded(unit, unit)
    return Sequence([ds])
