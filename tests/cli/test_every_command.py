"""Every command says whether it reads or changes; what reads can print JSON, what changes can be tried out."""

from __future__ import annotations

import argparse
import io
import json
import re
import shlex
import shutil
import sqlite3
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from broker.cli.commands import Effect, Exit
from broker.cli.main import main, parser
from tests.support import factory

GUID = "3f2c1d7e-0a4b-4c59-9e1d-5b8f6a7c0d21"
SERVING = {"run", "demo", "practice-bus"}
# Command -> arguments with which it has something to say about the clinic of `clinic`.
READING = {
    "check": "",
    "version": "",
    "account list": "",
    "device list": "",
    "order list": "",
    "directory list": "",
    "directory show": "diagnoses M17",
    "client list": "",
    "reading list": "",
    "dose account": "--year 2026",
    "reading deferred": "",
    "reading asked": "",
    "echo": "NOBODY 127.0.0.1 1",
    "why": "K2611-0001 XRAY_14",
    "worklist": "XRAY_14",
    "conformance": "",
}
CHANGING = {
    "account add": "yudin --name Юдин --role technologist --generate",
    "account disable": "orlova",
    "account password": "orlova --password-stdin",
    "reading double": "WLB-KNEE",
    "dose row": "12.3 WLB-KNEE",
    "dose prophylactic": "WLB-KNEE",
    "reading free": "K2611-0001",
    "reading once": "K2611-0001 --reason болеет",
    "reading resume": "K2611-0001",
    "reading unask": "K2611-0001",
    "device add": "CT_1 --name КТ --modality CT",
    "order add": "--json orders.json",
    "import": "referrals.csv",
    "forward": "RIS --since 2026-11-30",
    "directory import": "body-sites.csv --kind body-sites --system 1.2.643.5.1.13.13.11.1477 --version 1",
    "client add": f"lis --organisation {GUID}",
    "client token": "mis",
    "client disable": "mis",
}
WITHOUT_CONFIGURATION = {"version", "echo"}


def leaves(
    command: argparse.ArgumentParser, words: tuple[str, ...] = ()
) -> Iterator[tuple[str, argparse.ArgumentParser]]:
    for action in command._actions:
        if isinstance(action, argparse._SubParsersAction):
            for name, child in action.choices.items():
                yield from leaves(child, (*words, name))
            return
    yield " ".join(words), command


COMMANDS = dict(leaves(parser()))


def run(config: Path, command: str, *options: str) -> int:
    arguments = shlex.split({**READING, **CHANGING}[command])
    where = [] if command in WITHOUT_CONFIGURATION else ["-c", str(config)]
    return main([*command.split(), *arguments, *options, *where])


@pytest.fixture(scope="module")
def made_clinic() -> dict[str, Path]:
    """Where the clinic of this module was made; empty before the first test."""
    return {}


@pytest.fixture
def clinic(
    config: Path,
    made_clinic: dict[str, Path],
    tmp_path: Path,
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
) -> Path:
    """A clinic that has one of everything; the directory with the files of CHANGING is the current one."""
    monkeypatch.chdir(tmp_path)
    if not made_clinic:
        _make_clinic(config, tmp_path)
        made_clinic["directory"] = tmp_path_factory.mktemp("made") / "clinic"
        shutil.copytree(tmp_path, made_clinic["directory"])
    else:
        shutil.copytree(made_clinic["directory"], tmp_path, dirs_exist_ok=True)
    return config


def _make_clinic(config: Path, tmp_path: Path) -> None:
    (tmp_path / "icd.csv").write_text("Код МКБ-10;Наименование\nM17;Гонартроз\n", "utf-8")
    (tmp_path / "body-sites.csv").write_text("Код;Наименование\n4;Кисть\n", "utf-8")
    referral = {
        "patient": {"name": "Кузнецова Марина Петровна", "birth_date": "1961-03-12", "sex": "F"},
        "procedure": "WLB-KNEE",
        "stations": ["XRAY_14"],
        "start": factory.soon().isoformat(),
    }
    (tmp_path / "orders.json").write_text(json.dumps(referral), "utf-8")
    (tmp_path / "referrals.csv").write_text(
        "ФИО;дата рождения;пол;исследование;аппарат;дата;время\n"
        f"Иванов Иван;18.10.1974;м;WLB-KNEE;XRAY_14;{factory.soon():%d.%m.%Y};{factory.soon():%H:%M}\n",
        "utf-8",
    )
    for command in (
        "account add orlova --name Орлова --role registrar --generate",
        "device add XRAY_14 --name Рентген --modality DX",
        "order add --json orders.json",
        "directory import icd.csv --kind diagnoses --version 2.27",
        f"client add mis --organisation {GUID}",
    ):
        assert main([*shlex.split(command), "-c", str(config)]) == Exit.OK, command
    put_aside(config)


def put_aside(config: Path) -> None:
    """Let a reader have put the clinic's study aside, and another have it open."""
    with sqlite3.connect(config.parent / "data" / "worklist.sqlite") as db:
        db.execute("INSERT INTO mpps_node (ae_title, message_id, at) VALUES ('RIS', 7, '2026-11-30')")
        db.execute(
            "INSERT INTO reading_lease SELECT id, 'report', 'larin', 'Ларин', '2026-11-30', '2999-01-01' FROM orders"
        )
        db.execute(
            "INSERT INTO over_read (order_id, version, asked_by, asked_by_title, asked_of, asked_of_title, question,"
            " asked_at) SELECT id, 1, 'volskaya', 'Вольская', '', '', 'тень?', '2026-11-30T09:00:00+00:00' FROM orders"
        )
        db.execute(
            "INSERT INTO reading_deferral SELECT id, 'volskaya', 'Вольская', 'нет снимка', '2026-11-30' FROM orders"
        )
    db.close()


