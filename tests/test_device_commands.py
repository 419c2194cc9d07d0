"""The commands that connect a modality: register, adopt, change and list it."""

from __future__ import annotations

from pathlib import Path

import pytest

from broker import app
from broker.__main__ import main
from broker.config_file import load
from broker.domain.model import Device
from broker.store import devices

EVERY_OPTION = [
    *("--name", "КТ", "--modality", "ct", "--room", "каб. 1", "--address", "10.0.4.1,10.0.4.2", "--charset", "latin"),
    *("--fallback-charset", "ISO_IR 192", "--longest", "32", "--any-station", "--days-before", "2"),
    *("--days-after", "7", "--closed-hours", "4", "--strict-mpps", "--mpps-hours", "6"),
]


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "config.yaml"
    path.write_text("clinic: {name: Клиника, accession_prefix: K}\ndata: {directory: data}\n", encoding="utf-8")
    return path


def known(config: Path, ae_title: str = "CT_1") -> Device | None:
    store = app.open_store(load(config))
    with store.read() as reader:
        found = devices.get(reader, ae_title)
    store.close()
    return found


def hear_of(config: Path, ae_title: str) -> None:
    store = app.open_store(load(config))
    store.write(lambda tx: devices.learn(tx, ae_title, "10.0.4.7"))
    store.close()


def test_every_policy_has_an_option_and_is_listed(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["device", "add", "CT_1", *EVERY_OPTION, "-c", str(config)]) == 0
    every = Device(
        "CT_1", "КТ", "CT", "каб. 1", "10.0.4.1, 10.0.4.2", "latin", True, "ISO_IR 192", 32, False, 2, 7, 4, True, 6
    )
    assert known(config) == every
    assert capsys.readouterr().out == "Device CT_1 is registered.\n"
    assert main(["device", "list", "-c", str(config)]) == 0
    assert capsys.readouterr().out == (
        "CT_1\tCT\tКТ\tnever heard\t--address '10.0.4.1, 10.0.4.2' --charset latin --fallback-charset 'ISO_IR 192'"
        " --longest 32 --any-station --days-before 2 --days-after 7 --closed-hours 4 --strict-mpps --mpps-hours 6\n"
    )


def test_what_is_not_given_stays(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["device", "add", "CT_1", *EVERY_OPTION, "-c", str(config)])
    changes = ["--charset", "auto", "--address", "", "--no-any-station", "--no-strict-mpps", "--longest", "64"]
    assert main(["device", "add", "CT_1", *changes, "-c", str(config)]) == 0
    changed = known(config)
    assert changed is not None
    assert (changed.charset, changed.address, changed.own_only, changed.strict_mpps) == ("auto", "", True, False)
    assert (changed.name, changed.days_after, changed.fallback_charset) == ("КТ", 7, "ISO_IR 192")
    assert "Device CT_1 is changed." in capsys.readouterr().out


def test_a_device_that_was_heard_of_is_adopted_under_a_name(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    hear_of(config, "US_7")
    assert main(["device", "list", "-c", str(config)]) == 0
    assert capsys.readouterr().out == "US_7\t-\tUS_7\tnever heard\tnot adopted\t--address 10.0.4.7\n"
    assert main(["device", "add", "US_7", "--modality", "US", "-c", str(config)]) == 1
    assert "name: required" in capsys.readouterr().err
    assert main(["device", "add", "US_7", "--modality", "US", "--name", "УЗИ", "-c", str(config)]) == 0
    assert known(config, "US_7") == Device("US_7", "УЗИ", "US", address="10.0.4.7")


def test_what_is_wrong_is_said_by_field(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    wrong = ["device", "add", "CT_1", "--address", "ct.local", "--longest", "5", "-c", str(config)]
    assert main(wrong) == 1
    told = capsys.readouterr().err
    for part in ("name: required", "modality: letters", "address: address", "longest: range"):
        assert part in told
