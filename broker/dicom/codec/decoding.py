"""Datasets as they come over the wire, parsed to their last byte or refused.

A parser of its own for Implicit and Explicit VR Little Endian, because pydicom's takes what it can and leaves the
rest: of a truncated query it sees fewer keys, and fewer keys are a wider answer. What breaks the encoding's rules
raises Undecodable; what only breaks a value's rules is left to the services. One case cannot be detected: bytes
that end exactly where an element of the outermost level ends are a dataset, whatever was meant to follow.

Nothing here knows what the attributes mean.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from pydicom import config
from pydicom.datadict import dictionary_VR
from pydicom.dataelem import DataElement, empty_value_for_VR
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.tag import BaseTag

from broker.dicom.codec import charset, image_references
from broker.dicom.codec.charset import TextDecoder
from broker.dicom.codec.image_references import PackedReferences

MOST_BYTES = 1 << 20  # of a query's identifier
MOST_ELEMENTS = 5000  # elements and items of a query
DEEPEST = 10  # sequences within sequences
# Of a message about a performed step: the port limits its bytes, and what is packed (images) counts as one.
MOST_MPPS_BYTES, MOST_MPPS_ELEMENTS = 1 << 28, 30_000

_UNDEFINED = 0xFFFFFFFF
_ITEM, _ITEM_END, _SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
_PRIVATE = 0x00010000  # the bit of an odd group
_PADDING, CHARSET = 0xFFFCFFFC, 0x00080005
# PS3.5 7.1.2: these have two reserved bytes and a length of four.
_LONG = {"OB", "OD", "OF", "OL", "OV", "OW", "SQ", "SV", "UC", "UN", "UR", "UT", "UV"}
_SHORT = {
    "AE", "AS", "AT", "CS", "DA", "DS", "DT", "FL", "FD", "IS", "LO", "LT", "PN", "SH", "SL", "SS", "ST", "TM", "UI",
    "UL", "US",
}  # fmt: skip
_NUMBERS = {"US": "H", "SS": "h", "UL": "L", "SL": "l", "FL": "f", "FD": "d", "SV": "q", "UV": "Q", "AT": "HH"}
_TEXTS = {"LO", "LT", "PN", "SH", "ST", "UC", "UT"}  # PS3.5 6.1.2.3: written in the Specific Character Set
_ASCII = {"AE", "AS", "CS", "DA", "DS", "DT", "IS", "TM", "UI", "UR"}
_AS_IT_IS = (_TEXTS | _ASCII) - {"PN", "UI", "DS", "IS"}  # one value of these is a plain text to pydicom


class Undecodable(ValueError):
    """Bytes that are not a dataset, or too large a one; the text says why in at most 64 characters (Error Comment)."""


@dataclass(frozen=True, slots=True)
class Element:
    """One element: its value as it came, or the items of a sequence, or very many of them as they came."""

    tag: int
    vr: str
    value: bytes | list[list[Element]] | PackedReferences


def decode(
    data: bytes,
    implicit: bool,
    *,
    fallback: str = charset.CYRILLIC,
    most_bytes: int = MOST_BYTES,
    most_elements: int = MOST_ELEMENTS,
) -> Dataset:
    """Decode a dataset in Little Endian, `implicit` or explicit VR; raise Undecodable.

    Its Specific Character Set is afterwards the one that its texts were really decoded from: see `charset.decoder_for`,
    also for `fallback`. An empty fallback leaves it and the texts as they came.
    """
    return dataset(parse(data, implicit, most_bytes, most_elements), fallback)


def dataset(elements: list[Element], fallback: str) -> Dataset:
    """Return the dataset of what `parse` returned, as `decode` does."""
    return _dataset(elements, charset.BYTE_BY_BYTE, fallback, outermost=True)


def parse(data: bytes, implicit: bool, most_bytes: int, most_elements: int, *, packs: bool = False) -> list[Element]:
    """Split a dataset into its elements, their values as they came; raise Undecodable.

    With `packs`, long lists of references to images become PackedReferences, and count as one element each.
    """
    if len(data) > most_bytes:
        raise Undecodable(f"{len(data)} bytes are more than {most_bytes}")
    return _Parser(data, most_elements, packs).dataset(0, len(data), implicit, 0, delimited=False)[0]


class _Parser:
    """Splits bytes into elements; every step moves forward or raises Undecodable."""

    def __init__(self, data: bytes, most_elements: int, packs: bool) -> None:
        self._data, self._left, self._packs = data, most_elements, packs

    def dataset(self, at: int, end: int, implicit: bool, depth: int, *, delimited: bool) -> tuple[list[Element], int]:
        """Return elements up to `end`, or to the Item Delimitation that must come before it, and where they ended."""
        found: list[Element] = []
        seen: set[int] = set()
        while at < end:
            tag, at = self._tag(at, end)
            if tag == _ITEM_END and delimited:
                length, at = self._number(at, end)
                if length:
                    raise Undecodable("an Item Delimitation with a length")
                return found, at
            group = tag >> 16
            if group in (0x0000, 0x0002, 0xFFFE) or (tag & 0xFFFF0000) == 0xFFFF0000:
                raise Undecodable(f"{_shown(tag)} may not stand in a dataset")
            if tag in seen:
                raise Undecodable(f"{_shown(tag)} stands twice in one dataset")
            seen.add(tag)
            element, at = self._element(tag, at, end, implicit, depth)
            if tag & 0xFFFF and tag != _PADDING:  # group lengths and padding mean nothing
                found.append(element)
        if delimited:
            raise Undecodable("an item without its end")
        return found, at

    def _element(self, tag: int, at: int, end: int, implicit: bool, depth: int) -> tuple[Element, int]:
        self._count()
        known = _known_vr(tag)
        if implicit:
            vr = known
            length, at = self._number(at, end)
        else:
            vr, length, at = self._explicit(tag, at, end)
            if vr == "UN" and (known == "SQ" or length == _UNDEFINED):
                # PS3.5 6.2.2, note 2 and 7: what somebody did not know is written as Implicit VR.
                vr, implicit = "SQ", True
            elif vr == "UN":
                vr = known
        if length == _UNDEFINED:
            if vr not in ("SQ", "UN"):
                raise Undecodable(f"{_shown(tag)} {vr} has no length")
            return self._sequence(tag, at, end, implicit, depth, delimited=True)
        if length > end - at:
            raise Undecodable(f"{_shown(tag)} says {length} bytes, {end - at} are left")
        if vr == "SQ":
            return self._sequence(tag, at, at + length, implicit, depth, delimited=False)
        return Element(tag, vr, self._data[at : at + length]), at + length

    def _sequence(
        self, tag: int, at: int, end: int, implicit: bool, depth: int, *, delimited: bool
    ) -> tuple[Element, int]:
        if self._packs and tag in image_references.SEQUENCES and depth < DEEPEST:
            walked = image_references.walk(self._data, at, end, implicit, delimited=delimited)
            if walked is not None:
                count, stop, after = walked
                return Element(tag, "SQ", PackedReferences(count, implicit, self._data[at:stop])), after
        items, at = self._items(at, end, implicit, depth, delimited=delimited)
        return Element(tag, "SQ", items), at

    def _explicit(self, tag: int, at: int, end: int) -> tuple[str, int, int]:
        """Return the VR, the length, and where the value begins."""
        if end - at < 4:
            raise Undecodable(f"the end comes within {_shown(tag)}")
        vr = self._data[at : at + 2].decode("latin_1")
        if vr in _LONG:
            length, at = self._number(at + 4, end)
            return vr, length, at
        if vr not in _SHORT:
            raise Undecodable(f"{_shown(tag)} has no VR")
        return vr, int.from_bytes(self._data[at + 2 : at + 4], "little"), at + 4

    def _items(
        self, at: int, end: int, implicit: bool, depth: int, *, delimited: bool
    ) -> tuple[list[list[Element]], int]:
        if depth >= DEEPEST:
            raise Undecodable(f"more than {DEEPEST} sequences within sequences")
        found: list[list[Element]] = []
        while at < end:
            tag, at = self._tag(at, end)
            length, at = self._number(at, end)
            if tag == _SEQUENCE_END and delimited and not length:
                return found, at
            if tag != _ITEM:
                raise Undecodable(f"{_shown(tag)} where an item should be")
            self._count()
            if length == _UNDEFINED:
                elements, at = self.dataset(at, end, implicit, depth + 1, delimited=True)
            elif length > end - at:
                raise Undecodable(f"an item says {length} bytes, {end - at} are left")
            else:
                elements, at = self.dataset(at, at + length, implicit, depth + 1, delimited=False)
            found.append(elements)
        if delimited:
            raise Undecodable("a sequence without its end")
        return found, at

    def _tag(self, at: int, end: int) -> tuple[int, int]:
        if end - at < 8:
            raise Undecodable(f"{end - at} bytes at the end are not an element")
        group, element = struct.unpack_from("<HH", self._data, at)
        return group << 16 | element, at + 4

    def _number(self, at: int, end: int) -> tuple[int, int]:
        if end - at < 4:
            raise Undecodable("the end comes within an element")
        return int.from_bytes(self._data[at : at + 4], "little"), at + 4

    def _count(self) -> None:
        self._left -= 1
        if self._left < 0:
            raise Undecodable("too many elements")


def _shown(tag: int) -> str:
    return f"({tag >> 16:04X},{tag & 0xFFFF:04X})"


@lru_cache(maxsize=2048)  # more than devices use; a sender may name any number of tags
def _known_vr(tag: int) -> str:
    """Return the dictionary's VR, the first of several; UN for private and unknown elements."""
    if tag >> 16 & 1:
        return "LO" if 0x10 <= tag & 0xFFFF <= 0xFF else "UN"  # PS3.5 7.8.1: who reserves a block is LO
    try:
        return dictionary_VR(tag)[:2]
    except KeyError:
        return "UN"


