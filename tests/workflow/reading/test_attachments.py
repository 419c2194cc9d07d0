"""Files that a doctor's own tool has signed are kept beside the version of the report that they were made of."""

from __future__ import annotations

import hashlib
import sqlite3

import pytest

from broker.domain.actors import Actor, ActorKind, Role
from broker.domain.errors import Forbidden, Invalid, Stale, WrongState
from broker.domain.orders import Order
from broker.domain.reading.attachments import Attachment, AttachmentKind, UploadedFile
from broker.domain.reading.reports import ReportChange
from broker.store.database import Store, Tx
from broker.store.tables.reading import attachments as table
from broker.workflow.reading import attachments, reports
from broker.workflow.reading.attachments import attach, examine
from broker.workflow.reading.reports import ReportText, Revision
from tests.support.factory import CLINIC, REGISTRAR
from tests.workflow.reading.test_report_versions import DOCTOR, order

__all__ = ["order"]  # a fixture: a signed report

PDF = UploadedFile("протокол.pdf", b"%PDF-1.7 x")
XML = UploadedFile("semd.xml", b"<ClinicalDocument/>")
SIGNATURE = UploadedFile("протокол.pdf.sig", b"\x30\x82" + b"x" * 30)
PEM = UploadedFile("a.SGN", b"-----BEGIN CMS-----\nMIIB")


def of_order(store: Store, order: Order) -> list[Attachment]:
    with store.read() as reader:
        return table.of_order(reader, order.id)


def put(store: Store, order: Order, document: UploadedFile = PDF, *signatures: UploadedFile, version: int = 1) -> int:
    return store.write(attach, order.id, version, examine(document, signatures), DOCTOR)


def test_a_document_is_kept_as_it_came_with_its_signatures_digest_and_who(store: Store, order: Order) -> None:
    id = put(store, order, PDF, SIGNATURE, PEM)
    document, *signatures = of_order(store, order)
    assert (document.id, document.kind, document.version, document.name) == (id, AttachmentKind.PDF, 1, PDF.name)
    assert document.digest == hashlib.sha256(PDF.content).hexdigest()
    assert document.attached_by == DOCTOR.name
    assert [(each.signs, each.kind, each.name) for each in signatures] == [
        (id, AttachmentKind.SIGNATURE, each.name) for each in (SIGNATURE, PEM)
    ]
    with store.read() as reader:
        assert table.content(reader, id) == PDF.content


def test_the_same_again_adds_only_what_is_new(store: Store, order: Order) -> None:
    first = put(store, order, PDF)
    assert put(store, order, PDF, SIGNATURE) == first
    assert put(store, order, PDF, SIGNATURE) == first
    assert len(of_order(store, order)) == 2


def test_it_stays_with_its_version_when_the_report_is_corrected(store: Store, order: Order) -> None:
    put(store, order, PDF)
    correction = Revision(ReportChange.CORRECTION, "Опечатка", ReportText("Иначе", "Иначе"))
    store.write(reports.revise, order.id, 1, correction, DOCTOR, CLINIC)
    with pytest.raises(Stale):
        put(store, order, XML)
    put(store, order, XML, version=2)
    assert [(each.version, each.kind) for each in of_order(store, order)] == [(2, "xml"), (1, "pdf")]


def test_only_a_signed_report_of_a_doctor_takes_files(store: Store, order: Order) -> None:
    for actor in (REGISTRAR, Actor(ActorKind.DEVICE, "X", "", frozenset({Role.RADIOLOGIST}))):
        with pytest.raises(Forbidden):
            store.write(attach, order.id, 1, examine(PDF, ()), actor)
    store.write(reports.revise, order.id, 1, Revision(ReportChange.WITHDRAWAL, "Не тот"), DOCTOR, CLINIC)
    with pytest.raises(WrongState):
        put(store, order, version=2)


@pytest.mark.parametrize(
    ("document", "signatures", "problem"),
    [
        (UploadedFile("", b""), (), {"document": "required"}),
        (UploadedFile("a.pdf", b"MZ"), (), {"document": "unreadable"}),
        (UploadedFile("a.xml", b"<html/>"), (), {"document": "unreadable"}),
        (UploadedFile("a.xml", b'<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>'), (), {"document": "unreadable"}),
        (PDF, (UploadedFile("a.exe", SIGNATURE.content),), {"signatures": "unreadable"}),
        (PDF, (UploadedFile("a.sig", b"MZ" + b"x" * 40),), {"signatures": "unreadable"}),
        (PDF, (SIGNATURE,) * 9, {"signatures": "too_many"}),
    ],
)
def test_what_files_are_is_seen_by_their_content(
    document: UploadedFile, signatures: tuple[UploadedFile, ...], problem: dict[str, str]
) -> None:
    with pytest.raises(Invalid) as caught:
        examine(document, signatures)
    assert caught.value.problems == problem


def test_they_have_a_largest_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attachments, "LARGEST_DOCUMENT", 5)
    monkeypatch.setattr(attachments, "LARGEST_SIGNATURE", 5)
    with pytest.raises(Invalid) as caught:
        examine(PDF, (SIGNATURE,))
    assert caught.value.problems == {"document": "too_long", "signatures": "too_long"}


def test_a_name_is_cut_to_what_a_page_shows_and_keeps_its_ending() -> None:
    found = examine(UploadedFile("C:\\a\\" + "я" * 300 + "\r\n.pdf", PDF.content), ()).document[0].name
    assert (len(found), found[-5:]) == (128, "я.pdf")


def test_the_database_changes_and_deletes_none(store: Store, order: Order) -> None:
    put(store, order, PDF)
    for statement in ("DELETE FROM report_attachment", "UPDATE report_attachment SET name = 'x'"):
        with pytest.raises(sqlite3.IntegrityError):
            store.write(Tx.run, statement)
