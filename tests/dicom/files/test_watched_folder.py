"""A watched folder of worklist files is followed, and stays its scripts' own."""

from __future__ import annotations

import fcntl
import logging
import os
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from broker.dicom.files.watched_folder import (
    ALL_GONE_AFTER,
    DEEPEST,
    GONE_AFTER,
    RETRY_AFTER,
    SETTLED,
    WorklistFolder,
    key,
)
from broker.domain.clinic.devices import Device
from broker.store.database import Store
from broker.store.tables import devices
from tests.support.clock import NOW, Seconds
from tests.support.factory import CLINIC
from tests.support.worklist_file import wl


class Script:
    """What writes worklist files, and the watch over them, with a clock that both go by."""

    def __init__(self, folder: Path, store: Store) -> None:
        self.folder, self.store, self.clock = folder, store, Seconds(NOW.timestamp())
        folder.mkdir()
        self.watch = WorklistFolder(folder, store, CLINIC, clock=self.clock)

    def write(self, name: str, data: bytes) -> Path:
        path = self.folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(data)
        os.utime(path, (self.clock.now, self.clock.now))
        return path

    def look(self, after: float = 5.0) -> Counter[str]:
        self.clock.now += after
        return self.watch.look()

    def states(self) -> dict[str, str]:
        with self.store.read() as reader:
            rows = reader.rows("SELECT accession_number, state FROM orders ORDER BY id")
        return {row["accession_number"]: row["state"] for row in rows}

    def problems(self) -> list[str]:
        with self.store.read() as reader:
            return [row["problem"] for row in reader.rows("SELECT problem FROM worklist_file WHERE problem <> ''")]


@pytest.fixture
def script(tmp_path: Path, store: Store) -> Script:
    return Script(tmp_path / "wl", store)


def numbered(number: int, **changes: Any) -> bytes:
    own = {
        "AccessionNumber": f"A{number}",
        "StudyInstanceUID": f"1.2.3.{number}",
        "RequestedProcedureID": f"R{number}",
        "ScheduledProcedureStepID": f"S{number}",
    }
    return wl(**{**own, **changes})


def test_what_appears_changes_and_goes_is_followed(script: Script) -> None:
    assert script.look() == {}
    path = script.write("1.wl", numbered(1))
    assert script.look() == {"added": 1}
    assert script.look() == {}
    script.write("1.wl", numbered(1, ScheduledStationAETitle="CR_2"))
    assert script.look() == {"amended": 1}
    path.unlink()
    assert script.look() == {}  # perhaps it is only being written anew
    assert script.look(GONE_AFTER) == {"withdrawn": 1}
    assert script.states() == {"A1": "cancelled"}
    assert script.look() == {}
    script.write("1.wl", numbered(1, ScheduledStationAETitle="CR_2"))
    assert script.look() == {"restored": 1}
    assert script.states() == {"A1": "scheduled"}


@pytest.mark.parametrize("apart", [0.0, 20.0])
def test_a_patient_who_is_corrected_in_all_files_of_a_request_is_taken(script: Script, apart: float) -> None:
    def write(number: int, **changes: Any) -> None:
        script.write(f"{number}.wl", numbered(number, AccessionNumber="A1", **changes))

    write(1)
    write(2)
    write(3)
    assert script.look() == {"added": 3}
    other = {"PatientID": "P9", "PatientName": "Чужая^Алла"}
    write(1, **other)
    assert script.look() == {"refused": 1}
    write(2, **other)
    assert script.look(5.0 + apart) == {"refused": 1}
    assert len(script.problems()) == 2
    write(3, **other)
    assert script.look(5.0 + apart)["amended"] == 3
    assert script.problems() == []
    with script.store.read() as reader:
        whose = reader.rows("SELECT p.patient_id FROM orders o JOIN patient p ON p.id = o.patient_id")
    assert [row["patient_id"] for row in whose] == ["P9"] * 3
    assert script.look(RETRY_AFTER) == {}


