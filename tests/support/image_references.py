"""A performed step of a dynamic CT on the wire: as datasets so many references would take minutes to write."""

from __future__ import annotations

import struct
from collections.abc import Iterable

CT = b"1.2.840.10008.5.1.4.1.1.2.1"


def element(tag: int, value: bytes, implicit: bool = True, vr: bytes = b"UI") -> bytes:
    value += (b"\0" if vr == b"UI" else b" ") * (len(value) % 2)
    if implicit:
        return struct.pack("<HHL", tag >> 16, tag & 0xFFFF, len(value)) + value
    if vr == b"SQ":
        return struct.pack("<HH2s2xL", tag >> 16, tag & 0xFFFF, vr, len(value)) + value
    return struct.pack("<HH2sH", tag >> 16, tag & 0xFFFF, vr, len(value)) + value


def item(data: bytes, *, delimited: bool = False) -> bytes:
    if delimited:
        return struct.pack("<HHL", 0xFFFE, 0xE000, 0xFFFFFFFF) + data + struct.pack("<HHL", 0xFFFE, 0xE00D, 0)
    return struct.pack("<HHL", 0xFFFE, 0xE000, len(data)) + data


def reference(instance: bytes, implicit: bool = True) -> bytes:
    return element(0x00081150, CT, implicit) + element(0x00081155, instance, implicit)


def ending(series: Iterable[int], implicit: bool = True) -> bytes:
    """Make the N-SET that ends a step, with series of so many images, in Explicit or Implicit VR Little Endian."""
    made = []
    for number, images in enumerate(series, 1):
        uid = b"1.2.840.113619.2.55.3.604688119.969.1268071029.%d" % number
        references = b"".join(item(reference(uid + b".%06d" % image, implicit)) for image in range(images))
        made.append(
            item(
                element(0x00080054, b"", implicit, b"AE")
                + element(0x0008103E, b"Perfusion", implicit, b"LO")
                + element(0x00081050, b"", implicit, b"PN")
                + element(0x00081070, b"", implicit, b"PN")
                + element(0x00081140, references, implicit, b"SQ")
                + element(0x00181030, b"CT", implicit, b"LO")
                + element(0x0020000E, uid, implicit)
                + element(0x00400220, b"", implicit, b"SQ")
            )
        )
    return (
        element(0x00400250, b"20261124", implicit, b"DA")
        + element(0x00400251, b"093400", implicit, b"TM")
        + element(0x00400252, b"COMPLETED", implicit, b"CS")
        + element(0x00400340, b"".join(made), implicit, b"SQ")
    )
