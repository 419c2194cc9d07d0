"""pydicom's character-set files, round: their names into the database, out by C-FIND, read back by DCMTK's tools."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from pydicom import dcmread
from pydicom.data import get_charset_files
from pydicom.dataset import Dataset

from broker.dicom.codec import charset, decoding
from broker.dicom.devices.registry import Caller
from broker.dicom.server import DicomServer
from broker.domain.patients import names
from broker.domain.patients.people import Patient, Sex
from broker.domain.studies import passthrough
from broker.store.database import Store
from broker.store.tables import devices, orders
from broker.workflow.referrals import referrals
from tests.dicom.codec.encoding import encoded
from tests.peers.dcmtk import findscu, tool
from tests.support import factory
from tests.support.factory import CLINIC, REGISTRAR, draft
from tests.support.port import serving
from tests.support.worklist_query import find

pytestmark = pytest.mark.slow  # three programs for every file


def _names(ds: Dataset) -> Iterator[str]:
    """Return the patients' names of a file, those within its sequences too."""
    for element in ds.iterall():
        if element.keyword == "PatientName" and element.value:
            yield str(element.value)


FILES = sorted(Path(file) for file in get_charset_files("*.dcm"))
NAMES = sorted({(file.name, name) for file in FILES for name in _names(dcmread(file, force=True))})
IDS = [f"{file}-{number}" for number, (file, _) in enumerate(NAMES)]


@pytest.fixture
def server(store: Store) -> Iterator[DicomServer]:
    with serving(store) as started:
        yield started


def register(store: Store, name: str) -> None:
    """Register a patient of this name as the desk does; what only an import brings goes beside."""
    written = names.from_dicom(name.split("=")[0])
    patient = Patient(replace(written, given=written.given or "И"), date(1961, 3, 12), Sex.OTHER)
    order = store.write(referrals.register, draft(patient=patient), REGISTRAR, CLINIC)
    if names.to_dicom(patient.name) != name:
        brought: dict[str, Any] = {"PatientName": {"vr": "PN", "Value": [_json_name(name)]}}
        store.write(lambda tx: orders.set_attributes(tx, order.id, {passthrough.TOP: brought, passthrough.STEP: {}}))


def _json_name(name: str) -> dict[str, str]:
    groups = zip(("Alphabetic", "Ideographic", "Phonetic"), name.split("="), strict=False)
    return {group: text for group, text in groups if text}


def asked(server: DicomServer, directory: Path, *keys: str) -> list[Path]:
    found = findscu(server.port, "PatientName", "AccessionNumber", *keys, directory=directory)
    assert found.status == 0, found.words
    return sorted(directory.glob("rsp*.dcm"))


def dcm2json(file: Path) -> str:
    """Read a patient's name as DCMTK does, which turns every character set into UTF-8."""
    done = subprocess.run([tool("dcm2json"), str(file)], capture_output=True, timeout=30, check=True)
    [value] = json.loads(done.stdout.decode("utf-8"))["00100010"]["Value"]
    return "=".join(value.get(group, "") for group in ("Alphabetic", "Ideographic", "Phonetic")).rstrip("=")


def dcmdump(file: Path) -> str:
    done = subprocess.run(
        [tool("dcmdump"), "+U8", "+P", "PatientName", str(file)], capture_output=True, timeout=30, check=True
    )
    return done.stdout.decode("utf-8").partition("[")[2].rpartition("]")[0]


def test_all_of_pydicoms_files_are_here() -> None:
    assert len(FILES) == 17
    assert len(NAMES) >= 15


@pytest.mark.parametrize(("file", "name"), NAMES, ids=IDS)
def test_a_name_goes_round_whole_in_utf_8(
    server: DicomServer, store: Store, tmp_path: Path, file: str, name: str
) -> None:
    register(store, name)
    [answer] = asked(server, tmp_path, "SpecificCharacterSet=ISO_IR 192")
    assert dcm2json(answer) == name
    assert dcmdump(answer) == name


@pytest.mark.parametrize(("file", "name"), NAMES, ids=IDS)
@pytest.mark.parametrize("policy", ["ISO_IR 144", "latin"])
def test_a_name_that_a_device_cannot_show_is_approximated_and_noted(
    server: DicomServer, store: Store, tmp_path: Path, file: str, name: str, policy: str
) -> None:
    register(store, name)
    store.write(lambda tx: devices.put(tx, replace(factory.DEVICES[0], charset=policy)))
    [answer] = asked(server, tmp_path)
    reported, lost = charset.fitted(name, policy)
    assert dcm2json(answer) == reported
    store.write(lambda tx: None)
    with store.read() as reader:
        noted = devices.notes(reader).get("XRAY_14", [])
    assert bool(noted) is bool(lost)


@pytest.mark.parametrize(("file", "name"), NAMES, ids=IDS)
def test_a_query_in_the_files_own_characters_finds_the_name(store: Store, file: str, name: str) -> None:
    register(store, name)
    path = next(each for each in FILES if each.name == file)
    theirs = dcmread(path, force=True)
    query = Dataset()
    if "SpecificCharacterSet" in theirs:
        query.SpecificCharacterSet = theirs.SpecificCharacterSet
    holder = theirs if str(theirs.get("PatientName", "")) == name else next(_holders(theirs, name))
    if "SpecificCharacterSet" in holder:
        query.SpecificCharacterSet = holder.SpecificCharacterSet
    query.PatientName = holder.PatientName
    read = decoding.decode(encoded(query), True)
    assert str(read.PatientName) == name
    answers = list(find(read, Caller("XRAY_14", "10.0.0.1"), store, CLINIC))
    assert [str(each.identifier.PatientName) for each in answers if each.identifier] == [name]


def _holders(ds: Dataset, name: str) -> Iterator[Dataset]:
    for element in ds:
        if element.VR == "SQ":
            for item in element.value:
                if str(item.get("PatientName", "")) == name:
                    yield item
                yield from _holders(item, name)


def test_look_alikes_of_a_real_file_are_found_by_the_real_word(
    server: DicomServer, store: Store, tmp_path: Path
) -> None:
    # chrRuss.dcm spells "Люксембург" with four Latin letters.
    [name] = [name for file, name in NAMES if file == "chrRuss.dcm"]
    assert any(char.isascii() for char in name)
    register(store, name)
    # Who asks in Latin-1 gets Latin letters.
    for key, term, found in (("Люксембург*", "ISO_IR 192", name), ("Lyuksemburg*", "ISO_IR 100", "Liukcembypg")):
        [answer] = asked(server, tmp_path, f"PatientName={key}", f"SpecificCharacterSet={term}")
        assert dcm2json(answer).startswith(found)
