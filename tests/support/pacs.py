"""A small archive on a real socket: it answers C-FIND with whatever a test lets it say."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from pydicom.dataset import Dataset
from pynetdicom import AE, evt
from pynetdicom.sop_class import (  # type: ignore[attr-defined]
    StudyRootQueryRetrieveInformationModelFind,
    Verification,
)

from broker.dicom.scu import no_delay
from broker.dicom.scu.archive import ArchiveAddress
from broker.domain.orders import Order
from tests.support.modality import dataset

PENDING = 0xFF00
Answers = Callable[[Dataset], Iterable[tuple[int, Dataset | None]]]


def study(order: Order, **changes: Any) -> Dataset:
    """Make the answer for a study as it should be; a change to None leaves an attribute out."""
    patient = order.patient
    values = {
        "SpecificCharacterSet": "ISO_IR 192",
        "QueryRetrieveLevel": "STUDY",
        "RetrieveAETitle": "PACS",
        "StudyInstanceUID": order.study_instance_uid,
        "AccessionNumber": order.accession_number,
        "StudyDate": f"{order.steps[0].start:%Y%m%d}",
        "StudyTime": f"{order.steps[0].start:%H%M%S}",
        "PatientName": f"{patient.name.family}^{patient.name.given}^{patient.name.middle}",
        "PatientID": patient.patient_id,
        "PatientBirthDate": f"{patient.birth_date:%Y%m%d}" if patient.birth_date else "",
        "PatientSex": str(patient.sex),
        "ModalitiesInStudy": ["DX"],
        "NumberOfStudyRelatedInstances": "2",
    }
    return dataset(values | changes)


def series(uid: str, modality: str, images: int | None) -> Dataset:
    """Make the answer for a series."""
    return dataset(
        {
            "QueryRetrieveLevel": "SERIES",
            "SeriesInstanceUID": uid,
            "Modality": modality,
            "NumberOfSeriesRelatedInstances": None if images is None else str(images),
        }
    )


@dataclass
class Pacs:
    """What the archive answers and what it was asked."""

    address: ArchiveAddress
    answers: Answers = lambda asked: ()
    asked: list[Dataset] = field(default_factory=list)

    def holds(self, *studies: Dataset, with_series: Iterable[Dataset] = ()) -> None:
        """Let it hold these studies and match them with the keys as PS3.4 C.2.2.2 says."""

        def answer(asked: Dataset) -> Iterator[tuple[int, Dataset]]:
            kept = studies if asked.QueryRetrieveLevel == "STUDY" else with_series
            for each in kept:
                if all(
                    str(each.get(key, "")) == str(asked.get(key))
                    for key in ("StudyInstanceUID", "AccessionNumber", "StudyDate")
                    if asked.get(key) and asked.QueryRetrieveLevel == "STUDY"
                ):
                    yield PENDING, each

        self.answers = answer

    def says(self, *studies: Dataset | None, status: int = PENDING) -> None:
        """Let it answer every question for a study with these, whatever is asked."""
        self.answers = lambda asked: [(status, each) for each in studies] if asked.QueryRetrieveLevel == "STUDY" else ()


@contextmanager
def pacs() -> Iterator[Pacs]:
    """Run an archive on a free port."""

    def find(event: Any) -> Iterator[tuple[int, Dataset | None]]:
        running.asked.append(event.identifier)
        yield from running.answers(event.identifier)

    ae = AE(ae_title="PACS")
    ae.add_supported_context(StudyRootQueryRetrieveInformationModelFind)
    ae.add_supported_context(Verification)
    server = ae.start_server(("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_C_FIND, find), *no_delay.HANDLERS])
    assert server is not None
    assert server.socket is not None
    running = Pacs(ArchiveAddress("PACS", "127.0.0.1", server.socket.getsockname()[1]))
    try:
        yield running
    finally:
        server.shutdown()
