"""Queries with a name as a device writes it."""

from __future__ import annotations

from io import BytesIO

from pydicom.dataset import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset
from pynetdicom.dsutils import decode


def raw_name(raw: bytes, charset: str = "") -> Dataset:
    """Make the query of a device that writes this name, as it is decoded from the wire."""
    ds = Dataset()
    if charset:
        ds.SpecificCharacterSet = charset
    buffer = DicomBytesIO()
    buffer.is_little_endian, buffer.is_implicit_VR = True, True
    write_dataset(buffer, ds)
    name = raw + b" " * (len(raw) % 2)
    element = b"\x10\x00\x10\x00" + len(name).to_bytes(4, "little") + name
    return decode(BytesIO(buffer.getvalue() + element), True, True)
