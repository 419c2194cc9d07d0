"""Reports and documents as devices send them, whole, for tests of what is shown of them."""

from __future__ import annotations

from pydicom.dataset import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset
from pydicom.sequence import Sequence

from broker.domain.orders import Order
from broker.domain.studies.received import ReceivedKind, ReceivedObject

BASIC_TEXT, PDF, CDA = (f"1.2.840.10008.5.1.4.1.1.{each}" for each in ("88.11", "104.1", "104.2"))


def coded(value: str, meaning: str) -> Sequence:
    """Return a code of DCM as a sequence."""
    ds = Dataset()
    ds.CodeValue, ds.CodingSchemeDesignator, ds.CodeMeaning = value, "DCM", meaning
    return Sequence([ds])


def report(
    order: Order, words: str, *, completion: str = "COMPLETE", verification: str = "VERIFIED", lines: int = 1
) -> ReceivedObject:
    """Return a structured report on an order whose conclusion is `words`."""
    item, ds = Dataset(), Dataset()
    item.ValueType, item.RelationshipType, item.TextValue = "TEXT", "CONTAINS", words
    item.ConceptNameCodeSequence = coded("121077", "Conclusion")
    ds.SpecificCharacterSet = "ISO_IR 192"
    ds.ValueType, ds.CompletionFlag, ds.VerificationFlag = "CONTAINER", completion, verification
    ds.ConceptNameCodeSequence, ds.ContentSequence = coded("18748-4", f"Report {words}"), Sequence([item] * lines)
    return _sent(order, BASIC_TEXT, ReceivedKind.REPORT, ds, f"Report {words}")


def pdf(order: Order, words: str) -> ReceivedObject:
    """Return an encapsulated PDF on an order."""
    return document(order, PDF, f"%PDF-1.4\n%{words}\n%%EOF\n".encode(), words)


def cda(order: Order, words: str) -> ReceivedObject:
    """Return a CDA document on an order."""
    text = f"<component><structuredBody><component><section><text>{words}</text></section></component>"
    body = f'<ClinicalDocument xmlns="urn:hl7-org:v3">{text}</structuredBody></component></ClinicalDocument>'
    return document(order, CDA, body.encode(), "CDA")


def document(order: Order, sop_class_uid: str, content: bytes, title: str) -> ReceivedObject:
    """Return an object that carries a file."""
    ds = Dataset()
    ds.SpecificCharacterSet, ds.DocumentTitle = "ISO_IR 192", title
    ds.EncapsulatedDocument = content + b"\0" * (len(content) % 2)
    return _sent(order, sop_class_uid, ReceivedKind.DOCUMENT, ds, title)


def _sent(order: Order, sop_class_uid: str, kind: ReceivedKind, ds: Dataset, title: str) -> ReceivedObject:
    written = DicomBytesIO()
    written.is_little_endian, written.is_implicit_VR = True, False
    write_dataset(written, ds)
    return ReceivedObject(
        f"1.2.9.{order.id}.{sop_class_uid[-2:].lstrip('.0')}",
        sop_class_uid,
        kind,
        "XRAY_14",
        title=title,
        study_instance_uid=order.study_instance_uid,
        dataset=written.getvalue(),
        digest=title,
    )
