"""`import` takes worklist files and tables of referrals, reports what became of each, and devices get them."""

from __future__ import annotations

import json
import os
import pty
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from openpyxl import Workbook
from pydicom import dcmread
from pydicom.dataset import Dataset

from broker.app import application
from broker.bus.outbound.delivery import Delivery
from broker.bus.outbound.messages import NO_BIRTH_DATE
from broker.bus.profile import Profile
from broker.bus.transport.rate_limit import RateLimiter
from broker.bus.transport.session import BusSession, SessionPriority
from broker.cli.main import main
from broker.config.loader import load
from broker.dicom.files import worklist_file
from broker.dicom.server import DicomServer, PortSettings
from broker.domain.clinic.devices import Device
from broker.imports import referral_columns
from broker.imports.referral_import import ReferralImport
from broker.store.database import Store
from broker.store.tables import devices
from broker.workflow.referrals import worklist_files
from tests.peers.dcmtk import STEP, findscu, tool
from tests.support import factory
from tests.support.clock import ZONE
from tests.support.factory import CLINIC
from tests.support.worklist_file import wl

EXAMPLES = sorted(Path("/usr/share/doc/dcmtk/examples/wlistdb/OFFIS").glob("*.dump"))
TOMORROW = f"{factory.soon() + timedelta(days=1):%d.%m.%Y}"
HEADER = ("ФИО", "дата рождения", "пол", "исследование", "аппарат", "дата", "время", "цвет")
ROWS = (
    ("Кузнецова Марина Петровна", "12.03.1961", "ж", "WLB-KNEE", "XRAY_14", TOMORROW, "10:00", "красный"),
    ("Иванов Иван", "31.02.1961", "м", "WLB-KNEE", "XRAY_14", TOMORROW, "10:10", ""),
    ("Иванов Иван", "01.02.1961", "м", "WLB-KNEE", "XRAY_14", "01.01.2020", "10:10", ""),
)


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "config.yaml"
    path.write_text("clinic: {name: Клиника, accession_prefix: K}\ndata: {directory: data}\n", encoding="utf-8")
    assert main(["device", "add", "XRAY_14", "--name", "Рентген", "--modality", "DX", "-c", str(path)]) == 0
    return path


@pytest.fixture
def run(config: Path, capsys: pytest.CaptureFixture[str]) -> Any:
    """Run `import` and give its exit status and what it printed."""
    capsys.readouterr()

    def run(path: Path, *options: str) -> SimpleNamespace:
        status = main(["import", str(path), *options, "-c", str(config)])
        result = capsys.readouterr()
        return SimpleNamespace(status=status, lines=result.out.splitlines(), errors=result.err)

    return run


@pytest.fixture
def port(config: Path) -> Iterator[Any]:
    """Serve the worklist of the configuration's database; return a function that starts it and returns the port."""
    started: list[Any] = []

    def serve() -> int:
        store = Store(load(config, {}).data.database)
        # It sees the items of all stations, and DCMTK's, which are of 1995.
        device = Device("XRAY_14", "Рентген", "DX", own_only=False, days_before=100_000)
        store.write(lambda tx: devices.put(tx, device))
        server = DicomServer(PortSettings(address="127.0.0.1", port=0), store, CLINIC)
        started.extend([server.stop, store.close])
        server.start()
        return server.port

    yield serve
    for stop in started:
        stop()


def orders_of(config: Path) -> list[dict[str, Any]]:
    store = Store(load(config, {}).data.database)
    try:
        with store.read() as reader:
            return reader.rows("SELECT * FROM orders ORDER BY id")
    finally:
        store.close()


def table(path: Path, *rows: tuple[str, ...], encoding: str = "cp1251") -> Path:
    path.write_bytes("\r\n".join(";".join(row) for row in (HEADER, *rows)).encode(encoding))
    return path


# ---- worklist files ----


def dump(text: str, target: Path, *options: str) -> Path:
    source = target.with_suffix(".dump")
    source.write_bytes(text.encode("iso8859_5"))
    subprocess.run([tool("dump2dcm"), "-q", *options, str(source), str(target)], check=True, timeout=20)
    source.unlink()
    return target


