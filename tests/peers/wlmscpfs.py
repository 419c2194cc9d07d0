"""DCMTK's wlmscpfs: the reference worklist server, on worklist files."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.peers.dcmtk import tool
from tests.support.waiting import wait_until


@contextmanager
def wlmscpfs(directory: Path, called: str = "OFFIS", *options: str) -> Iterator[int]:
    """Serve the worklist files in `directory/called`; gives the port."""
    (directory / called).mkdir(parents=True, exist_ok=True)
    (directory / called / "lockfile").touch()  # without it wlmscpfs refuses the folder
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    process = subprocess.Popen(
        [tool("wlmscpfs"), "-s", *options, "-dfp", str(directory), str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:

        def listens() -> bool:
            assert process.poll() is None, "wlmscpfs ended"
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
            except OSError:
                return False
            return True

        wait_until(listens, "wlmscpfs to listen", every=0.05)
        yield port
    finally:
        process.terminate()
        process.wait(10)