def test_folders_as_wlmscpfs_has_them_are_walked_and_other_files_left_alone(script: Script) -> None:
    script.write("OFFIS/1.wl", numbered(1))
    script.write("OFFIS/lockfile", b"")
    script.write("OTHER/2.WL", numbered(2))
    script.write("OTHER/3.dcm", numbered(3))
    script.write("4.wl.tmp", numbered(4))
    deep = script.folder
    for level in range(DEEPEST + 1):
        deep = deep / str(level)
        deep.mkdir()
    (deep / "5.wl").write_bytes(numbered(5))
    before = sorted(path for path in script.folder.rglob("*"))
    assert script.look() == {"added": 2}
    assert script.states() == {"A1": "scheduled", "A2": "scheduled"}
    assert sorted(path for path in script.folder.rglob("*")) == before


def test_a_file_that_is_being_written_is_awaited(script: Script) -> None:
    data = numbered(1)
    script.write("1.wl", data[:200])
    assert script.look(SETTLED / 2) == {}  # too fresh to be looked into
    assert script.look(SETTLED) == {}  # no whole dataset: it is tried again
    script.write("1.wl", data)
    assert script.look() == {"added": 1}
    assert script.problems() == []


def test_a_file_whose_clock_is_ahead_is_taken_over_once_it_rests(script: Script) -> None:
    path = script.write("1.wl", numbered(1))
    os.utime(path, (script.clock.now + 3600, script.clock.now + 3600))
    assert script.look() == {}
    assert script.look() == {"added": 1}


def test_a_damaged_file_is_reported_once_and_imported_when_it_is_fixed(
    script: Script, caplog: pytest.LogCaptureFixture
) -> None:
    script.write("Иванов.wl", numbered(1)[:-200])
    with caplog.at_level(logging.INFO, logger="broker"):
        happened = [script.look() for _ in range(40)]
    assert Counter(outcome for each in happened for outcome in each) == {"refused": 1}
    assert len(caplog.messages) == 1
    assert "not a whole DICOM dataset" in caplog.text
    assert "Иванов" not in caplog.text  # a file's name may be a patient's
    [problem] = script.problems()
    assert "not a whole DICOM dataset" in problem
    script.write("Иванов.wl", numbered(1))
    assert script.look() == {"added": 1}
    assert script.problems() == []


def test_a_refused_file_is_retried_because_the_reason_may_be_fixed(script: Script) -> None:
    script.write("1.wl", numbered(1, ScheduledStationAETitle="", Modality="CT"))
    assert script.look() == {"refused": 1}
    assert script.look() == {}
    assert script.problems() == ["it has no Scheduled Station AE Title, and no device for CT is registered"]
    script.store.write(lambda tx: devices.put(tx, Device("CT_1", "КТ", "CT")))
    assert script.look() == {}
    assert script.look(RETRY_AFTER) == {"added": 1}
    assert script.problems() == []


def test_a_changed_file_that_is_refused_leaves_its_order_as_it_was(script: Script) -> None:
    script.write("1.wl", numbered(1))
    script.look()
    script.write("1.wl", numbered(1, PatientName="Петрова^Ольга"))
    assert script.look() == {"refused": 1}
    assert script.states() == {"A1": "scheduled"}
    script.folder.joinpath("1.wl").unlink()
    script.look()
    assert script.look(GONE_AFTER) == {"withdrawn": 1}


def test_scripts_may_delete_everything_and_write_it_again_under_other_names(script: Script) -> None:
    first, second = script.write("a.wl", numbered(1)), script.write("b.wl", numbered(2))
    assert script.look() == {"added": 2}
    first.unlink()
    second.unlink()
    assert script.look() == {}
    script.write("c.wl", numbered(1))
    script.write("d.wl", numbered(2, ScheduledStationAETitle="CR_2"))
    assert script.look() == {"unchanged": 1, "amended": 1}
    for _ in range(5):
        assert script.look(GONE_AFTER) == {}
    assert script.states() == {"A1": "scheduled", "A2": "scheduled"}


