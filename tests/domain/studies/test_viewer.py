"""A link opens one study in the clinic's viewer, and nothing else: no script, no other study, no secret of ours."""

from __future__ import annotations

import pytest

from broker.domain.studies.viewer import Viewer, problem

RIGHT = [
    ("https://host/viewer?StudyInstanceUIDs={study}", "https://host/viewer?StudyInstanceUIDs=1.2.3"),
    ("http://h:8042/stone-webviewer/index.html?study={study}", "http://h:8042/stone-webviewer/index.html?study=1.2.3"),
    ("HTTPS://h/?accession={accession}", "HTTPS://h/?accession=A%2F7%20%D1%8B"),
    ("https://h/p?id={patient_id}&s={study}", "https://h/p?id=%D0%9A-17%26x%3D1&s=1.2.3"),
    ("weasis://%24dicom%3Ars%20-r%20%22studyUID%3D{study}%22", "weasis://%24dicom%3Ars%20-r%20%22studyUID%3D1.2.3%22"),
    ("radiant://?n=paet&v={ae}&n=pstv&v=0020000D&v={study}", "radiant://?n=paet&v=PACS%201&n=pstv&v=0020000D&v=1.2.3"),
    ("inobitec://--pacs-aetitle%20{ae}%20--study-uid%20{study}", "inobitec://--pacs-aetitle%20PACS%201%20--study-uid%201.2.3"),
    ("vdviewer://pacs/{ae}/uid/{study}", "vdviewer://pacs/PACS%201/uid/1.2.3"),
]  # fmt: skip


@pytest.mark.parametrize(("template", "link"), RIGHT)
def test_a_link_bears_every_value_percent_encoded(template: str, link: str) -> None:
    assert problem(template, "PACS 1") == ""
    assert Viewer(template, "PACS 1").link("1.2.3", "A/7 ы", "К-17&x=1") == link


WRONG = [
    ("javascript:alert({study})", "must begin with one of http://"),
    ("javascript://%0aalert({study})", "must begin with one of http://"),
    ("data:text/html,{study}", "must begin with one of"),
    ("file:///etc/{study}", "must begin with one of"),
    ("//host/{study}", "must begin with one of"),
    ("host/{study}", "must begin with one of"),
    ("https://host/{uid}", "{uid} is not known: placeholders are {study}, {accession}, {patient_id}, {ae}"),
    ("https://host/{study}?t={token}", "{token} is not known"),
    ("https://host/{study}}", "a brace stands alone"),
    ("https://host/{}", "a brace stands alone"),
    ("https://host/viewer", "must name the study"),
    ("https://host/{ae}", "must name the study"),
    ("https://{accession}/{study}", "without placeholders in it"),
    ("https://admin:secret@host/{study}", "without name and password"),
    ("https:///{study}", "must name a host"),
    ("https://[host/{study}", "must name a host"),
    ("https://host/a b/{study}", "printable ASCII"),
    ("https://хост/{study}", "printable ASCII"),
    ("https://host/\n{study}", "printable ASCII"),
]


@pytest.mark.parametrize(("template", "why"), WRONG)
def test_what_could_open_anything_else_is_refused(template: str, why: str) -> None:
    assert why in problem(template, "PACS")


def test_the_archives_title_is_needed_where_it_is_named() -> None:
    assert problem("radiant://?v={ae}&v={study}", "") == "{ae} needs pacs.ae_title"


def test_a_value_that_is_not_known_makes_no_link() -> None:
    assert Viewer("https://h/?accession={accession}").link("1.2.3", "", "17") == ""
    assert Viewer("https://h/?study={study}").link("1.2.3", "", "") == "https://h/?study=1.2.3"


def test_a_program_opens_no_window() -> None:
    assert Viewer("https://h/{study}").is_web_page
    assert not Viewer("weasis://{study}").is_web_page
