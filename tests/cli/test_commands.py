"""The command line explains itself, refuses clearly, and uses the same use cases as the screens."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from broker.cli.commands import Exit
from broker.cli.main import main
from tests.support import factory


@pytest.fixture
def device(config: Path) -> Path:
    args = ["device", "add", "XRAY_14", "--name", "Рентген", "--modality", "dx", "-c", str(config)]
    assert main(args) == 0
    return config


def referral(**changes: Any) -> dict[str, Any]:
    return {
        "patient": {"name": "Кузнецова Марина Петровна", "birth_date": "1961-03-12", "sex": "F"},
        "procedure": "WLB-KNEE",
        "stations": ["XRAY_14"],
        "start": factory.soon().isoformat(),
        "submission_id": "script 1",
        **changes,
    }


def add(config: Path, tmp_path: Path, what: object) -> int:
    file = tmp_path / "orders.json"
    file.write_text(json.dumps(what), encoding="utf-8")
    return main(["order", "add", "--json", str(file), "-c", str(config)])


def test_help_teaches(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as raised:
        main(["--help"])
    assert raised.value.code == 0
    printed = capsys.readouterr().out
    for word in ("run", "check", "demo", "account", "device", "order", "practice-bus", "echo", "version", "try it"):
        assert word in printed


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["version"]) == 0
    assert capsys.readouterr().out.startswith("worklist-broker ")


def test_check_reports_success_or_every_mistake_at_once(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "-c", str(config)]) == 0
    config.write_text("clinic: {name: К}\ndicom:\n  port: 99999\n  ae_titel: X\ndata: {directory: data}\n", "utf-8")
    assert main(["check", "-c", str(config)]) == Exit.CONFIG
    report = capsys.readouterr().err
    assert f"{config}:3: dicom.port" in report
    assert f"{config}:4: dicom.ae_titel" in report


def test_an_account_is_made_listed_disabled_and_given_a_password(
    config: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("long enough\n"))
    arguments = ["--name", "Орлова", "--role", "registrar", "--role", "technologist", "--password-stdin"]
    assert main(["account", "add", "Orlova", *arguments, "-c", str(config)]) == 0
    assert main(["account", "password", "orlova", "--generate", "-c", str(config)]) == 0
    assert "Password: " in capsys.readouterr().out
    assert main(["account", "disable", "orlova", "-c", str(config)]) == 0
    capsys.readouterr()
    assert main(["account", "list", "-c", str(config)]) == 0
    assert capsys.readouterr().out == "orlova\tdisabled\tregistrar,technologist\tОрлова\n"
    assert main(["account", "disable", "orlova", "--enable", "-c", str(config)]) == 0
    assert main(["account", "password", "nobody", "--generate", "-c", str(config)]) == 1
    assert "account nobody" in capsys.readouterr().err


def test_a_list_of_no_accounts_is_empty(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["account", "list", "-c", str(config)]) == 0
    assert capsys.readouterr().out == ""


def test_orders_are_added_once_and_listed(device: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    assert add(device, tmp_path, [referral(), referral(submission_id="script 2")]) == 0
    assert add(device, tmp_path, referral()) == 0  # repeated
    numbers = [json.loads(line)["accession_number"] for line in capsys.readouterr().out.splitlines()]
    assert len(numbers) == 3
    assert numbers[2] == numbers[0]
    assert main(["order", "list", "--json", "-c", str(device)]) == 0
    [one, two] = json.loads(capsys.readouterr().out)
    assert [one["accession_number"], two["accession_number"]] == numbers[:2]
    assert one["patient"]["name"] == "Кузнецова Марина Петровна"
    assert main(["order", "list", "--date", "1999-01-01", "-c", str(device)]) == 0
    assert capsys.readouterr().out == ""


def test_a_new_patient_who_is_similar_to_one_of_ours_is_registered_and_reported(
    device: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    add(device, tmp_path, referral())
    capsys.readouterr()
    nearly = {**referral()["patient"], "birth_date": "1961-12-03"}
    assert add(device, tmp_path, referral(submission_id="script 2", patient=nearly)) == 0
    printed = capsys.readouterr()
    assert "accession_number" in printed.out
    assert printed.err == "referral 1: similar to card 000001 (swapped date)\n"


def test_wrong_forms_are_all_reported_before_anything_is_registered(
    device: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wrong = [referral(), referral(start="yesterday", colour="red"), referral(stations=[])]
    assert add(device, tmp_path, wrong) == 1
    report = capsys.readouterr().err
    for part in ("referral 2: start", "referral 2: colour: unknown field", "referral 3: stations"):
        assert part in report
    main(["order", "list", "-c", str(device)])
    assert capsys.readouterr().out == ""


def test_a_refused_referral_names_its_fields(device: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert add(device, tmp_path, [referral(stations=["NOWHERE"]), referral(submission_id="good")]) == 1
    printed = capsys.readouterr()
    assert "referral 1: Some fields are wrong: device: unknown" in printed.err
    assert "accession_number" in printed.out  # the good one is registered


@pytest.mark.parametrize("text", ["", "{", "[1]", '"x"', "\ufeff{}"])
def test_what_is_not_a_referral_is_refused(device: Path, tmp_path: Path, text: str) -> None:
    file = tmp_path / "orders.json"
    file.write_text(text, encoding="utf-8")
    assert main(["order", "add", "--json", str(file), "-c", str(device)]) == 1


def test_a_missing_file_is_reported(device: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["order", "add", "--json", "no-such-file", "-c", str(device)]) == 1
    assert "no-such-file" in capsys.readouterr().err


def test_echo_reports_that_nothing_answers(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["echo", "NOBODY", "127.0.0.1", "1"]) == 1
    assert "nothing answers at 127.0.0.1:1" in capsys.readouterr().out


def test_data_that_cannot_be_used_is_its_own_exit_status(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = config.parent / "data"
    data.mkdir()
    (data / "worklist.sqlite").write_bytes(b"no database" * 500)
    assert main(["device", "list", "-c", str(config)]) == Exit.DATA
    assert "worklist.sqlite" in capsys.readouterr().err
