"""The further fields of a report: one text that reads back as it was written, in whatever version of the form."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from broker.domain.reading import report_form

values = st.dictionaries(st.sampled_from(report_form.FIELDS), st.text(max_size=20))


@given(values)
def test_what_is_filled_in_reads_back_and_equal_fields_are_equal_texts(filled: dict[str, str]) -> None:
    packed = report_form.pack(filled)
    assert report_form.unpack(packed) == {name: value for name, value in filled.items() if value}
    assert report_form.pack(report_form.unpack(packed)) == packed
    assert (packed == "") == (not any(filled.values()))


def test_a_field_of_another_version_of_the_form_is_still_read() -> None:
    kept = json.dumps({"version": 2, "blood_pressure": "120/80", "purpose": "скрининг"})
    assert report_form.unpack(kept) == {"purpose": "скрининг", "blood_pressure": "120/80"}
