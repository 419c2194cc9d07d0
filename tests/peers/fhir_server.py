"""sekmet-fhir: a FHIR R4 server that was not written here, and npm's fhir: a validator that was not written here."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests

from broker.bus.fhir import encode
from broker.bus.transport.dialect import Call
from tests.support.waiting import wait_until

VALIDATOR = Path(__file__).parent / "fhirjs"


@dataclass(frozen=True)
class FhirServer:
    """The running server; its answers are read as they come, by no code of ours."""

    url: str
    session: requests.Session

    def send(self, call: Call) -> requests.Response:
        """Send a call of a dialect."""
        headers = {"Content-Type": call.content_type}
        data = call.body or None
        return self.session.request(call.method, self.url + call.path, data=data, headers=headers, timeout=60)

    def made(self, call: Call) -> dict[str, Any]:
        """Send a call that must succeed; gives the answered resource."""
        answer = self.send(call)
        assert answer.ok, answer.text
        body: dict[str, Any] = answer.json()
        return body

    def get(self, path: str, **parameters: str) -> dict[str, Any]:
        """Read or search."""
        answer = self.session.get(f"{self.url}/{path}", params=parameters, timeout=60)
        assert answer.ok, answer.text
        body: dict[str, Any] = answer.json()
        return body

    def count(self, kind: str) -> int:
        """Tell how many resources of a type there are."""
        return int(self.get(kind, _summary="count")["total"])


@contextmanager
def fhir_server(directory: Path) -> Iterator[FhirServer]:
    """Start the server on a free port; without it the test is skipped, in CI it fails."""
    if importlib.util.find_spec("sekmet") is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)("sekmet-fhir is missing: pip install sekmet-fhir")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    url = f"http://127.0.0.1:{port}/fhir"
    settings = directory / "settings.yaml"
    # By itself it plays a hospital that answers orders; here it is to keep what it is given, and nothing else.
    settings.write_text(json.dumps({"base_url": url, "data_dir": str(directory), "simulator": {"enabled": False}}))
    command = [sys.executable, "-m", "sekmet.cli", "serve", "--config", str(settings)]
    with (directory / "log").open("wb") as log, requests.Session() as session:
        session.trust_env = False
        process = subprocess.Popen(
            [*command, "--host", "127.0.0.1", "--port", str(port)], cwd=directory, stdout=log, stderr=log
        )
        try:

            def answers() -> bool:
                assert process.poll() is None, (directory / "log").read_text()
                try:
                    session.get(f"{url}/metadata", timeout=5).raise_for_status()
                except requests.RequestException:
                    return False
                return True

            wait_until(answers, "an answer of sekmet-fhir", timeout=120, every=0.1)
            yield FhirServer(url, session)
        finally:
            process.terminate()
            process.wait(20)


class Validator:
    """npm's fhir in a process of its own; resource after resource."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process

    def errors(self, resource: object) -> list[tuple[str, str]]:
        """Return what it calls an error, as (location, message); unknown members are among that."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(encode(resource) + b"\n")
        self._process.stdin.flush()
        complaints = json.loads(self._process.stdout.readline())
        return [(one["location"], one["message"]) for one in complaints if one["severity"] in ("error", "fatal")]


@contextmanager
def validator() -> Iterator[Validator]:
    """Start npm's fhir; without Node or the package the test is skipped, in CI it fails."""
    node = shutil.which("node")
    lacking = "" if node else "node is missing: apt-get install nodejs npm"
    if node and not (VALIDATOR / "node_modules" / "fhir").is_dir():
        lacking = "npm's fhir is missing: npm ci --prefix tests/peers/fhirjs"
    if lacking:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(lacking)
    command = [str(node), str(VALIDATOR / "validate.js")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        yield Validator(process)