def flat(ds: Dataset, path: str = "") -> dict[str, str]:
    found: dict[str, str] = {}
    for element in ds:
        if element.VR == "SQ":
            for item in element.value:
                found |= flat(item, f"{path}{element.keyword}.")
        elif element.tag.element != 0 and element.keyword != "SpecificCharacterSet":
            found[path + element.keyword] = "" if element.value is None else str(element.value)
    return found


@pytest.mark.slow
@pytest.mark.skipif(not EXAMPLES, reason="the documentation of the package dcmtk is not installed")
def test_dcmtks_ten_items_come_back_attribute_by_attribute(tmp_path: Path, run: Any, port: Any) -> None:
    folder = tmp_path / "OFFIS"
    folder.mkdir()
    (folder / "lockfile").touch()
    for each in EXAMPLES:
        target = folder / f"{each.stem}.wl"
        subprocess.run([tool("dump2dcm"), "-g", "-q", str(each), str(target)], check=True, timeout=20)
    result = run(tmp_path)
    assert (result.status, result.lines[-1]) == (0, "10 added.")
    assert result.lines[0] == "OFFIS/wklist1.wl: added: 00000"
    serving = port()
    for file in sorted(folder.glob("*.wl")):
        wanted = flat(dcmread(file))
        keys = [name.replace("ScheduledProcedureStepSequence.", STEP) for name in wanted]
        one = next(at for at, key in enumerate(keys) if key == "AccessionNumber")
        keys[one] += f"={wanted['AccessionNumber']}"
        found = findscu(serving, *keys, directory=tmp_path / "rsp")
        [answer] = found.matches
        got = flat(answer)
        station = "ScheduledProcedureStepSequence.ScheduledStationAETitle"
        assert got.pop(station) in wanted.pop(station)  # one of several
        assert got == wanted
    again = run(tmp_path)
    assert (again.status, again.lines[-1]) == (0, "10 unchanged.")


ORTHANC = """\
(0008,0005) CS [ISO_IR 144]
(0008,0050) SH [10032]
(0010,0010) PN [Кузнецова^Марина^Петровна]
(0010,0020) LO [Карта 7]
(0010,0021) LO [КЛИНИКА]
(0010,0030) DA []
(0010,0040) CS [F]
(0010,4000) LT [плохо слышит]
(0020,000d) UI [1.2.276.0.7230010.3.2.555]
(0032,1060) LO [Снимок кисти]
(0040,0100) SQ
(fffe,e000) -
(0008,0060) CS [DX]
(0040,0001) AE [XRAY_14]
(0040,0002) DA [20261124]
(0040,0003) TM [093000]
(0040,0006) PN [Петров^Пётр]
(0040,0009) SH [1]
(0040,0012) LO [натощак]
(fffe,e00d) -
(fffe,e0dd) -
(0040,1001) SH [1]
"""


def test_an_orthanc_style_file_comes_back_with_all_that_is_beyond_our_fields(
    tmp_path: Path, run: Any, port: Any
) -> None:
    file = dump(ORTHANC, tmp_path / "one.wl")
    assert run(file).lines == ["one.wl: added: 10032", "1 added."]
    keys = (
        "SpecificCharacterSet=ISO_IR 192",
        "PatientName=Кузнецова*",
        "PatientID",
        "IssuerOfPatientID",
        "PatientBirthDate",
        "PatientComments",
        "RequestedProcedureID",
        STEP + "ScheduledPerformingPhysicianName",
        STEP + "ScheduledProcedureStepID",
        STEP + "PreMedication",
    )
    [answer] = findscu(port(), *keys, directory=tmp_path / "rsp").matches
    assert (answer.PatientName, answer.PatientID, answer.IssuerOfPatientID) == (
        "Кузнецова^Марина^Петровна",
        "Карта 7",
        "КЛИНИКА",
    )
    assert answer["PatientBirthDate"].is_empty
    assert (answer.PatientComments, answer.RequestedProcedureID) == ("плохо слышит", "1")
    step = answer.ScheduledProcedureStepSequence[0]
    assert (step.ScheduledPerformingPhysicianName, step.PreMedication) == ("Петров^Пётр", "натощак")
    assert step.ScheduledProcedureStepID == "1"


