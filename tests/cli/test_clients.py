"""The commands that let a program order studies at our own `/fhir`."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from broker.app.database import open_store
from broker.cli.main import main
from broker.config.loader import load
from broker.security.sessions import token_hash
from broker.store.tables import clients
from broker.store.tables.clients import Client

GUID = "3f2c1d7e-0a4b-4c59-9e1d-5b8f6a7c0d21"
OURS = "c84e7f12-0d39-4b6e-9c7a-5f6e7d8c9b02"


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "config.yaml"
    path.write_text(
        f"clinic: {{name: Клиника}}\ndata: {{directory: data}}\nbus: {{organisation: {OURS}}}\n", encoding="utf-8"
    )
    return path


def known(config: Path) -> list[tuple[str, Client]]:
    store = open_store(load(config))
    with store.read() as reader:
        found = clients.enabled(reader)
    store.close()
    return found


def token(printed: str) -> str:
    [found] = re.findall(r"^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$", printed, re.MULTILINE)
    return str(found)


def test_a_client_is_added_with_a_token_that_is_shown_once(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["client", "add", "mis", "-c", str(config)]) == 0
    shown = token(capsys.readouterr().out)
    [(kept, client)] = known(config)
    assert kept == token_hash(shown)
    assert (client.name, client.organisation, client.send_to_bus, client.last_contact_at) == ("mis", "", False, None)
    assert shown not in (config.parent / "data" / "worklist.sqlite").read_bytes().decode("latin-1")
    assert main(["client", "list", "-c", str(config)]) == 0
    assert capsys.readouterr().out == "mis\tthis clinic\tnever called\n"
    assert main(["client", "add", "mis", "-c", str(config)]) == 1
    assert "already exists" in capsys.readouterr().err


def test_a_new_token_takes_the_place_of_the_old_one(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["client", "add", "mis", "-c", str(config)])
    before = token(capsys.readouterr().out)
    assert main(["client", "token", "mis", "-c", str(config)]) == 0
    after = token(capsys.readouterr().out)
    assert [kept for kept, _ in known(config)] == [token_hash(after)] != [token_hash(before)]


def test_a_client_is_disabled_and_enabled(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["client", "add", "mis", "--send-to-bus", "-c", str(config)])
    assert "bus.url is not configured" in capsys.readouterr().err
    assert main(["client", "disable", "mis", "-c", str(config)]) == 0
    assert known(config) == []
    capsys.readouterr()
    main(["client", "list", "-c", str(config)])
    assert capsys.readouterr().out == "mis\tthis clinic\tnever called\tits orders are sent to the region\tdisabled\n"
    assert main(["client", "disable", "mis", "--enable", "-c", str(config)]) == 0
    assert len(known(config)) == 1


def test_another_clinics_program_has_its_own_organisation(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["client", "add", "clinic-7", "--organisation", GUID, "-c", str(config)]) == 0
    assert main(["client", "add", "own", "--organisation", OURS.upper(), "-c", str(config)]) == 0
    assert {client.name: client.organisation for _, client in known(config)} == {"clinic-7": GUID, "own": ""}
    capsys.readouterr()
    main(["client", "list", "-c", str(config)])
    assert capsys.readouterr().out.splitlines()[0] == f"clinic-7\t{GUID}\tnever called"


@pytest.mark.parametrize(
    "wrong",
    [
        ["bus"],
        ["МИС"],
        ["x"],
        ["mis", "--organisation", "7"],
        ["mis", "--organisation", GUID, "--send-to-bus"],
    ],
)
def test_what_cannot_be_a_client_is_refused(config: Path, wrong: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["client", "add", *wrong, "-c", str(config)]) == 1
    assert "wrong" in capsys.readouterr().err
    assert known(config) == []


def test_without_an_organisation_of_the_clinic_one_must_be_named(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config.write_text("clinic: {name: Клиника}\ndata: {directory: data}\n", encoding="utf-8")
    assert main(["client", "add", "mis", "-c", str(config)]) == 1
    assert "--organisation" in capsys.readouterr().err
    assert main(["client", "add", "mis", "--organisation", GUID, "-c", str(config)]) == 0


@pytest.mark.parametrize("command", ["token", "disable"])
def test_an_unknown_client_is_reported(config: Path, command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["client", command, "nobody", "-c", str(config)]) == 1
    assert "client nobody" in capsys.readouterr().err
