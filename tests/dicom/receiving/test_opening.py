"""What is shown of received objects; whatever devices have stored, it is never an exception."""

from __future__ import annotations

from dataclasses import replace

import pytest

from broker.dicom.receiving import opening
from broker.domain.orders import Order
from broker.domain.studies.received_text import ReportPart, Standing
from broker.store.database import Store
from broker.workflow.referrals import referrals
from tests.support import sent_objects
from tests.support.factory import CLINIC, REGISTRAR, draft


@pytest.fixture
def order(store: Store) -> Order:
    return store.write(referrals.register, draft(), REGISTRAR, CLINIC)


def test_a_report_is_words_a_pdf_a_file_and_a_cda_both(order: Order) -> None:
    report = sent_objects.report(order, "Норма")
    found = opening.open_object(report, report.dataset, "")
    assert (found.text.of_part(ReportPart.CONCLUSION), found.text.standing) == ("Норма", Standing.FINAL)
    assert found.file is None
    pdf = sent_objects.pdf(order, "x")
    file = opening.open_object(pdf, pdf.dataset, "").file
    assert file
    assert file.media_type == "application/pdf"
    cda = sent_objects.cda(order, "узел")
    both = opening.open_object(cda, cda.dataset, "")
    assert both.text.of_part(ReportPart.DESCRIPTION) == "узел"
    assert both.file
    assert both.file.media_type == "application/xml"


@pytest.mark.parametrize("data", [b"", b"\0" * 8, b"\x08\x00\x05\x00CS\xff\xff", b"x" * 99])
def test_what_cannot_be_read_says_so(order: Order, data: bytes) -> None:
    for each in (sent_objects.report(order, "x"), sent_objects.pdf(order, "x")):
        found = opening.open_object(replace(each, dataset=data), data, "")
        assert found.file is None
        assert not found.text.lines


def test_a_document_that_is_neither_is_not_handed_on(order: Order) -> None:
    for inside in ("<html>", "GIF89a"):
        made = sent_objects.document(order, sent_objects.PDF, inside.encode(), "x")
        found = opening.open_object(made, made.dataset, "")
        assert (found.file, found.text.unread) == (None, 1)
