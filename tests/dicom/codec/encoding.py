"""Datasets and their parts as they are written on the wire."""

from __future__ import annotations

import struct

from pydicom.dataset import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset


def encoded(ds: Dataset, implicit: bool = True) -> bytes:
    file = DicomBytesIO()
    file.is_little_endian, file.is_implicit_VR = True, implicit
    write_dataset(file, ds)
    return file.getvalue()


def header(tag: tuple[int, int], length: int) -> bytes:
    """Write the beginning of an element in Implicit VR."""
    return struct.pack("<HHL", *tag, length)


def element(tag: tuple[int, int], value: bytes) -> bytes:
    return header(tag, len(value)) + value
