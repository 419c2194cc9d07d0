"""A port in a process of its own, what its memory and its answers to others are, and a client that keeps no rules."""

from __future__ import annotations

import json
import os
import select
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from broker.dicom.upper_layer.dimse import command_set
from broker.dicom.upper_layer.dimse.command_set import CommandSet
from broker.dicom.upper_layer.pdu import reader, writer
from tests.dicom.upper_layer.requests import IMPLICIT, MPPS, WORKLIST, request
from tests.support.waiting import wait_until

ROOT = Path(__file__).parents[3]
ECHO = "1.2.840.10008.1.1"
MOST_MEMORY = 100 << 10  # kilobytes that an attack may cost
RELEASE = b"\x05\x00\x00\x00\x00\x04\x00\x00\x00\x00"


def associate_rq(calling: str = "XRAY_14", **changes: Any) -> bytes:
    """Ask for an association in three contexts: 1 worklist, 3 performed steps, 5 echo."""
    return request((WORKLIST, [IMPLICIT]), (MPPS, [IMPLICIT]), (ECHO, [IMPLICIT]), calling=calling, **changes)


def command(field: int, sop_class: str, id: int = 1, has_dataset: bool = True, instance: str = "") -> bytes:
    """Write a request's command set."""
    return command_set.write(CommandSet(field, id, has_dataset, sop_class, instance or None), strict=False)


def echo_rq(id: int = 1) -> bytes:
    """Ask for an echo."""
    return writer.message(5, command(command_set.C_ECHO, ECHO, id, has_dataset=False), None, 0)


def find_rq(identifier: bytes, id: int = 1) -> bytes:
    """Ask the worklist."""
    return writer.message(1, command(command_set.C_FIND, WORKLIST, id), identifier, 0)


class Client:
    """A socket that sends whatever it is told to."""

    def __init__(self, port: int, source: str = "127.0.0.1", timeout: float = 10.0) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=timeout, source_address=(source, 0))
        self._rest = b""

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def send(self, data: bytes) -> None:
        """Send; where the port does not listen any more, that is its answer."""
        with suppress(OSError):
            self.socket.sendall(data)

    def associate(self, calling: str = "XRAY_14", **changes: Any) -> Client:
        """Ask for an association and get it."""
        self.send(associate_rq(calling, **changes))
        kind, _ = self.pdu()
        assert kind == 2, kind
        return self

    def pdu(self) -> tuple[int, bytes]:
        """Read a PDU: its type (0 where the connection ended) and what follows its header."""
        if len(header := self._read(6)) < 6:
            return 0, b""
        kind, length = struct.unpack(">BxL", header)
        return kind, self._read(length)

    def _read(self, count: int) -> bytes:
        while len(self._rest) < count:
            try:
                data = self.socket.recv(65536)
            except ConnectionError:
                data = b""
            if not data:
                rest, self._rest = self._rest, b""
                return rest
            self._rest += data
        data, self._rest = self._rest[:count], self._rest[count:]
        return data

    def answers(self) -> list[tuple[int, bytes]]:
        """Read the answers to one request, up to the last: statuses and datasets."""
        reported: list[tuple[int, bytes]] = []
        parts = {0: b"", 1: b""}
        while True:
            kind, body = self.pdu()
            if kind != 4:
                raise ConnectionError(f"a PDU of type {kind}: {body!r}")
            for _, control, fragment in reader.values(body):
                parts[control & 1] += fragment
                if control == 3:
                    status = parts[1][parts[1].index(b"\x00\x00\x00\x09\x02\x00\x00\x00") + 8 :][:2]
                    reported.append((int.from_bytes(status, "little"), b""))
                    parts[1] = b""
                    if reported[-1][0] not in (0xFF00, 0xFF01):
                        return reported
                elif control == 2:
                    reported[-1] = (reported[-1][0], parts[0])
                    parts[0] = b""

    def ended_within(self, seconds: float) -> bool:
        """Say whether the port closes the connection, whatever it says before."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            if select.select([self.socket], [], [], left)[0]:
                try:
                    if not self.socket.recv(65536):
                        return True
                except OSError:
                    return True
        return False


@dataclass
class Attacked:
    """A port in a process of its own."""

    process: subprocess.Popen[bytes]
    port: int
    tls_port: int
    log: Path
    _memory: list[int] = field(default_factory=list)

    def memory(self) -> int:
        """Return the resident memory in kilobytes."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(status.split("VmRSS:")[1].split()[0])

    def sockets(self) -> int:
        """Count what the process has open that is a socket."""
        folder = Path(f"/proc/{self.process.pid}/fd")
        count = 0
        for each in folder.iterdir():
            try:
                count += os.readlink(each).startswith("socket:")
            except OSError:
                continue
        return count

    def threads(self) -> int:
        """Count its threads."""
        return len(list(Path(f"/proc/{self.process.pid}/task").iterdir()))

    def echo(self, source: str = "127.0.0.2") -> None:
        """Ask for an echo from another address, connection and release included."""
        with Client(self.port, source) as client:
            client.associate("FLG_12")
            client.send(echo_rq())
            assert client.answers() == [(0, b"")]
            client.send(RELEASE)
            assert client.pdu()[0] == 6

    def lines(self, word: str) -> list[str]:
        """Return the lines of its log that hold a word."""
        return [line for line in self.log.read_text(errors="replace").splitlines() if word in line]


@contextmanager
def attacked(database: Path, **config: Any) -> Iterator[Attacked]:
    """Run a port on a database that nobody else has open; afterwards it must still work, and end by itself."""
    log = database.with_suffix(".log")
    with log.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.dicom.upper_layer.port_process", str(database), json.dumps(config)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=file,
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
    try:
        assert process.stdout is not None
        assert process.stdin is not None
        port, tls_port = json.loads(process.stdout.readline())
        target = Attacked(process, port, tls_port, log)
        for _ in range(3):
            target.echo()
        yield target
        target.echo()
        process.stdin.close()
        assert process.wait(15) == 0
        assert "Traceback" not in log.read_text(errors="replace"), log.read_text(errors="replace")[-3000:]
    finally:
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                pipe.close()


@contextmanager
def others_are_served(target: Attacked) -> Iterator[list[bool]]:
    """While it runs, echoes from another address are answered, and memory does not grow by much.

    Yield the echoes that have been answered so far: an attack that holds something waits for more of them.
    """
    before, stop = target.memory(), threading.Event()
    served: list[bool] = []
    most = [before]
    failures: list[BaseException] = []

    def watch() -> None:
        while not stop.is_set():
            most[0] = max(most[0], target.memory())
            try:
                target.echo()
                served.append(True)
            except BaseException as error:  # told by the assertion below
                failures.append(error)
            stop.wait(0.05)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield served
    finally:
        stop.set()
        watcher.join()
    most[0] = max(most[0], target.memory())
    assert not failures, failures[0]
    assert served
    assert most[0] - before < MOST_MEMORY, f"memory grew from {before} to {most[0]} kB"


def wait_for_others(served: list[bool]) -> None:
    """Wait until somebody else has been served from beginning to end, while an attack holds what it has."""
    before = len(served)
    wait_until(lambda: len(served) > before + 1, "others to be served during the attack")