def test_a_share_that_is_away_does_not_empty_the_worklist(script: Script, caplog: pytest.LogCaptureFixture) -> None:
    for number in (1, 2, 3):
        script.write(f"{number}.wl", numbered(number))
    script.look()
    away = script.folder.with_name("away")
    script.folder.rename(away)  # the mount point is not there
    for _ in range(3):
        assert script.look(ALL_GONE_AFTER) == {}
    assert len([line for line in caplog.messages if "cannot be read" in line]) == 1
    script.folder.mkdir()  # it is there, and empty
    for _ in range(3):
        assert script.look(GONE_AFTER) == {}
    away.rename(script.folder)
    assert script.look() == {"unchanged": 3}
    assert set(script.states().values()) == {"scheduled"}


def test_a_folder_that_is_really_emptied_empties_the_worklist_in_the_end(script: Script) -> None:
    paths = [script.write(f"{number}.wl", numbered(number)) for number in (1, 2)]
    script.look()
    for path in paths:
        path.unlink()
    script.look()
    assert script.look(ALL_GONE_AFTER) == {"withdrawn": 2}


def test_while_a_script_holds_the_lock_nothing_is_read_and_nothing_counts_as_gone(script: Script) -> None:
    path = script.write("OFFIS/1.wl", numbered(1))
    script.write("OFFIS/2.wl", numbered(2))
    lockfile = script.write("OFFIS/lockfile", b"")
    assert script.look() == {"added": 2}
    with lockfile.open("r+b") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        path.unlink()
        script.write("OFFIS/3.wl", numbered(3))
        assert script.look(GONE_AFTER) == script.look(GONE_AFTER) == {}
        script.write("OFFIS/1.wl", numbered(1))
    assert script.look() == {"added": 1, "unchanged": 1}
    assert script.look(GONE_AFTER) == {}
    assert set(script.states().values()) == {"scheduled"}


def test_what_was_known_before_a_restart_is_known_after_it(script: Script) -> None:
    script.write("1.wl", numbered(1))
    gone = script.write("2.wl", numbered(2))
    script.look()
    gone.unlink()
    script.watch = WorklistFolder(script.folder, script.store, CLINIC, clock=script.clock)
    assert script.look() == {"unchanged": 1}
    assert script.look(GONE_AFTER) == {"withdrawn": 1}


def test_a_watch_minds_only_the_files_of_its_own_folder(script: Script, tmp_path: Path) -> None:
    script.write("1.wl", numbered(1))
    script.look()
    beside = Script(tmp_path / "wl2", script.store)
    beside.write("2.wl", numbered(2))
    assert beside.look() == {"added": 1}
    assert beside.look(ALL_GONE_AFTER) == script.look(ALL_GONE_AFTER) == {}
    assert set(script.states().values()) == {"scheduled"}


def test_odd_names_dangling_links_pipes_and_folders_do_no_harm(script: Script) -> None:
    name = os.fsdecode("Иванов.wl".encode("cp1251"))
    script.write(name, numbered(1))
    (script.folder / "away.wl").symlink_to(script.folder / "nowhere")
    (script.folder / "folder.wl").mkdir()
    os.mkfifo(script.folder / "pipe.wl")
    assert script.look() == {"added": 1}
    assert script.look(GONE_AFTER) == {}
    with script.store.read() as reader:
        assert reader.value("SELECT path FROM worklist_file") == key(script.folder / name)


def test_a_number_that_stands_in_two_files_is_refused_in_the_second(script: Script) -> None:
    script.write("1.wl", numbered(1))
    script.write("2.wl", numbered(1))
    assert script.look() == {"added": 1, "refused": 1}
    assert script.problems() == ["the accession number A1 is that of another file's order"]
