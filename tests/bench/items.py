"""N invented worklist items, the same for every server: 33 of them stand on one station today, the rest elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path

from pydicom import dcmwrite
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian

from broker.domain.clinic.devices import Device
from broker.domain.patients import names
from broker.store.database import Store, Tx
from broker.store.tables import devices

MATCHES = 33  # on STATION on the first day: what the query finds
STATION = "ST03"
STATIONS = tuple(f"ST{number:02d}" for number in range(10))
A_DAY = MATCHES * len(STATIONS)
UID_ROOT = "1.2.826.0.1.3680043.10.1234"
FAMILIES = ("Кузнецова", "Иванова", "Петров", "Сидоренко", "Абдурахманова", "Ли")
GIVEN = ("Марина", "Пётр", "Анна", "Олег")
_AT_A_TIME = 20_000


@dataclass(frozen=True, slots=True)
class Row:
    """One item."""

    number: int
    station: str
    start: datetime

    @property
    def name(self) -> tuple[str, str, str]:
        """Return family, given and middle name."""
        return FAMILIES[self.number % 6], GIVEN[self.number % 4], f"Отчество{self.number % 97}"


def rows(count: int, today: date) -> Iterator[Row]:
    """Return `count` items: the day is full of MATCHES a station, then the next day begins."""
    order = (STATION, *(each for each in STATIONS if each != STATION))
    for number in range(count):
        day, within = divmod(number, A_DAY)
        station, slot = divmod(within, MATCHES)
        start = datetime.combine(today + timedelta(days=day), datetime.min.time()) + timedelta(minutes=420 + 20 * slot)
        yield Row(number, order[station], start)


def fill(store: Store, count: int, today: date) -> None:
    """Put the items into our database, in its own tables; the verbs would take hours for a million."""
    for station in STATIONS:
        device = Device(station, station, "DX", days_before=1, days_after=30)
        store.write(lambda tx, device=device: devices.put(tx, device))  # type: ignore[misc]
    batch: list[Row] = []
    for row in rows(count, today):
        batch.append(row)
        if len(batch) == _AT_A_TIME:
            store.write(lambda tx, batch=batch: _insert(tx, batch))  # type: ignore[misc]
            batch = []
    store.write(lambda tx: _insert(tx, batch))


def _insert(tx: Tx, batch: list[Row]) -> None:
    now = tx.now.isoformat()
    for row in batch:
        id, (family, given, middle) = row.number + 1, row.name
        tx.run(
            "INSERT INTO patient (id, patient_id, family, given, middle, name_key, given_key, birth_date, sex,"
            " changed_at) VALUES (?, ?, ?, ?, ?, ?, ?, '1961-03-12', 'F', ?)",
            [id, f"P{id}", family, given, middle, names.fold(f"{family} {given} {middle}"), names.fold(given), now],
        )
        tx.run(
            "INSERT INTO orders (id, accession_number, study_instance_uid, requested_procedure_id, patient_id, state,"
            " state_since, procedure_code, procedure_name, procedure_local, modality, priority, finance,"
            " referrer_family, authored_on, created_by)"
            " VALUES (?, ?, ?, ?, ?, 'scheduled', ?, 'WLB-KNEE', 'Рентгенография коленного сустава', 1, 'DX',"
            " 'routine', '1', 'Зимин', ?, 'bench')",
            [id, f"A{id:09d}", f"{UID_ROOT}.{id}", f"RP{id}", id, now, now],
        )
        tx.run(
            "INSERT INTO scheduled_step (id, order_id, sps_id, start, state, state_since)"
            " VALUES (?, ?, ?, ?, 'SCHEDULED', ?)",
            [id, id, f"SPS{id}", row.start.isoformat(timespec="seconds"), now],
        )
        tx.run("INSERT INTO scheduled_step_station (step_id, ae_title, position) VALUES (?, ?, 0)", [id, row.station])


def write_files(folder: Path, count: int, today: date) -> None:
    """Write the items as worklist files, for DCMTK's wlmscpfs and Orthanc's plugin."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "lockfile").touch()
    for row in rows(count, today):
        id = row.number + 1
        step = Dataset()
        step.Modality = "DX"
        step.ScheduledStationAETitle = row.station
        step.ScheduledProcedureStepStartDate = f"{row.start:%Y%m%d}"
        step.ScheduledProcedureStepStartTime = f"{row.start:%H%M%S}"
        step.ScheduledPerformingPhysicianName = ""
        step.ScheduledProcedureStepDescription = "Рентгенография коленного сустава"
        step.ScheduledProcedureStepID = f"SPS{id}"
        step.ScheduledStationName = ""
        step.ScheduledProcedureStepLocation = ""
        ds = Dataset()
        ds.SpecificCharacterSet = "ISO_IR 192"
        ds.AccessionNumber = f"A{id:09d}"
        ds.ReferringPhysicianName = "Зимин"
        ds.PatientName = "^".join(row.name)
        ds.PatientID = f"P{id}"
        ds.PatientBirthDate = "19610312"
        ds.PatientSex = "F"
        ds.PatientWeight = None
        ds.MedicalAlerts = ds.Allergies = ""
        ds.StudyInstanceUID = f"{UID_ROOT}.{id}"
        ds.RequestingPhysician = "Зимин"
        ds.RequestedProcedureDescription = "Рентгенография коленного сустава"
        ds.AdmissionID = ""
        ds.RequestedProcedureID = f"RP{id}"
        ds.RequestedProcedurePriority = "ROUTINE"
        ds.ScheduledProcedureStepSequence = [step]
        ds.file_meta = FileMetaDataset()
        ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        ds.file_meta.MediaStorageSOPClassUID = UID("1.2.276.0.7230010.3.1.0.1")
        ds.file_meta.MediaStorageSOPInstanceUID = UID(f"{UID_ROOT}.{id}")
        dcmwrite(folder / f"{id:07d}.wl", ds, enforce_file_format=True)
