"""What the composition root does beside starting the parts: it locks the data directory, and makes backups."""

from __future__ import annotations

from pathlib import Path

import pytest

from broker.app import application
from broker.config.loader import load
from broker.store.database import Store
from broker.store.queries import access


def test_two_brokers_never_share_a_data_directory(config: Path) -> None:
    settings = load(config, {})
    first = application.Application(settings)
    try:
        with pytest.raises(application.AlreadyRunning, match="another worklist-broker"):
            application.Application(settings)
    finally:
        first.close()


def test_the_nightly_backup_is_whole_and_old_copies_go(config: Path) -> None:
    settings = load(config, {"WLB__BACKUP__KEEP": "2"})
    running = application.Application(settings)
    try:
        made = [running.back_up() for _ in range(1)]
        for day in (1, 2, 3):
            (settings.backup_directory / f"worklist-2020010{day}-023000.sqlite").touch()
        made.append(running.back_up())
    finally:
        running.close()
    kept = sorted(path.name for path in settings.backup_directory.iterdir())
    assert made[-1].name in kept
    assert len(kept) == 2
    copy = Store(made[-1])
    with copy.read() as reader:
        assert access.accounts(reader) == []
    copy.close()


@pytest.mark.parametrize("sends", [True, False])
def test_reports_go_to_the_archive_where_the_clinic_wants_it(config: Path, sends: bool) -> None:
    environ = {"WLB__PACS__AE_TITLE": "PACS", "WLB__PACS__ADDRESS": "10.0.0.9", "WLB__PACS__SEND_REPORTS": str(sends)}
    running = application.Application(load(config, environ))
    try:
        assert running.clinic.archives_reports is sends
        assert ("reports for the archive" in {job.name for job in running._jobs()}) is sends
    finally:
        running.close()