# ---- values ----


def _dataset(elements: list[Element], inherited: TextDecoder, fallback: str, *, outermost: bool = False) -> Dataset:
    """Return pydicom's dataset."""
    declared = _declared(elements)
    decoder = text_decoder(elements, inherited, fallback, outermost=outermost)
    made = [data_element(each, decoder, fallback) for each in elements]
    if any(each.tag & _PRIVATE for each in elements):  # only adding one by one finds their creators
        ds = Dataset()
        for each in made:
            ds.add(each)
    else:
        ds = Dataset({each.tag: each for each in made})
    if fallback and (outermost or declared):
        _name_charset(ds, decoder, declared)
    return ds


def text_decoder(elements: list[Element], inherited: TextDecoder, fallback: str, *, outermost: bool) -> TextDecoder:
    """Return how texts are decoded; an item that names no character set has that of what encloses it (PS3.5 7.5.3)."""
    declared = _declared(elements)
    if not outermost and not declared:
        return inherited
    return charset.decoder_for((declared or b"").decode("latin_1").strip(" \0"), _values_of(elements), fallback)


def _declared(elements: list[Element]) -> bytes | None:
    return next((each.value for each in elements if each.tag == CHARSET and isinstance(each.value, bytes)), None)


def _name_charset(ds: Dataset, decoder: TextDecoder, declared: bytes | None) -> None:
    """Set the Specific Character Set to what texts were decoded from; none for the default repertoire."""
    term = charset.UTF_8 if decoder.term == charset.WINDOWS else decoder.term
    if term:
        ds.SpecificCharacterSet = term.split("\\") if "\\" in term else term
    elif declared is not None:
        del ds.SpecificCharacterSet


