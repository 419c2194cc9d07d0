"""A folder whose files share accession numbers is served as wlmscpfs serves it: every step of every procedure."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path

import pytest
from pydicom.dataset import Dataset

from broker.cli.main import main
from broker.dicom.server import DicomServer, PortSettings
from broker.domain.clinic.devices import Device
from broker.store.database import Store
from broker.store.tables import devices
from tests.peers.dcmtk import findscu
from tests.peers.wlmscpfs import wlmscpfs
from tests.support.factory import CLINIC
from tests.support.worklist_file import dataset, wl, written

pytestmark = pytest.mark.slow

STEP = "ScheduledProcedureStepSequence[0]."
TOP_KEYS = ("AccessionNumber", "PatientID", "StudyInstanceUID", "RequestedProcedureID", "RequestedProcedureDescription")
STEP_KEYS = (
    "Modality",
    "ScheduledStationAETitle",
    "ScheduledProcedureStepStartTime",
    "ScheduledProcedureStepDescription",
    "ScheduledProcedureStepID",
)
FOOT = {
    "StudyInstanceUID": "1.2.3.2",
    "RequestedProcedureID": "R2",
    "RequestedProcedureDescription": "FOOT",
}
FILES = {
    "1.wl": wl(RequestedProcedureDescription="HAND", ScheduledProcedureStepDescription="FRONTAL"),
    "2.wl": wl(**FOOT, ScheduledProcedureStepID="S2", ScheduledProcedureStepDescription="FRONTAL"),
    # The second step of the second procedure, on another device.
    "3.wl": wl(
        **FOOT,
        ScheduledProcedureStepID="S3",
        ScheduledProcedureStepDescription="LATERAL",
        ScheduledStationAETitle="XRAY_15",
        ScheduledProcedureStepStartTime="111500",
    ),
}


def shown(answer: Dataset) -> list[tuple[str, ...]]:
    """Return what an answer says of the numbers, the procedure and each step."""
    top = [answer.get(key) for key in TOP_KEYS]
    return [
        tuple(str(value or "") for value in (*top, *(step.get(key) for key in STEP_KEYS)))
        for step in answer.ScheduledProcedureStepSequence
    ]


def answers_of_both(
    tmp_path: Path, files: dict[str, bytes], *numbers: str, options: tuple[str, ...] = ()
) -> tuple[list[tuple[str, ...]], list[tuple[str, ...]]]:
    """Serve files by wlmscpfs and by the program; return what findscu gets of each for these accession numbers."""
    folder = tmp_path / "OFFIS"
    folder.mkdir()
    (folder / "lockfile").touch()
    for name, content in files.items():
        (folder / name).write_bytes(content)
    config = tmp_path / "config.yaml"
    config.write_text("clinic: {name: Клиника}\ndata: {directory: data}\n", encoding="utf-8")
    assert main(["import", str(folder), "-c", str(config)]) == 0
    store = Store(tmp_path / "data" / "worklist.sqlite")
    everything = Device("SCU", "test", "DX", own_only=False, days_before=100_000, days_after=100_000)
    store.write(lambda tx: devices.put(tx, everything))
    server = DicomServer(PortSettings(ae_title="OFFIS", address="127.0.0.1", port=0), store, CLINIC)
    server.start()
    answers: dict[int, list[tuple[str, ...]]] = {}
    try:
        with wlmscpfs(tmp_path, "OFFIS", *options) as theirs:
            for port in (theirs, server.port):
                for number in numbers:
                    keys = (f"AccessionNumber={number}", *TOP_KEYS[1:], *(STEP + key for key in STEP_KEYS))
                    found = findscu(port, *keys, directory=tmp_path / "rsp", calling="SCU", called="OFFIS")
                    answers.setdefault(port, []).extend(sorted(step for each in found.matches for step in shown(each)))
                    if port == server.port:  # PS3.4 K.6.1.2.2: an answer has one step
                        assert all(len(shown(each)) == 1 for each in found.matches)
        return answers[theirs], answers[server.port]
    finally:
        server.stop()
        store.close()


def test_every_step_of_every_procedure_of_one_number_is_answered_as_wlmscpfs_does(tmp_path: Path) -> None:
    theirs, ours = answers_of_both(tmp_path, FILES, "A1", "")
    assert len(theirs) == 2 * len(FILES)
    assert ours == theirs


def test_every_step_of_one_file_is_answered_with_what_wlmscpfs_has_of_it(tmp_path: Path) -> None:
    """wlmscpfs serves such a file only with -dfr, and then puts all its steps into one answer."""
    ds = dataset(PatientName="Kuznetsova^Marina", RequestedProcedureDescription="HAND")
    steps = []
    for number, (what, station) in enumerate((("FRONTAL", "XRAY_14"), ("LATERAL", "XRAY_15"), ("OBLIQUE", "XRAY_14"))):
        step = deepcopy(ds.ScheduledProcedureStepSequence[0])
        step.ScheduledProcedureStepID, step.ScheduledProcedureStepDescription = f"S{number}", what
        step.ScheduledStationAETitle, step.ScheduledProcedureStepStartTime = station, f"10{number}000"
        steps.append(step)
    ds.ScheduledProcedureStepSequence = steps
    theirs, ours = answers_of_both(tmp_path, {"1.wl": written(ds)}, "A1", "", options=("-dfr",))
    assert ours == theirs
    assert len(ours) == 2 * len(steps)
