"""A folder whose files share accession numbers is served as wlmscpfs serves it: every step of every procedure."""

from __future__ import annotations

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
from tests.support.worklist_file import wl

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


def shown(answer: Dataset) -> tuple[str, ...]:
    """Return what an answer says of the numbers, the procedure and the step."""
    [step] = answer.ScheduledProcedureStepSequence
    values = [answer.get(key) for key in TOP_KEYS] + [step.get(key) for key in STEP_KEYS]
    return tuple(str(value or "") for value in values)


def test_every_step_of_every_procedure_of_one_number_is_answered_as_wlmscpfs_does(tmp_path: Path) -> None:
    folder = tmp_path / "OFFIS"
    folder.mkdir()
    (folder / "lockfile").touch()
    for name, content in FILES.items():
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
        with wlmscpfs(tmp_path) as theirs:
            for port in (theirs, server.port):
                for number in ("A1", ""):
                    keys = (f"AccessionNumber={number}", *TOP_KEYS[1:], *(STEP + key for key in STEP_KEYS))
                    found = findscu(port, *keys, directory=tmp_path / "rsp", calling="SCU", called="OFFIS")
                    answers.setdefault(port, []).extend(sorted(shown(each) for each in found.matches))
        assert len(answers[theirs]) == 2 * len(FILES)
        assert answers[server.port] == answers[theirs]
    finally:
        server.stop()
        store.close()
