"""Worklist items and queries for comparing two worklist servers: DCMTK's own examples, and generated ones.

Everything is drawn from a seeded generator, so that a difference can be looked at again.
"""

from __future__ import annotations

import random
import subprocess
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path

from pydicom import dcmread, dcmwrite
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian, generate_uid

from tests.peers.dcmtk import tool

EXAMPLES = Path("/usr/share/doc/dcmtk/examples")
FAMILIES = ("IVANOV", "IVANOVA", "PETROV", "SIDOROV", "LEE", "OZAWA", "ABDURAKHMANOV")
GIVEN = ("IVAN", "ANNA", "OLGA", "PETR", "EN")
STATIONS = ("XR1", "XR2", "CT1", "MG1", "US_1")
MODALITIES = ("DX", "CT", "MG", "US", "CR")
PRIORITIES = ("ROUTINE", "STAT", "LOW", "HIGH")
FIRST_DAY = date(2026, 11, 20)

RETURNED = (
    "AccessionNumber",
    "ReferringPhysicianName",
    "PatientName",
    "PatientID",
    "PatientBirthDate",
    "PatientSex",
    "MedicalAlerts",
    "Allergies",
    "StudyInstanceUID",
    "RequestingPhysician",
    "RequestedProcedureDescription",
    "RequestedProcedureID",
    "RequestedProcedurePriority",
)
STEP_RETURNED = (
    "Modality",
    "RequestedContrastAgent",
    "ScheduledStationAETitle",
    "ScheduledProcedureStepStartDate",
    "ScheduledProcedureStepStartTime",
    "ScheduledPerformingPhysicianName",
    "ScheduledProcedureStepDescription",
    "ScheduledProcedureStepID",
    "ScheduledStationName",
    "ScheduledProcedureStepLocation",
    "PreMedication",
    "CommentsOnTheScheduledProcedureStep",
)


def examples(directory: Path) -> list[Path]:
    """Turn DCMTK's example worklist into files; empty where the package's documentation is not installed."""
    return [
        _from_dump(dump, directory / f"{dump.stem}.wl") for dump in sorted(EXAMPLES.glob("wlistdb/OFFIS/wklist*.dump"))
    ]


def example_queries(directory: Path) -> list[tuple[str, Dataset]]:
    """Read DCMTK's example queries: (name, identifier)."""
    dumps = sorted(EXAMPLES.glob("wlistqry/*.dump"))
    return [(dump.stem, dcmread(_from_dump(dump, directory / f"{dump.stem}.dcm"), force=True)) for dump in dumps]


def items(directory: Path, count: int, seed: int = 1) -> list[Path]:
    """Write `count` generated worklist files."""
    chance = random.Random(seed)
    return [_write(directory / f"made{number:03d}.wl", _item(chance, number)) for number in range(count)]


def queries(count: int, seed: int = 2) -> Iterator[tuple[str, Dataset]]:
    """Generate queries: every return key of the example, and one to three matching keys."""
    chance = random.Random(seed)
    for number in range(count):
        keys = chance.sample(sorted(_KEYS), chance.choice((1, 1, 2, 3)))
        chosen = {key: chance.choice(_KEYS[key])(chance) for key in keys}
        yield f"made {number} {chosen}", query(chosen)


def query(chosen: dict[str, str]) -> Dataset:
    """Make an identifier that returns everything and matches what was chosen."""
    ds, step = Dataset(), Dataset()
    for keyword in RETURNED:
        setattr(ds, keyword, chosen.get(keyword, ""))
    for keyword in STEP_RETURNED:
        setattr(step, keyword, chosen.get(keyword, ""))
    ds.ScheduledProcedureStepSequence = [step]
    return ds


def _day(chance: random.Random) -> str:
    return f"{FIRST_DAY + timedelta(days=chance.randrange(10)):%Y%m%d}"


def _time(chance: random.Random) -> str:
    return f"{chance.randrange(7, 20):02d}{chance.choice((0, 15, 30, 45)):02d}00"


def _days(chance: random.Random) -> str:
    low, high = sorted((_day(chance), _day(chance)))
    return chance.choice((f"{low}-{high}", f"{low}-", f"-{high}"))


def _times(chance: random.Random) -> str:
    low, high = sorted((_time(chance), _time(chance)))
    return chance.choice((f"{low}-{high}", f"{low}-", f"-{high}"))


