"""Long lists of references to images, kept as they came and compressed: a dynamic CT names 100,000 of them.

Nothing asks more than their number here; as values of Python they would take ten times the memory.
"""

from __future__ import annotations

import struct
import zlib
from base64 import b64decode, b64encode
from dataclasses import dataclass

from broker.domain.studies.step_rules import packed_count

# Referenced Image Sequence, Referenced Non-Image Composite SOP Instance Sequence.
SEQUENCES = {0x00081140, 0x00400220}
LONG = 1000  # items from which on a list is kept so
_CLASS, _INSTANCE, _FRAMES = 0x00081150, 0x00081155, 0x00081160  # an item's elements; a list with others is read as any
_UNDEFINED = 0xFFFFFFFF
_ITEM, _ITEM_END, _SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
_IMPLICIT, _EXPLICIT = struct.Struct("<HHL"), struct.Struct("<HH2sH")
_VRS = (b"UI", b"IS")


@dataclass(frozen=True, slots=True)
class PackedReferences:
    """The items of a sequence as they came, without what delimits it, and their number."""

    count: int
    implicit: bool
    data: bytes

    def text(self) -> str:
        """Return them as a text, which stands in the place of the items in JSON; see `packed_count`."""
        compressed = b64encode(zlib.compress(self.data)).decode("ascii")
        return f"{self.count} {'implicit' if self.implicit else 'explicit'} {compressed}"


def unpack(text: str) -> PackedReferences:
    """Return what `PackedReferences.text` wrote."""
    _, form, compressed = text.split(" ")
    return PackedReferences(packed_count(text), form == "implicit", zlib.decompress(b64decode(compressed)))


def walk(data: bytes, at: int, end: int, implicit: bool, *, delimited: bool) -> tuple[int, int, int] | None:
    """Return the number of items, where they end, and where what follows the sequence begins.

    None if they are few, or not all of them name a SOP class and an instance, perhaps with frames, and nothing else:
    then they are to be read one by one, and what is wrong is found.
    """
    count, low = 0, at
    while True:
        if at == end and not delimited:
            stop = at
            break
        if end - at < 8:
            return None
        group, element, length = _IMPLICIT.unpack_from(data, at)
        at += 8
        tag = group << 16 | element
        if tag == _SEQUENCE_END and delimited and not length:
            stop = at - 8
            break
        if tag != _ITEM or (length != _UNDEFINED and length > end - at):
            return None
        ended = _item_end(data, at, end if length == _UNDEFINED else at + length, implicit, length == _UNDEFINED)
        if ended is None:
            return None
        at, count = ended, count + 1
    return (count, stop, at) if count >= LONG and stop > low else None


def _item_end(data: bytes, at: int, end: int, implicit: bool, delimited: bool) -> int | None:
    """Return where an item of a reference ends; None if it is no whole one, or more than one."""
    found = 0
    last = 0
    while at < end:
        if end - at < 8:
            return None
        if implicit or data[at : at + 2] == b"\xfe\xff":
            group, element, length = _IMPLICIT.unpack_from(data, at)
        else:
            group, element, vr, length = _EXPLICIT.unpack_from(data, at)
            if vr not in _VRS:
                return None
        at += 8
        tag = group << 16 | element
        if tag == _ITEM_END and delimited and not length:
            return at if found == _BOTH else None
        if tag <= last or length > end - at or (not length and tag != _FRAMES):
            return None
        if tag in (_CLASS, _INSTANCE):
            found |= 1 if tag == _CLASS else 2
        elif tag != _FRAMES:
            return None
        last = tag
        at += length
    return at if found == _BOTH and not delimited else None


_BOTH = 3
