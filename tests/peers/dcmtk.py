"""DCMTK's tools as peers: programs that we did not write prove the wire."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset


def tool(name: str) -> str:
    """Return the path of a DCMTK program; without it the test is skipped, in CI it fails."""
    found = shutil.which(name)
    if found is None:
        say = pytest.fail if os.environ.get("CI") else pytest.skip
        say(f"{name} is missing: apt-get install dcmtk")
    return str(found)


@dataclass(frozen=True)
class Found:
    """What findscu got: the matches as written into files, and its own words."""

    matches: list[Dataset]
    raw: list[bytes]
    words: str
    status: int


def findscu(
    port: int,
    *keys: str,
    directory: Path,
    calling: str = "XRAY_14",
    called: str = "WORKLIST",
    options: tuple[str, ...] = (),
    query: Path | None = None,
    model: str = "-W",
) -> Found:
    """Ask the worklist with `-k` keys as findscu writes them, or with a file of them; `model` "-S" asks an archive."""
    directory.mkdir(parents=True, exist_ok=True)
    for old in directory.glob("rsp*.dcm"):
        old.unlink()
    command = [tool("findscu"), "-v", model, "-X", "-od", str(directory), "-to", "10", "-td", "10", "-ta", "10"]
    command += [*options, "-aet", calling, "-aec", called, "127.0.0.1", str(port)]
    for key in keys:
        command += ["-k", key]
    command += [str(query)] if query else []
    done = subprocess.run(command, capture_output=True, timeout=30, check=False)
    files = sorted(directory.glob("rsp*.dcm"))
    return Found(
        matches=[dcmread(file, force=True) for file in files],
        raw=[file.read_bytes() for file in files],
        words=(done.stdout + done.stderr).decode("utf-8", "replace"),
        status=done.returncode,
    )


STEP = "ScheduledProcedureStepSequence[0]."
EVERYTHING = (
    "PatientName",
    "PatientID",
    "AccessionNumber",
    "StudyInstanceUID",
    "RequestedProcedureID",
    "RequestedProcedureDescription",
    STEP + "ScheduledProcedureStepID",
)
