"""Long lists of references to images are kept packed, and nothing of them is lost or taken for what it is not."""

from __future__ import annotations

import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.dicom.codec import decoding, image_references, json_model
from broker.dicom.codec.decoding import Undecodable
from broker.domain.studies import step_rules
from broker.domain.studies.step_rules import PACKED
from tests.support.image_references import element, ending, item, reference

IMAGES, SERIES = "00081140", "00400340"


def read(data: bytes, implicit: bool, *, packs: bool = True, most: int = 30_000) -> dict[str, Any]:
    return json_model.read(data, implicit, most_bytes=1 << 28, most_elements=most, packs=packs)


@pytest.mark.parametrize("implicit", [True, False])
def test_a_long_list_is_packed_and_comes_back_as_it_was(implicit: bool) -> None:
    data = ending([1500, 3, 1000], implicit)
    packed, whole = read(data, implicit), read(data, implicit, packs=False)
    assert [PACKED in series[IMAGES] for series in packed[SERIES]["Value"]] == [True, False, True]
    assert [step_rules.count(series, IMAGES) for series in packed[SERIES]["Value"]] == [1500, 3, 1000]
    assert json_model.unpacked(packed, 1500) == (whole, True)
    given_back, complete = json_model.unpacked(packed, 1499)
    assert not complete
    assert [step_rules.count(series, IMAGES) for series in given_back[SERIES]["Value"]] == [0, 3, 1000]


@pytest.mark.slow
def test_a_hundred_thousand_images_do_not_count_as_elements() -> None:
    data = ending([25_000] * 4)
    assert sum(step_rules.count(each, IMAGES) for each in read(data, True, most=200)[SERIES]["Value"]) == 100_000
    with pytest.raises(Undecodable, match="too many"):
        read(data, True, packs=False)


PIECES = st.sampled_from(
    [
        *[item(reference(b"1.2.%d" % number)) for number in range(3)],
        item(reference(b"1.2.9"), delimited=True),
        item(reference(b"1.2.9") + element(0x00081160, b"1\\2", vr=b"IS")),  # frames
        item(element(0x00081155, b"1.2.9")),  # no class
        item(element(0x00081150, b"") + element(0x00081155, b"1.2.9")),
        item(element(0x00081155, b"1.2.9") + element(0x00081150, b"1.2")),  # in disorder
        item(reference(b"1.2.9") + element(0x00081155, b"1.2.9")),  # twice
        item(reference(b"1.2.9") + element(0x00200013, b"1", vr=b"IS")),  # more than a reference
        item(b""),
        item(reference(b"1.2.9"))[:-3],  # too short
        struct.pack("<HHL", 0xFFFE, 0xE00D, 0),
        struct.pack("<HHL", 0xFFFE, 0xE0DD, 0),
        b"\0\0",
    ]
)


@given(st.lists(PIECES, max_size=6), st.booleans())
def test_whatever_comes_is_read_as_without_packing(pieces: list[bytes], delimited: bool) -> None:
    body = b"".join(pieces)
    length = 0xFFFFFFFF if delimited else len(body)
    data = struct.pack("<HHL", 0x0008, 0x1140, length) + body
    if delimited:
        data += struct.pack("<HHL", 0xFFFE, 0xE0DD, 0)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(image_references, "LONG", 1)
        outcomes = []
        for packs in (True, False):
            try:
                outcomes.append(json_model.unpacked(read(data, True, packs=packs), 99)[0])
            except Undecodable as error:
                outcomes.append({"error": str(error)})
        assert outcomes[0] == outcomes[1]


def test_what_is_read_for_other_purposes_is_never_packed() -> None:
    ds = decoding.decode(ending([1200]), True, most_bytes=1 << 20, most_elements=5000)
    assert len(ds.PerformedSeriesSequence[0].ReferencedImageSequence) == 1200
