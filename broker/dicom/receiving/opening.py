"""What is shown of a received object: its words, read by this program, and its file as it came."""

from __future__ import annotations

from pydicom.dataset import Dataset

from broker.dicom.receiving import objects
from broker.dicom.sr import cda, content, report_text
from broker.dicom.sr.cda import UnreadableXml
from broker.domain.clinic.devices import Device
from broker.domain.studies.received import ReceivedKind, ReceivedObject, StoredObject
from broker.domain.studies.received_text import OpenedObject, ReceivedFile, ReceivedText
from broker.store.database import Reader
from broker.store.tables import devices
from broker.store.tables.studies import received_objects


def open_stored(reader: Reader, stored: StoredObject) -> OpenedObject:
    """Return what can be shown of a stored object, with the character set of the device that sent it."""
    device = devices.get(reader, stored.received.ae_title) or Device(stored.received.ae_title, "", "")
    return open_object(stored.received, received_objects.dataset(reader, stored.id), device.fallback_charset)


def open_object(received: ReceivedObject, data: bytes, fallback: str) -> OpenedObject:
    """Return what can be shown of an object; `fallback` is the character set of a device that names none.

    What cannot be read is empty: never an exception.
    """
    try:
        ds = objects.dataset(data, received.implicit, fallback)
        if received.kind is ReceivedKind.DOCUMENT:
            return _document(ds)
        return OpenedObject(report_text.read(ds))
    except Exception:  # whatever devices have stored, the page says that it cannot be read
        return OpenedObject(ReceivedText(title=received.title, unread=1))


def _document(ds: Dataset) -> OpenedObject:
    raw = ds.get("EncapsulatedDocument")
    found = raw if isinstance(raw, bytes) else b""
    title = content.text(ds, "DocumentTitle") or content.meaning(ds)
    said = ReceivedText(title=title, standing=report_text.standing(ds))
    if found.startswith(b"%PDF-"):
        return OpenedObject(said, ReceivedFile(found, "application/pdf"))
    xml = found.rstrip(b"\0 ")  # an odd length is padded
    try:
        words, carried = cda.read(xml)
    except UnreadableXml:
        return OpenedObject(ReceivedText(title=title, standing=said.standing, unread=1))
    return OpenedObject(words, carried or ReceivedFile(xml, "application/xml"))
