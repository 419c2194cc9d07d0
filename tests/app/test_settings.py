"""The configuration, as the parts of the program take it."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from broker.app.settings import clinic_of
from broker.config.loader import load


@pytest.mark.parametrize(
    ("pacs", "within", "waits"),
    [
        ("", None, False),
        ("pacs: {wait_for_images: true}", None, False),  # without an archive there is nothing to wait for
        ("pacs: {ae_title: PACS, address: 10.0.0.9}", 60, False),
        ("pacs: {ae_title: PACS, address: 10.0.0.9, images_within: 15, wait_for_images: true}", 15, True),
    ],
)
def test_images_are_expected_only_where_there_is_an_archive(
    config: Path, pacs: str, within: int | None, *, waits: bool
) -> None:
    config.write_text(config.read_text(encoding="utf-8") + pacs + "\n", encoding="utf-8")
    clinic = clinic_of(load(config, {}))
    assert clinic.images_within == (None if within is None else timedelta(minutes=within))
    assert clinic.waits_for_images == waits
