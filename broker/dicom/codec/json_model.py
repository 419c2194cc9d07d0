"""Messages as they are stored: in the DICOM JSON model (PS3.18 F.2), straight from the bytes on the wire.

What is simple, nearly everything, is written at once; what has rules of its own (numbers, several values, bulk data) by
pydicom. What breaks the rules of its VR is stored as a text: nothing that a device sent is left out.
"""

from __future__ import annotations

import logging
import math
import struct
from typing import Any

from pydicom.datadict import keyword_for_tag, tag_for_keyword
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.tag import Tag

from broker.dicom.codec import charset, decoding, image_references
from broker.dicom.codec.charset import TextDecoder
from broker.dicom.codec.decoding import Element
from broker.dicom.codec.image_references import PackedReferences
from broker.domain.studies.step_rules import PACKED, packed_count

log = logging.getLogger(__name__)

_BULK = {"OB", "OD", "OF", "OL", "OV", "OW", "UN"}
_TEXTS = {"AE", "AS", "CS", "DA", "DT", "LO", "LT", "SH", "ST", "TM", "UC", "UI", "UR", "UT"}


def read(
    data: bytes,
    implicit: bool,
    *,
    fallback: str = charset.CYRILLIC,
    most_bytes: int = decoding.MOST_BYTES,
    most_elements: int = decoding.MOST_ELEMENTS,
    packs: bool = False,
) -> dict[str, Any]:
    """Decode a dataset as `decoding.decode` does; raise Undecodable. For `packs` see `decoding.parse`.

    Its own Specific Character Set is left out: JSON is Unicode.
    """
    elements = decoding.parse(data, implicit, most_bytes, most_elements, packs=packs)
    texts = decoding.text_decoder(elements, charset.BYTE_BY_BYTE, fallback, outermost=True)
    attributes = _item(elements, texts, fallback)
    attributes.pop(f"{decoding.CHARSET:08X}", None)
    return attributes


def _item(elements: list[Element], texts: TextDecoder, fallback: str) -> dict[str, Any]:
    return {f"{each.tag:08X}": _attribute(each, texts, fallback) for each in elements}


def _attribute(element: Element, texts: TextDecoder, fallback: str) -> dict[str, Any]:
    vr, value = element.vr, element.value
    if isinstance(value, PackedReferences):
        return {"vr": "SQ", PACKED: value.text()}
    if not isinstance(value, bytes):
        items = [_item(item, decoding.text_decoder(item, texts, fallback, outermost=False), fallback) for item in value]
        return {"vr": "SQ", "Value": items}
    if not value:
        return {"vr": vr}
    if vr in _TEXTS or vr == "PN":
        text = decoding.text_of(vr, value, texts)
        if not text:
            return {"vr": vr}
        if "\\" not in text and vr != "PN":
            return {"vr": vr, "Value": [text]}
        if "\\" not in text and "=" not in text:
            return {"vr": vr, "Value": [{"Alphabetic": text}]}
    return _by_pydicom(element, texts, fallback)


def _by_pydicom(element: Element, texts: TextDecoder, fallback: str) -> dict[str, Any]:
    made = decoding.data_element(element, texts, fallback)
    try:
        if isinstance(made.value, bytes) and made.VR not in _BULK:
            raise ValueError("bytes")
        written = made.to_json_dict(None, 0)
    except Exception as error:  # a value that breaks the rules of its VR
        log.warning("%08X is stored as a text: %s", element.tag, type(error).__name__)
        value = made.value
        return {"vr": "LO", "Value": [value.decode("latin_1") if isinstance(value, bytes) else str(value)]}
    # JSON has no infinity, and no NaN: they are stored as texts (PS3.18 F.2.3.1).
    if any(isinstance(each, float) and not math.isfinite(each) for each in written.get("Value", ())):
        written["Value"] = [str(each) for each in written["Value"]]
    return written


def unpacked(attributes: dict[str, Any], most: int) -> tuple[dict[str, Any], bool]:
    """Return attributes with the references that were packed as items, and whether that was all of them.

    Lists of more than `most` become empty.
    """
    found, whole = dict[str, Any](), True
    for name, entry in attributes.items():
        if text := entry.get(PACKED):
            packed = image_references.unpack(text) if packed_count(text) <= most else None
            items = [] if packed is None else _items_of(packed)
            entry, whole = {"vr": "SQ", "Value": items} if items else {"vr": "SQ"}, whole and packed is not None
        elif entry.get("vr") == "SQ" and entry.get("Value"):
            pairs = [unpacked(item, most) for item in entry["Value"]]
            entry, whole = {"vr": "SQ", "Value": [item for item, _ in pairs]}, whole and all(all_ for _, all_ in pairs)
        found[name] = entry
    return found, whole


def dataset(attributes: dict[str, Any]) -> Dataset:
    """Return the dataset of a DICOM JSON model; a value that breaks its VR's rules stays as it was written."""
    ds = Dataset()
    for name, entry in attributes.items():
        tag, vr, values = Tag(int(name, 16)), entry["vr"], entry.get("Value", [])
        if vr == "SQ":
            ds.add(DataElement(tag, vr, [dataset(item) for item in values]))
        elif vr in ("DS", "IS"):
            texts = [str(value) for value in values]
            ds.add(DataElement(tag, vr, texts[0] if len(texts) == 1 else texts or None, already_converted=True))
        else:
            key = next((key for key in ("Value", "InlineBinary") if key in entry), None)
            ds.add(DataElement.from_json(Dataset, name, vr, entry.get(key) if key else None, key))
    return ds


def _items_of(packed: PackedReferences) -> list[dict[str, Any]]:
    size = len(packed.data)
    sequence = struct.pack("<HHL", 0x0008, 0x1140, size)
    if not packed.implicit:
        sequence = struct.pack("<HH2s2xL", 0x0008, 0x1140, b"SQ", size)
    elements = decoding.parse(sequence + packed.data, packed.implicit, size + 12, 4 * packed.count + 1)
    items: list[dict[str, Any]] = _item(elements, charset.BYTE_BY_BYTE, "")["00081140"]["Value"]
    return items


def by_keyword(attributes: dict[str, Any]) -> dict[str, Any]:
    """Return attributes of the DICOM JSON model under their keywords; what has none (private) stays under its tag."""
    return {_keyword(tag): value for tag, value in attributes.items()}


def by_tag(attributes: dict[str, Any]) -> dict[str, Any]:
    """Return attributes that `by_keyword` returned under their tags again."""
    return {_tag(keyword): value for keyword, value in attributes.items()}


def _keyword(tag: str) -> str:
    keyword = keyword_for_tag(int(tag, 16))
    # The keyword of a repeating group (60xx) names the group's first tag only.
    return keyword if keyword and tag_for_keyword(keyword) == int(tag, 16) else tag


def _tag(keyword: str) -> str:
    tag = tag_for_keyword(keyword)
    return keyword if tag is None else f"{tag:08X}"
