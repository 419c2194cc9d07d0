"""The words of CDA documents: narrative blocks as text, whatever markup stands in them."""

from __future__ import annotations

import base64

import pytest

from broker.dicom.sr import cda
from broker.dicom.sr.cda import UnreadableXml
from broker.domain.studies.received_text import ReportPart, Standing

BODY = """<component><structuredBody>
<component><section><code code="18782-3"/><title>Описание</title><text>
  <paragraph>Лёгкие <content>прозрачны</content>.</paragraph>
  <table><tbody><tr><td>Очаг</td><td>4 мм</td></tr></tbody></table>строка<br/>другая
</text></section></component>
<component><section><code code="19005-8"/><title>Заключение</title>
<text><list><item>Норма &lt;b&gt;</item></list></text></section></component>
</structuredBody></component>"""
SIGNED = """<legalAuthenticator><signatureCode code="S"/><assignedEntity><assignedPerson>
<name><family>Ли</family><given>Ен</given></name></assignedPerson></assignedEntity></legalAuthenticator>"""


def document(inside: str, before: str = "") -> bytes:
    made = f'{before}<ClinicalDocument xmlns="urn:hl7-org:v3"><title>Протокол</title>{inside}</ClinicalDocument>'
    return made.encode()


def test_sections_become_the_fields_of_our_report() -> None:
    found, file = cda.read(document(SIGNED + BODY))
    assert file is None
    assert (found.title, found.standing, found.authors) == ("Протокол", Standing.FINAL, ("Ли Ен",))
    assert found.of_part(ReportPart.DESCRIPTION) == "Лёгкие прозрачны.\nОчаг 4 мм\nстрока\nдругая"
    assert found.of_part(ReportPart.CONCLUSION) == "Норма <b>"
    assert [each.text for each in found.lines if each.is_heading] == ["Описание", "Заключение"]


def test_a_pdf_inside_is_found_and_plain_words_are_read() -> None:
    inside = base64.b64encode(b"%PDF-1.4 x").decode()
    body = '<component><nonXMLBody><text mediaType="{}" representation="B64">{}</text></nonXMLBody></component>'
    _, file = cda.read(document(body.format("application/pdf", inside)))
    assert file
    assert (file.content, file.media_type) == (b"%PDF-1.4 x", "application/pdf")
    _, none = cda.read(document(body.format("application/pdf", "AAAA")))
    assert none is None
    plain, _ = cda.read(document("<component><nonXMLBody><text>раз\n\nдва</text></nonXMLBody></component>"))
    assert plain.of_part(ReportPart.DESCRIPTION) == "раз\nдва"


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"<a",
        document("<title>&x;</title>", '<!DOCTYPE a [<!ENTITY x "y">]>'),
        document("<title>&x;</title>", '<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]>'),
    ],
)
def test_entities_and_broken_files_are_refused(data: bytes) -> None:
    with pytest.raises(UnreadableXml):
        cda.read(data)


def test_deep_sections_end() -> None:
    deep = "<component><section><title>n</title>" * 300 + "</section></component>" * 300
    found, _ = cda.read(document(f"<component><structuredBody>{deep}</structuredBody></component>"))
    assert 0 < len(found.lines) <= cda.DEEPEST + 1
