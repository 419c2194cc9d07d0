"""The servers of the bench as real processes: ours with its real database, wlmscpfs and Orthanc tuned as well as known.

Each gives its port, its process, and how long it took until it answered.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from broker.dicom.scu import echo
from broker.store.database import Store
from tests.bench import items
from tests.peers.dcmtk import tool

ROOT = Path(__file__).parents[2]
AE_TITLE = "WLSCP"
ORTHANC_PLUGIN = Path("/usr/share/orthanc/plugins/libModalityWorklists.so")


@dataclass(frozen=True)
class Server:
    """A server that listens."""

    name: str
    port: int
    pid: int
    started: float  # seconds until it answered

    def memory(self) -> float:
        """Return its resident memory in megabytes."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        return int(status.split("VmRSS:")[1].split()[0]) / 1024


@contextmanager
def ours(folder: Path, count: int, today: date, more: str = "", web: int = 0) -> Iterator[Server]:
    """Run the whole program, screens included, on a database of `count` items; `more` is further configuration."""
    database = folder / "data" / "worklist.sqlite"
    if not database.exists():
        store = Store(database)
        items.fill(store, count, today)
        store.close()
    port, web = free_port(), web or free_port()
    config = folder / "config.yaml"
    config.write_text(
        "clinic: {name: Bench, time_zone: UTC}\n"
        "data: {directory: data}\n"
        f"dicom: {{ae_title: {AE_TITLE}, address: 127.0.0.1, port: {port}, max_per_address: 100}}\n"
        f"web: {{port: {web}}}\n"
        "backup: {keep: 0}\n" + more,
        encoding="utf-8",
    )
    command = [sys.executable, "-m", "broker", "run", "-c", str(config)]
    with _running(command, folder / "ours.log", "ours", port, items.STATION, {"PYTHONPATH": str(ROOT)}) as server:
        yield server


@contextmanager
def wlmscpfs(folder: Path, count: int, today: date) -> Iterator[Server]:
    """Run DCMTK's worklist server: one process, without Nagle's algorithm."""
    if not (folder / AE_TITLE).is_dir():
        items.write_files(folder / AE_TITLE, count, today)
    port = free_port()
    command = [tool("wlmscpfs"), "-s", "-dfp", str(folder), str(port)]
    with _running(command, folder / "wlmscpfs.log", "wlmscpfs", port, "BENCH", {"TCP_NODELAY": "1"}) as server:
        yield server


@contextmanager
def orthanc(folder: Path, count: int, today: date) -> Iterator[Server]:
    """Run Debian's Orthanc with its worklist plugin, in UTF-8."""
    if not (folder / AE_TITLE).is_dir():
        items.write_files(folder / AE_TITLE, count, today)
    port = free_port()
    config = folder / "orthanc.json"
    config.write_text(
        f'{{"Name": "bench", "DicomAet": "{AE_TITLE}", "DicomPort": {port}, "HttpServerEnabled": false,'
        ' "RemoteAccessAllowed": false, "DicomAlwaysAllowFind": true, "DicomCheckCalledAet": false,'
        ' "DicomAlwaysAllowFindWorklist": true, "DefaultEncoding": "Utf8", "TcpNoDelay": true,'
        f' "StorageDirectory": "{folder}/storage", "IndexDirectory": "{folder}/storage",'
        f' "Plugins": ["{ORTHANC_PLUGIN}"], "Worklists": {{"Enable": true, "Database": "{folder / AE_TITLE}"}}}}',
        encoding="utf-8",
    )
    command = [tool("Orthanc"), str(config)]
    with _running(command, folder / "orthanc.log", "Orthanc", port, "BENCH", {"TCP_NODELAY": "1"}) as server:
        yield server


@contextmanager
def _running(
    command: list[str], log: Path, name: str, port: int, calling: str, environment: dict[str, str]
) -> Iterator[Server]:
    begun_at = time.monotonic()
    with log.open("wb") as file:
        process = subprocess.Popen(command, stdout=file, stderr=file, env={**os.environ, **environment}, cwd=ROOT)
    try:
        while not echo.echo(AE_TITLE, "127.0.0.1", port, calling, timeout=1).ok:
            if process.poll() is not None or time.monotonic() > begun_at + 60:
                raise RuntimeError(f"{name} does not answer: {log.read_text(errors='replace')[-1000:]}")
            time.sleep(0.05)
        yield Server(name, port, process.pid, time.monotonic() - begun_at)
    finally:
        process.send_signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(20)
        process.kill()
        process.wait()


def free_port() -> int:
    """Find a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