def content(config: Path) -> list[str]:
    with sqlite3.connect(config.parent / "data" / "worklist.sqlite") as db:
        dump = list(db.iterdump())
    db.close()
    return dump


def test_every_command_is_tried_here() -> None:
    assert {name for name, command in COMMANDS.items() if command.get_default("effect") is Effect.READS} == set(READING)
    assert {name for name, command in COMMANDS.items() if command.get_default("effect") is Effect.CHANGES} == set(
        CHANGING
    )
    assert {name for name, command in COMMANDS.items() if command.get_default("effect") is Effect.SERVES} == SERVING
    assert set(COMMANDS) == {*READING, *CHANGING, *SERVING}


@pytest.mark.parametrize("command", READING)
def test_a_command_that_reads_prints_json(clinic: Path, command: str, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    before = content(clinic)
    run(clinic, command, "--json")
    printed = json.loads(capsys.readouterr().out)
    assert printed, "it has nothing to say"
    assert content(clinic) == before
    run(clinic, command)
    assert capsys.readouterr().out.strip()


@pytest.mark.parametrize("command", CHANGING)
def test_a_dry_run_changes_nothing(
    clinic: Path, command: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    capsys.readouterr()
    monkeypatch.setattr(sys, "stdin", io.StringIO("long enough\nlong enough\n"))
    before = content(clinic)
    assert run(clinic, command, "--dry-run") == Exit.OK
    printed = capsys.readouterr().out
    assert "nothing is kept" in printed or command == "order add"
    assert content(clinic) == before
    assert not re.search(r"Password: |[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}", printed), "a secret that opens nothing"
    assert run(clinic, command) == Exit.OK  # … which it would do
    assert content(clinic) != before


def test_a_dry_run_of_an_order_has_no_numbers(clinic: Path, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    assert run(clinic, "order add", "--dry-run") == Exit.OK
    assert json.loads(capsys.readouterr().out) == {"accession_number": None, "order_id": None}


def test_a_dry_run_finds_what_is_wrong(clinic: Path, capsys: pytest.CaptureFixture[str]) -> None:
    wrong = ["device", "add", "CT_1", "--address", "ct.local", "--dry-run", "-c", str(clinic)]
    assert main(wrong) == Exit.FAILED
    assert "address: address" in capsys.readouterr().err
    again = ["account", "add", "orlova", "--name", "Орлова", "--role", "registrar", "--dry-run", "-c", str(clinic)]
    assert main(again) == Exit.FAILED
    assert "already exists" in capsys.readouterr().err


def test_mistakes_of_the_configuration_come_as_json_too(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config.write_text("clinic: {}\n", encoding="utf-8")
    assert main(["check", "--json", "-c", str(config)]) == Exit.CONFIG
    assert json.loads(capsys.readouterr().out) == {
        "valid": False,
        "mistakes": [f"{config}:1: clinic.name: is required", f"{config}:1: data.directory: is required"],
    }


IMPORTS = ["order add", "import", "directory import"]


@pytest.mark.parametrize("place", ["as it is read", "as it is stored"])
@pytest.mark.parametrize("command", IMPORTS)
def test_a_fault_that_nothing_foresaw_ends_an_import_in_a_line_without_a_name(
    clinic: Path, command: str, place: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*args: object, **options: object) -> None:
        raise RuntimeError("Кузнецова Марина")

    if place == "as it is stored":
        monkeypatch.setattr("broker.cli.context.CommandContext.change", fails)
        monkeypatch.setattr("broker.workflow.referrals.referrals.register_imported", fails)
    else:
        for reader in ("cli.orders.order_json.read", "cli.imports.read_table", "cli.directories.read"):
            monkeypatch.setattr(f"broker.{reader}", fails)
    capsys.readouterr()
    assert run(clinic, command) == Exit.FAILED
    printed = capsys.readouterr()
    assert "RuntimeError" in printed.out + printed.err
    assert "Traceback" not in printed.err
    assert "Кузнецова" not in printed.out + printed.err
    assert len(printed.err.strip().splitlines()) <= 1


def test_lists_that_may_be_called_are_known_to_who_explains_a_list(
    clinic: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with clinic.open("a", encoding="utf-8") as file:
        file.write("dicom: {lists: {ROOM_1: [XRAY_14], ROOM_2: [CT_1]}}\n")
    capsys.readouterr()
    run(clinic, "why")
    assert "Other lists that the order is on: ROOM_1." in capsys.readouterr().out
    run(clinic, "why", "--json")
    assert json.loads(capsys.readouterr().out)["lists"] == ["ROOM_1"]
    run(clinic, "why", "--called", "ROOM_1")
    printed = capsys.readouterr().out
    assert "ok  it is scheduled on XRAY_14, which is on the list of ROOM_1" in printed
    assert "That is the list of ROOM_1. Other lists that the order is on: none." in printed
    assert run(clinic, "why", "--called", "ROOM_2") == 1
    printed = capsys.readouterr().out
    assert "NO  it is scheduled on XRAY_14; the list of ROOM_2 is of CT_1" in printed
    assert "do: schedule it on one of these, or add its device or room to ROOM_2 in dicom.lists" in printed
    assert run(clinic, "why", "--called", "ROOM_3") == 1
    assert "dicom.lists has ROOM_1, ROOM_2" in capsys.readouterr().err
    for called, expected in (("ROOM_1", ["K2611-0001"]), ("ROOM_2", []), ("WORKLIST", ["K2611-0001"])):
        assert run(clinic, "worklist", "--called", called) == Exit.OK
        assert [line.split("\t")[1] for line in capsys.readouterr().out.splitlines()] == expected
    assert run(clinic, "worklist", "--called", "NONE") == Exit.FAILED