def test_each_file_is_reported_and_one_refusal_is_an_exit_status(tmp_path: Path, run: Any) -> None:
    folder = tmp_path / "wl"
    (folder / "XR").mkdir(parents=True)
    (folder / "XR" / "good.wl").write_bytes(wl())
    (folder / "XR" / "same.wl").write_bytes(wl())
    (folder / "broken.wl").write_bytes(wl()[:-100])
    lines = [
        "broken.wl: refused: it is not a whole DICOM dataset: ",
        "XR/good.wl: added: A1",
        "XR/same.wl: refused: the accession number A1 is in XR/good.wl too",
    ]
    for options, last in (
        (("--dry-run",), "Dry run, nothing is kept: 1 added, 2 refused."),
        ((), "1 added, 2 refused."),
    ):
        result = run(folder, *options)
        assert result.status == 1
        assert result.lines[-1] == last
        assert [line.startswith(part) for line, part in zip(result.lines, lines, strict=False)] == [True] * 3


@pytest.mark.parametrize("fault", [sqlite3.IntegrityError("CHECK constraint failed"), ZeroDivisionError("division")])
def test_a_file_at_which_the_program_fails_costs_itself_only(
    tmp_path: Path, run: Any, monkeypatch: pytest.MonkeyPatch, fault: Exception
) -> None:
    (tmp_path / "wl").mkdir()
    (tmp_path / "wl" / "1.wl").write_bytes(wl(AccessionNumber="A1", StudyInstanceUID="1.2.1"))
    (tmp_path / "wl" / "2.wl").write_bytes(wl(AccessionNumber="A2", StudyInstanceUID="1.2.2"))
    taken = worklist_files.sync

    def fails_once(tx: Any, item: Any, *rest: Any, **options: Any) -> Any:
        if item.accession_number == "A1":
            raise fault
        return taken(tx, item, *rest, **options)

    monkeypatch.setattr(worklist_files, "sync", fails_once)
    result = run(tmp_path / "wl")
    assert (result.status, result.lines[-1]) == (1, "1 added, 1 refused.")
    assert f"({type(fault).__name__})" in result.lines[0]


def test_a_dry_run_stores_nothing(tmp_path: Path, run: Any, config: Path) -> None:
    (tmp_path / "1.wl").write_bytes(wl())
    assert run(tmp_path / "1.wl", "--dry-run").lines == ["1.wl: added: A1", "Dry run, nothing is kept: 1 added."]
    assert run(table(tmp_path / "t.csv", ROWS[0]), "--dry-run").lines[-2:] == [
        "row 2: added",
        "Dry run, nothing is kept: 1 added.",
    ]
    assert orders_of(config) == []


def test_a_changed_file_amends_and_another_name_for_it_is_refused(tmp_path: Path, run: Any, config: Path) -> None:
    file = tmp_path / "1.wl"
    file.write_bytes(wl())
    run(file)
    file.write_bytes(wl(RequestedProcedureDescription="Снимок стопы"))
    assert run(file).lines[0] == "1.wl: amended: A1"
    [order] = orders_of(config)
    assert order["procedure_name"] == "Снимок стопы"
    copy = tmp_path / "2.wl"
    copy.write_bytes(wl())
    assert run(copy).lines[0] == "2.wl: refused: the accession number A1 is that of another file's order"


def test_a_patient_who_is_corrected_in_all_files_of_a_request_is_taken_as_by_the_watched_folder(
    tmp_path: Path, run: Any, config: Path
) -> None:
    folder = tmp_path / "wl"
    folder.mkdir()

    def write(number: int, **changes: Any) -> None:
        own = {"StudyInstanceUID": f"1.2.3.{number}", "RequestedProcedureID": f"R{number}"}
        own |= {"AccessionNumber": "A1", "ScheduledProcedureStepID": f"S{number}"}
        (folder / f"{number}.wl").write_bytes(wl(**{**own, **changes}))

    for number in (1, 2, 3):
        write(number)
    assert run(folder).lines[-1] == "3 added."
    for number in (1, 2):
        write(number, PatientID="P9", PatientName="Чужая^Алла")
    result = run(folder)
    assert result.status == 1
    assert result.lines[-1] == "3 refused."  # the third one says that it is the former patient's
    write(3, PatientID="P9", PatientName="Чужая^Алла")
    assert run(folder, "--dry-run").lines[-1].endswith("3 amended.")
    result = run(folder)
    assert (result.status, result.lines) == (
        0,
        ["1.wl: amended: A1", "2.wl: amended: A1", "3.wl: amended: A1", "3 amended."],
    )
    with sqlite3.connect(config.parent / "data" / "worklist.sqlite") as db:
        found = db.execute("SELECT p.patient_id FROM orders o JOIN patient p ON p.id = o.patient_id").fetchall()
        assert found == [("P9",)] * 3
        assert db.execute("SELECT count(*) FROM worklist_file WHERE problem <> ''").fetchone() == (0,)