def _values_of(elements: list[Element]) -> Iterator[bytes]:
    """Yield the values that are written in the Specific Character Set, those in items too."""
    for each in elements:
        if isinstance(each.value, bytes):
            if each.vr in _TEXTS:
                yield each.value
        elif isinstance(each.value, list):
            for item in each.value:
                yield from _values_of(item)


def data_element(element: Element, decoder: TextDecoder, fallback: str) -> DataElement:
    """Return pydicom's element; one whose value breaks its VR becomes a text or bytes."""
    tag, vr, value = BaseTag(element.tag), element.vr, element.value
    if isinstance(value, PackedReferences):
        raise TypeError("packed references are not read as datasets")
    if not isinstance(value, bytes):
        items = Sequence([_dataset(item, decoder, fallback) for item in value])
        return DataElement(tag, "SQ", items, already_converted=True)
    if vr in _NUMBERS:
        numbers = _numbers(vr, value)
        if numbers is not None:
            return DataElement(tag, vr, numbers, validation_mode=config.IGNORE)
        vr = "UN"
    if vr in _TEXTS or vr in _ASCII:
        text = text_of(vr, value, decoder)
        if vr in _AS_IT_IS and "\\" not in text:  # pydicom would look at it long, and keep it so
            return DataElement(tag, vr, text, already_converted=True, validation_mode=config.IGNORE)
        try:
            return DataElement(tag, vr, text or empty_value_for_VR(vr), validation_mode=config.IGNORE)
        except (ValueError, TypeError, OverflowError):  # an IS or DS that is not a number
            return DataElement(tag, "LO", text, validation_mode=config.IGNORE)
    return DataElement(tag, vr, value or None, already_converted=True)


def text_of(vr: str, value: bytes, decoder: TextDecoder) -> str:
    """Return the text of a value, several values as on the wire, without its padding."""
    if vr in _ASCII:
        text = value.decode("ascii") if value.isascii() else value.decode("latin_1")
        return text.strip(" \0") if vr == "AE" else text.rstrip(" \0")
    try:
        text = decoder.decode(value)
    except UnicodeDecodeError:
        text = charset.BYTE_BY_BYTE.decode(value)
    return text.rstrip(" \0")


def _numbers(vr: str, value: bytes) -> Any:
    """Return a number or a list of them; None if the bytes are not a whole number of numbers."""
    size = struct.calcsize("<" + _NUMBERS[vr])
    if len(value) % size:
        return None
    if vr == "AT":
        found: list[Any] = [group << 16 | element for group, element in struct.iter_unpack("<HH", value)]
    else:
        found = [number for (number,) in struct.iter_unpack("<" + _NUMBERS[vr], value)]
    return found[0] if len(found) == 1 else found
