"""Private elements whose VR is not known (UN, PS3.5 6.2.2): what they are by what they hold. Pure.

A dataset in Implicit VR names no VRs, and only its writer has the dictionary of its private elements. A VR is taken
from pydicom's dictionaries of manufacturers, else by the value, if that is an encoded sequence or plainly a text. What
could be a number stays UN: its bytes then go out as they came.
"""

from __future__ import annotations

import math
import re
import struct
from dataclasses import replace

from pydicom.datadict import private_dictionary_VR

from broker.dicom.codec import charset, decoding
from broker.dicom.codec.charset import TextDecoder
from broker.dicom.codec.decoding import Element, Undecodable

_ITEM = b"\xfe\xff\x00\xe0"
_SEQUENCE = 0x00400100  # any tag of a sequence: bytes are parsed as its value
_NUMBERS = {"US": "H", "SS": "h", "UL": "L", "SL": "l", "FL": "f", "FD": "d"}
_TEXTS = {"AE", "AS", "CS", "DA", "DS", "DT", "IS", "LO", "LT", "PN", "SH", "ST", "TM", "UC", "UI", "UR", "UT"}
_UID = re.compile(r"[0-9]+(\.[0-9]+)+")
_LONGEST = 64  # characters of a LO
_NUMBER_SIZES = (1, 2, 4)  # bytes that a text may have and a single number, too: nothing tells which it is
_CONTROLS = re.compile(r"[\x00-\x08\x0b\x0e-\x1f\x7f-\x9f]")
_LINES = re.compile(r"[\t\n\f\r]")
# In a set of single bytes nearly all bytes are letters: a text of these has words.
_NO_WORDS = re.compile(r"[a-zа-яё][A-ZА-ЯЁ]|[A-Za-z][А-Яа-яЁё]|[А-Яа-яЁё][A-Za-z]|[^\x20-\x7e№А-Яа-яЁё\s]")


def identify(elements: list[Element], fallback: str) -> list[Element]:
    """Return a dataset's elements, the private ones with the VR that they most likely have, also those in items."""
    decoder = decoding.text_decoder(elements, charset.BYTE_BY_BYTE, fallback, outermost=True)
    return _identified(elements, decoder, fallback, 0)


def _identified(elements: list[Element], decoder: TextDecoder, fallback: str, depth: int) -> list[Element]:
    creators = {
        each.tag: each.value.decode("latin_1").strip(" \0")
        for each in elements
        if _is_private(each.tag) and each.tag & 0xFFFF <= 0xFF and isinstance(each.value, bytes)
    }
    found: list[Element] = []
    for each in elements:
        if each.vr == "UN" and _is_private(each.tag) and isinstance(each.value, bytes) and each.value:
            creator = creators.get(each.tag & 0xFFFF0000 | each.tag >> 8 & 0xFF, "")
            each = _by_value(each, each.value, _known_vr(each.tag, creator), decoder)
        if isinstance(each.value, list) and depth < decoding.DEEPEST:
            items = [
                _identified(item, decoding.text_decoder(item, decoder, fallback, outermost=False), fallback, depth + 1)
                for item in each.value
            ]
            each = replace(each, value=items)
        found.append(each)
    return found


def _is_private(tag: int) -> bool:
    return bool(tag >> 16 & 1)


def _known_vr(tag: int, creator: str) -> str:
    try:
        return private_dictionary_VR(tag, creator)
    except KeyError:
        return ""


def _by_value(element: Element, value: bytes, known: str, decoder: TextDecoder) -> Element:
    """Return an element with the VR that the dictionary has and its value fits, or that its value shows."""
    if known in _NUMBERS:
        return replace(element, vr=known) if _are_numbers(value, _NUMBERS[known]) else element
    if known in ("", "SQ") and (items := _items(value)) is not None:
        return replace(element, vr="SQ", value=items)
    text = _text(value, decoder)
    if text is None or known not in ("", *_TEXTS):
        return element
    if known:
        return replace(element, vr=known)
    if len(value) in _NUMBER_SIZES:
        return element
    if _UID.fullmatch(text) and value.endswith(b"\0"):  # PS3.5 6.2: only UI is padded so
        return replace(element, vr="UI")
    is_short = not _LINES.search(text) and all(len(part) <= _LONGEST for part in text.split("\\"))
    return replace(element, vr="LO" if is_short else "UT")


def _are_numbers(value: bytes, code: str) -> bool:
    size = struct.calcsize(f"<{code}")
    return not len(value) % size and all(math.isfinite(number) for (number,) in struct.iter_unpack(f"<{code}", value))


def _items(value: bytes) -> list[list[Element]] | None:
    """Return the items of an encoded sequence (PS3.5 6.2.2, note 7: in Implicit VR); None if it is none."""
    if not value.startswith(_ITEM):
        return None
    whole = struct.pack("<HHL", _SEQUENCE >> 16, _SEQUENCE & 0xFFFF, len(value)) + value
    try:
        [made] = decoding.parse(whole, True, len(whole), decoding.MOST_ELEMENTS)
    except Undecodable:
        return None
    return made.value if isinstance(made.value, list) else None


def _text(value: bytes, decoder: TextDecoder) -> str | None:
    """Return the text that bytes are in a dataset's character set; None if they are no text."""
    try:
        text = decoder.decode(value).removesuffix("\0")
    except UnicodeDecodeError:
        return None
    if _CONTROLS.search(text) or not text.strip():
        return None
    certain = value.isascii() or decoder.term == charset.UTF_8  # other bytes are seldom valid UTF-8
    return text if certain or not _NO_WORDS.search(text) else None