def test_a_folder_without_worklist_files_is_reported(tmp_path: Path, run: Any) -> None:
    (tmp_path / "empty").mkdir()
    result = run(tmp_path / "empty")
    assert (result.status, result.lines) == (1, [f"{tmp_path / 'empty'}: there is nothing to import"])


def test_a_path_that_is_not_there_is_reported(tmp_path: Path, run: Any) -> None:
    result = run(tmp_path / "no-such.csv")
    assert result.status == 1
    assert "no-such.csv" in result.errors


def test_sending_to_the_bus_needs_a_bus(tmp_path: Path, run: Any) -> None:
    (tmp_path / "1.wl").write_bytes(wl())
    result = run(tmp_path / "1.wl", "--send-to-bus")
    assert (result.status, result.errors) == (1, "worklist-broker: The request could not be carried out: "
                                          "no bus is configured: bus.url is not set\n")  # fmt: skip


def test_file_names_that_are_not_utf_8_are_printed_legibly(tmp_path: Path, run: Any) -> None:
    folder = tmp_path / "wl"
    folder.mkdir()
    (folder / os.fsdecode("Ян.wl".encode("cp1251"))).write_bytes(wl())
    assert run(folder).lines[0] == r"\xdf\xed.wl: added: A1"


# ---- the region ----


class Silent:
    """A bus client that must not be used."""

    url = "http://bus.example.org/fhir"

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(f"{name} is called")


def test_an_order_without_a_date_of_birth_waits_for_a_person_and_is_not_sent(store: Store) -> None:
    item, digest = worklist_file.read(wl(PatientBirthDate=""))
    store.write(worklist_files.sync, item, "/1.wl", digest, factory.SYSTEM, CLINIC, send_to_bus=True)
    profile = Profile(organisation="3f2c1d7e-0a4b-4c59-9e1d-5b8f6a7c0d21", mis_oid="1.2.3", zone=ZONE)
    session = BusSession(store, Silent(), RateLimiter(50), SessionPriority.DELIVERY)  # type: ignore[arg-type]
    summary = Delivery(store, session, profile, lambda signed: b"").deliver()
    assert summary.needs_attention == 1
    with store.read() as reader:
        row = reader.one("SELECT state, reason FROM outbox")
    assert row is not None
    assert row["state"] == "needs_attention"
    assert row["reason"].startswith(NO_BIRTH_DATE)


# ---- tables ----


def test_a_table_is_registered_row_by_row_and_every_refusal_is_reported(tmp_path: Path, run: Any, config: Path) -> None:
    result = run(table(tmp_path / "t.csv", *ROWS))
    assert result.status == 1
    [order] = orders_of(config)
    assert result.lines == [
        "Columns that are not known and not read: цвет",
        f"row 2: added: {order['accession_number']}",
        "row 3: refused: «дата рождения»: is not a date such as 12.03.1961 (found «31.02.1961»)",
        "row 4: refused: «дата»: is over: write a day to come (found «01.01.2020»)",
        "1 added, 2 refused.",
    ]
    assert order["created_by"] != "import"  # a referral like any other


def test_a_table_imported_again_doubles_nothing_in_whatever_format(tmp_path: Path, run: Any, config: Path) -> None:
    run(table(tmp_path / "t.csv", ROWS[0]))
    [order] = orders_of(config)
    again = run(table(tmp_path / "u.csv", ROWS[0], encoding="utf-8-sig"))
    assert again.lines[-2:] == [f"row 2: unchanged: {order['accession_number']}", "1 unchanged."]
    book = Workbook()
    book.active.append(HEADER)
    book.active.append(ROWS[0])
    book.save(tmp_path / "t.xlsx")
    assert run(tmp_path / "t.xlsx").status == 0
    assert len(orders_of(config)) == 1


def test_a_new_patient_who_is_similar_to_one_of_ours_is_taken_and_reported(tmp_path: Path, run: Any) -> None:
    nearly = ("Кузнецва Марина Петровна", *ROWS[0][1:])
    for options in (("--dry-run",), ()):
        run(table(tmp_path / "t.csv", ROWS[0]))
        result = run(table(tmp_path / "u.csv", nearly), *options)
        assert result.status == 0
        assert result.lines[1].endswith("similar to card 000001 (letter)")
        assert result.lines[-1].endswith("1 added, 1 to look at: similar to a card.")


