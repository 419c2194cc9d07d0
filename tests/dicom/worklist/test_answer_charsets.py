"""Answers in the character set that is set for a device, as DCMTK reads them; what comes back is known again."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from broker.dicom.codec import charset
from broker.dicom.server import DicomServer
from broker.dicom.statuses import Status
from broker.domain.orders import Order
from broker.domain.patients.people import PersonName
from broker.store.database import Store
from broker.store.tables import devices
from broker.store.tables.studies import performed_links
from broker.workflow.devices import RARE_CHARSETS
from tests.dicom.worklist.asked import register
from tests.peers.dcmtk import EVERYTHING, findscu, tool
from tests.support import factory
from tests.support.factory import KUZNETSOVA
from tests.support.modality import create, creation
from tests.support.port import serving

PEOPLE = (PersonName("Щербакова", "Юлия", "Ёлкина"), PersonName("Müller", "Zoë"), PersonName("Łukasz", "Jiří"))
IN_LATIN = "Shcherbakova^Iuliia^Elkina"
SHOWN = {
    "ISO_IR 100": (IN_LATIN, "Müller^Zoë", "Lukasz^Jirí"),
    "ISO_IR 101": (IN_LATIN, "Müller^Zoë", "Łukasz^Jiří"),
    "ISO_IR 109": (IN_LATIN, "Müller^Zoë", "Lukasz^Jirí"),
    "ISO_IR 126": (IN_LATIN, "Muller^Zoe", "Lukasz^Jiri"),
    "ISO_IR 148": (IN_LATIN, "Müller^Zoë", "Lukasz^Jirí"),
    "ISO_IR 144": ("Щербакова^Юлия^Ёлкина", "Muller^Zoe", "Lukasz^Jiri"),
}


@pytest.fixture
def server(store: Store) -> Iterator[DicomServer]:
    with serving(store) as started:
        yield started


def answer_in(store: Store, term: str) -> None:
    store.write(lambda tx: devices.put(tx, replace(factory.DEVICES[0], charset=term)))


def in_utf8(directory: Path) -> list[str]:
    """Return the patients' names of the answers, converted to UTF-8 by DCMTK."""
    found = []
    for file in sorted(directory.glob("rsp*.dcm")):
        command = [tool("dcmdump"), "-q", "+U8", "+P", "PatientName", str(file)]
        done = subprocess.run(command, capture_output=True, timeout=20, check=True)
        found.append(done.stdout.decode().partition("[")[2].partition("]")[0])
    return found


@pytest.mark.slow
@pytest.mark.parametrize("term", RARE_CHARSETS)
def test_dcmtk_reads_the_names_and_what_comes_back_is_known(
    server: DicomServer, store: Store, tmp_path: Path, term: str
) -> None:
    orders: list[Order] = [register(store, replace(KUZNETSOVA, name=name, snils="", policy="")) for name in PEOPLE]
    answer_in(store, term)
    expected = SHOWN[term.replace("ISO 2022 IR", "ISO_IR")]
    found = findscu(server.port, *EVERYTHING, directory=tmp_path)
    assert in_utf8(tmp_path) == list(expected)
    for each, name in zip(found.matches, expected, strict=True):
        declared = each.get("SpecificCharacterSet")
        terms = [declared] if isinstance(declared, str) else list(declared or [])
        is_plain = name.isascii() and "144" not in term  # the description is in Cyrillic letters
        assert terms[:1] == ([] if is_plain else [term])
    for number, (order, name) in enumerate(zip(orders, expected, strict=True)):
        reported = creation(
            order.study_instance_uid,
            PatientName=name,
            PatientID=order.patient.patient_id,
            PatientBirthDate="19610312",
            SpecificCharacterSet=charset.declared(term),
        )
        assert create(store, reported, f"1.2.{number}").Status == Status.SUCCESS
        with store.read() as reader:
            assert performed_links.conflicts(reader, order.id) == {}
        again = findscu(
            server.port, *EVERYTHING[1:], f"PatientName={name}", "SpecificCharacterSet=ISO_IR 192", directory=tmp_path
        )
        assert [each.AccessionNumber for each in again.matches] == [order.accession_number]