def _wild(words: tuple[str, ...]) -> list[object]:
    def cut(chance: random.Random) -> str:
        word = chance.choice(words)
        at = chance.randrange(1, len(word) + 1)
        return chance.choice(
            (word[:at] + "*", "*" + word[at - 1 :], word[: at - 1] + "?" + word[at:], "*" + word + "*")
        )

    return [cut]


def _one(words: tuple[str, ...]) -> list[object]:
    return [lambda chance: chance.choice(words), lambda chance: chance.choice((*words, "NOSUCH"))]


def _full_name(chance: random.Random) -> str:
    return f"{chance.choice(FAMILIES)}^{chance.choice(GIVEN)}"


# What may be asked of each key: functions of the generator.
_KEYS: dict[str, list] = {  # type: ignore[type-arg]
    "PatientName": [_full_name, *_wild(FAMILIES)],
    "PatientID": [lambda chance: f"ID{chance.randrange(60):03d}", lambda chance: f"ID0{chance.randrange(6)}*"],
    "AccessionNumber": [lambda chance: f"ACC{chance.randrange(60):03d}", lambda chance: "ACC0?5"],
    "RequestedProcedureID": [lambda chance: f"RP{chance.randrange(60):03d}", lambda chance: "RP*"],
    "RequestedProcedurePriority": _one(PRIORITIES),
    "ScheduledStationAETitle": _one(STATIONS),
    "Modality": _one(MODALITIES),
    "ScheduledProcedureStepStartDate": [_day, _days],
    "ScheduledProcedureStepStartTime": [_time, _times],
    "ScheduledPerformingPhysicianName": [lambda chance: "SMITH*", lambda chance: "JONES"],
    "ScheduledProcedureStepID": [lambda chance: f"SP{chance.randrange(60):03d}"],
    "ScheduledProcedureStepLocation": [lambda chance: "ROOM*", lambda chance: "ROOM 1"],
    "RequestingPhysician": [lambda chance: "HOUSE", lambda chance: "*OUS*"],
}


def _item(chance: random.Random, number: int) -> Dataset:
    patient = number % 40  # some patients have several items
    person = random.Random(patient)
    ds, step = Dataset(), Dataset()
    ds.AccessionNumber = f"ACC{number:03d}"
    ds.ReferringPhysicianName = chance.choice(("", "HOUSE", "WILSON"))
    ds.PatientName = f"{person.choice(FAMILIES)}^{person.choice(GIVEN)}"
    ds.PatientID = f"ID{patient:03d}"
    ds.PatientBirthDate = f"{date(1950, 1, 1) + timedelta(days=person.randrange(20_000)):%Y%m%d}"
    ds.PatientSex = person.choice("MF")
    ds.MedicalAlerts = ""
    ds.Allergies = person.choice(("", "IODINE"))
    ds.StudyInstanceUID = f"1.2.276.0.7230010.3.2.{1000 + number}"
    ds.RequestingPhysician = chance.choice(("", "HOUSE", "WILSON"))
    ds.RequestedProcedureDescription = chance.choice(("CHEST", "KNEE", "HAND"))
    ds.RequestedProcedureID = f"RP{number:03d}"
    ds.RequestedProcedurePriority = chance.choice(PRIORITIES)
    step.Modality = chance.choice(MODALITIES)
    step.RequestedContrastAgent = chance.choice(("", "BARIUM"))
    step.ScheduledStationAETitle = chance.choice(STATIONS)
    step.ScheduledProcedureStepStartDate = _day(chance)
    step.ScheduledProcedureStepStartTime = _time(chance)
    step.ScheduledPerformingPhysicianName = chance.choice(("", "SMITH^J", "JONES"))
    step.ScheduledProcedureStepDescription = ds.RequestedProcedureDescription
    step.ScheduledProcedureStepID = f"SP{number:03d}"
    step.ScheduledStationName = "ST"
    step.ScheduledProcedureStepLocation = chance.choice(("ROOM 1", "ROOM 2", ""))
    step.PreMedication = ""
    step.CommentsOnTheScheduledProcedureStep = ""
    ds.ScheduledProcedureStepSequence = [step]
    return ds


def _write(path: Path, ds: Dataset) -> Path:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = UID("1.2.276.0.7230010.3.1.0.1")
    meta.MediaStorageSOPInstanceUID = generate_uid()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.file_meta = meta
    dcmwrite(path, ds, enforce_file_format=True)
    return path


def _from_dump(dump: Path, target: Path) -> Path:
    subprocess.run([tool("dump2dcm"), "-q", str(dump), str(target)], check=True, timeout=20)
    return target