def test_a_row_that_occurs_twice_is_refused_the_second_time(tmp_path: Path, run: Any) -> None:
    result = run(table(tmp_path / "t.csv", ROWS[0], ROWS[0]))
    assert result.lines[2].startswith("row 3: refused: «ФИО» («")
    assert result.lines[2].endswith("»): the same as row 2: delete one of them")


def test_what_is_not_a_table_is_refused_as_a_whole(tmp_path: Path, run: Any) -> None:
    (tmp_path / "t.csv").write_bytes(b"\0\1")
    result = run(tmp_path / "t.csv")
    assert (result.status, result.lines) == (1, [])
    assert "neither XLSX nor text" in result.errors


@pytest.mark.slow
def test_a_long_import_shows_on_a_terminal_how_far_it_is(tmp_path: Path, config: Path) -> None:
    table(tmp_path / "t.csv", *[ROWS[1]] * 200)
    master, slave = pty.openpty()
    try:
        done = subprocess.run(
            [sys.executable, "-m", "broker", "import", str(tmp_path / "t.csv"), "-c", str(config)],
            stdout=subprocess.PIPE,
            stderr=slave,
            timeout=60,
            check=False,
        )
        shown = os.read(master, 4096).decode()
    finally:
        os.close(master)
        os.close(slave)
    assert done.returncode == 1
    assert shown.endswith("\r200 of 200 items\r\n")


def test_an_import_reports_its_progress(store: Store) -> None:
    reported: list[tuple[int, int | None]] = []
    content = referral_columns.read(";".join(HEADER).encode() + b"\n" + ";".join(ROWS[0]).encode())
    job = ReferralImport(store, factory.SYSTEM, CLINIC, progress=lambda done, total: reported.append((done, total)))
    assert [result.outcome for result in job.run(content, "a.csv")] == ["added"]
    assert reported == [(1, 1)]


# ---- the watched folder ----


def test_the_configured_folder_is_watched_by_the_running_program(tmp_path: Path, config: Path) -> None:
    folder = tmp_path / "wl"
    folder.mkdir()
    (folder / "1.wl").write_bytes(wl())
    os.utime(folder / "1.wl", (0, 0))
    settings = load(config, {"WLB__DICOM__WORKLIST_FOLDER": str(folder)})
    running = application.Application(settings)
    try:
        [job] = [job for job in running._jobs() if job.name == "worklist folder"]
        assert job.run() == {"added": 1}
    finally:
        running.close()
    plain = application.Application(load(config, {}))
    try:
        assert "worklist folder" not in [job.name for job in plain._jobs()]
    finally:
        plain.close()


def test_imported_orders_are_listed_like_others(tmp_path: Path, run: Any, config: Path, capsys: Any) -> None:
    (tmp_path / "1.wl").write_bytes(wl(PatientBirthDate="", ScheduledProcedureStepStartDate="20200101"))
    run(tmp_path / "1.wl")
    assert main(["order", "list", "--date", "2020-01-01", "--json", "-c", str(config)]) == 0
    [listed] = json.loads(capsys.readouterr().out)
    assert (listed["accession_number"], listed["patient"]["birth_date"]) == ("A1", None)


def test_a_row_that_is_another_persons_names_the_columns_and_what_stands_there(tmp_path: Path, run: Any) -> None:
    start = factory.soon()
    common = ("ж", "WLB-KNEE", "XRAY_14", f"{start:%d.%m.%Y}", f"{start:%H:%M}")
    columns = "ФИО;номер карты;дата рождения;пол;исследование;аппарат;дата;время"
    rows = [("Иванова Анна", "77", "12.03.1961", *common), ("Иванова Анна", "77", "12.03.1971", *common)]
    path = tmp_path / "t.csv"
    path.write_text("\n".join([columns, *(";".join(row) for row in rows)]) + "\n", encoding="utf-8")
    result = run(path)
    assert result.status == 1
    [refused] = [line for line in result.lines if "refused:" in line and line.startswith("row")]
    assert "row 3: refused: «дата рождения» («12.03.1971»), «номер карты» («77»): " in refused
