"""The commands that connect a modality: register, approve, change and list it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from broker.app.database import open_store
from broker.app.settings import clinic_of
from broker.cli.main import main
from broker.config.loader import load
from broker.domain.clinic.devices import Device
from broker.domain.clinic.turned_away import TurnedAway, TurnedAwayReason
from broker.store.queries import device_registry, order_card
from broker.store.tables import devices
from broker.workflow.referrals import referrals
from tests.support import factory

EVERY_OPTION = [
    *("--name", "КТ", "--modality", "ct", "--room", "каб. 1", "--address", "10.0.4.1,10.0.4.2", "--charset", "latin"),
    *("--fallback-charset", "ISO_IR 192", "--longest", "32", "--any-station", "--days-before", "2"),
    *("--days-after", "7", "--closed-hours", "4", "--strict-mpps", "--mpps-hours", "6", "--own-study-uids"),
    "--for-others",
]


def known(config: Path, ae_title: str = "CT_1") -> Device | None:
    store = open_store(load(config))
    with store.read() as reader:
        found = devices.get(reader, ae_title)
    store.close()
    return found


def note_contact_of(config: Path, ae_title: str) -> None:
    store = open_store(load(config))
    store.write(lambda tx: devices.learn(tx, ae_title, "10.0.4.7"))
    store.close()


def test_every_policy_has_an_option_and_is_listed(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["device", "add", "CT_1", *EVERY_OPTION, "-c", str(config)]) == 0
    every = Device(
        "CT_1",
        "КТ",
        "CT",
        "каб. 1",
        "10.0.4.1, 10.0.4.2",
        "latin",
        True,
        "ISO_IR 192",
        32,
        False,
        2,
        7,
        4,
        True,
        6,
        True,
        True,
    )
    assert known(config) == every
    assert capsys.readouterr().out == "Device CT_1 is registered.\n"
    assert main(["device", "list", "-c", str(config)]) == 0
    assert capsys.readouterr().out == (
        "CT_1\tCT\tКТ\tnever called\t--address '10.0.4.1, 10.0.4.2' --charset latin --fallback-charset 'ISO_IR 192'"
        " --longest 32 --any-station --days-before 2 --days-after 7 --closed-hours 4 --strict-mpps --mpps-hours 6"
        " --for-others --own-study-uids\n"
    )


def test_what_is_not_given_stays(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["device", "add", "CT_1", *EVERY_OPTION, "-c", str(config)])
    changes = [
        "--charset",
        "auto",
        "--address",
        "",
        "--no-any-station",
        "--no-strict-mpps",
        "--longest",
        "64",
        "--no-own-study-uids",
        "--no-for-others",
    ]
    assert main(["device", "add", "CT_1", *changes, "-c", str(config)]) == 0
    changed = known(config)
    assert changed is not None
    assert (changed.charset, changed.address, changed.own_only, changed.strict_mpps) == ("auto", "", True, False)
    assert not changed.own_study_uids
    assert not changed.for_others
    assert (changed.name, changed.days_after, changed.fallback_charset) == ("КТ", 7, "ISO_IR 192")
    assert "Device CT_1 is changed." in capsys.readouterr().out


def test_a_learned_device_is_approved_under_a_name(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    note_contact_of(config, "US_7")
    assert main(["device", "list", "-c", str(config)]) == 0
    assert capsys.readouterr().out == "US_7\t-\tUS_7\tnever called\tnot approved\t--address 10.0.4.7\n"
    assert main(["device", "add", "US_7", "--modality", "US", "-c", str(config)]) == 1
    assert "name: required" in capsys.readouterr().err
    assert main(["device", "add", "US_7", "--modality", "US", "--name", "УЗИ", "-c", str(config)]) == 0
    assert known(config, "US_7") == Device("US_7", "УЗИ", "US", address="10.0.4.7")


def test_what_is_wrong_is_reported_by_field(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    wrong = ["device", "add", "CT_1", "--address", "ct.local", "--longest", "5", "-c", str(config)]
    assert main(wrong) == 1
    printed = capsys.readouterr().err
    for part in ("name: required", "modality: letters", "address: address", "longest: range"):
        assert part in printed


@pytest.fixture
def order(config: Path) -> str:
    """An order for today on the X-ray; its number."""
    main(["device", "add", "XRAY_14", "--name", "Рентген", "--modality", "DX", "-c", str(config)])
    settings = load(config)
    store = open_store(settings)
    made = store.write(referrals.register, factory.draft(), factory.REGISTRAR, clinic_of(settings))
    store.close()
    return made.accession_number


def test_why_reports_what_holds_and_what_to_do_about_the_rest(
    config: Path, order: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["why", order, "XRAY_14", "-c", str(config)]) == 0
    printed = capsys.readouterr().out
    assert f"{order} for XRAY_14:" in printed
    assert "ok  it is scheduled on this device" in printed
    assert "!   it has never asked for its list" in printed
    assert "With this query the device sees the order." in printed
    main(["device", "add", "MG", "--name", "Маммограф", "--modality", "MG", "-c", str(config)])
    assert main(["why", order, "MG", "-c", str(config)]) == 1
    printed = capsys.readouterr().out
    assert "NO  it is scheduled on XRAY_14" in printed
    assert "do: schedule it on MG, or let the device see every device's orders: device add MG --any-station" in printed
    assert "Кузнецова" not in printed


def test_why_knows_neither_an_unknown_order_nor_an_unknown_device(
    config: Path, order: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["why", "NONE", "XRAY_14", "-c", str(config)]) == 1
    assert "order NONE" in capsys.readouterr().err
    assert main(["why", order, "STRANGER", "-c", str(config)]) == 1
    assert "NO  it is not registered" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("charset", "name"),
    [
        ("auto", "Кузнецова^Марина^Петровна"),
        ("ISO_IR 144", "Кузнецова^Марина^Петровна"),
        ("latin", "Kuznetsova^Marina^Petrovna"),
    ],
)
def test_worklist_shows_what_the_device_sees_in_its_character_set(
    config: Path, order: str, charset: str, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["device", "add", "XRAY_14", "--charset", charset, "-c", str(config)])
    capsys.readouterr()
    assert main(["worklist", "XRAY_14", "-c", str(config)]) == 0
    [line] = capsys.readouterr().out.splitlines()
    assert line.split("\t")[1:3] == [order, name]
    assert main(["worklist", "XRAY_14", "--date", f"{factory.soon():%Y-%m-%d}", "--json", "-c", str(config)]) == 0
    [item] = json.loads(capsys.readouterr().out)
    assert item["00100010"]["Value"] == [{"Alphabetic": name}]
    assert main(["worklist", "XRAY_14", "--date", "1999-01-01", "-c", str(config)]) == 0
    assert capsys.readouterr().out == ""


def test_looking_through_a_device_s_eyes_leaves_no_trace(config: Path, order: str) -> None:
    main(["worklist", "XRAY_14", "-c", str(config)])
    main(["why", order, "XRAY_14", "-c", str(config)])
    store = open_store(load(config))
    with store.read() as reader:
        [contacts] = device_registry.contacts(reader)
        card = order_card.card(reader, order)
    store.close()
    assert contacts.services == {}
    assert card
    assert card.seen_at is None


def test_worklist_of_an_unknown_device_is_refused(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["worklist", "NOBODY", "-c", str(config)]) == 1
    assert "device NOBODY" in capsys.readouterr().err


def test_who_calls_without_a_title_is_listed_by_its_address(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = open_store(load(config))
    found = TurnedAway(TurnedAwayReason.UNTITLED, ("CT\x07",))
    store.write(lambda tx: devices.note_untitled(tx, "10.0.4.77", found))
    store.close()
    assert main(["device", "list", "-c", str(config)]) == 0
    line = capsys.readouterr().out.rstrip("\n").split("\t")
    assert (line[0], line[2], line[-1]) == ("(no AE title)", "10.0.4.77", "turned away: untitled 'CT\\x07'")
    assert main(["device", "list", "--json", "-c", str(config)]) == 0
    [listed] = json.loads(capsys.readouterr().out)
    assert (listed["address"], listed["turned_away"]) == ("10.0.4.77", {"reason": "untitled", "details": ["CT\x07"]})
