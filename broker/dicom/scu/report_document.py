"""A signed report as a DICOM document: Encapsulated PDF (PS3.3 A.45.1), in the study that the archive has."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import tzinfo

from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import EncapsulatedPDFStorage, ExplicitVRLittleEndian

from broker.dicom.codec import charset
from broker.domain.orders import Order
from broker.domain.patients import names
from broker.domain.patients.people import Sex
from broker.domain.reading.reports import Report, ReportChange
from broker.domain.studies import archived_reports

SOP_CLASS = EncapsulatedPDFStorage
SERIES_NUMBER = 9001  # behind those of devices
MANUFACTURER = "Worklist Broker"
_SEXES = {Sex.MALE: "M", Sex.FEMALE: "F", Sex.OTHER: "O"}
_TITLES = {
    None: "Протокол исследования",
    ReportChange.ADDITION: "Дополнение",
    ReportChange.CORRECTION: "Исправление",
}


@dataclass(frozen=True, slots=True)
class KnownStudy:
    """The study as the archive answers with it. The archive keeps a document with it only if these agree."""

    study_instance_uid: str
    patient_id: str
    issuer: str = ""
    patient_name: str = ""  # PN; empty: not whole
    birth_date: str = ""  # DA
    sex: str = ""  # CS
    study_id: str = ""
    study_date: str = ""  # DA
    study_time: str = ""  # TM
    accession_number: str = ""


def dataset(order: Order, report: Report, pdf: bytes, study: KnownStudy, zone: tzinfo) -> Dataset:
    """Return a version of a signed report as an instance; equal arguments give an equal one."""
    if report.signed_at is None:
        raise ValueError("only a signed report is a document")
    uid, patient, at = study.study_instance_uid, order.patient, report.signed_at.astimezone(zone)
    attributes: dict[str, object] = {
        "SpecificCharacterSet": charset.UTF_8,
        "SOPClassUID": SOP_CLASS,
        "SOPInstanceUID": archived_reports.instance_uid(uid, order.accession_number, report),
        # Patient. The archive tells studies apart by these as well: another Patient ID would make a second study.
        "PatientID": study.patient_id,
        **({"IssuerOfPatientID": study.issuer} if study.issuer else {}),
        "PatientName": study.patient_name or names.to_dicom(patient.name),
        "PatientBirthDate": study.birth_date or (f"{patient.birth_date:%Y%m%d}" if patient.birth_date else ""),
        "PatientSex": study.sex or _SEXES[patient.sex],
        # General Study
        "StudyInstanceUID": uid,
        "StudyDate": study.study_date,
        "StudyTime": study.study_time,
        "StudyID": study.study_id,
        "AccessionNumber": study.accession_number,
        "ReferringPhysicianName": names.to_dicom(names.split(order.referring_doctor)),
        "StudyDescription": order.procedure_name.replace("\\", "/")[:64],
        # Encapsulated Document Series
        "Modality": "DOC",
        "SeriesInstanceUID": archived_reports.series_uid(uid, order.accession_number),
        "SeriesNumber": SERIES_NUMBER,
        "SeriesDescription": _TITLES[None],
        # General Equipment, SC Equipment
        "Manufacturer": MANUFACTURER,
        "ConversionType": "WSD",
        # Encapsulated Document
        "InstanceNumber": report.version,
        "ContentDate": f"{at:%Y%m%d}",
        "ContentTime": f"{at:%H%M%S}",
        "AcquisitionDateTime": "",
        "BurnedInAnnotation": "YES",
        "DocumentTitle": f"{_TITLES[report.change]} от {at:%d.%m.%Y}",
        "ConceptNameCodeSequence": [_dataset(_REPORT_CODE)],
        "VerificationFlag": "VERIFIED",
        "MIMETypeOfEncapsulatedDocument": "application/pdf",
        "EncapsulatedDocument": pdf + b"\0" * (len(pdf) % 2),
        "EncapsulatedDocumentLength": len(pdf),
    }
    ds = _dataset(attributes)
    ds.file_meta = FileMetaDataset()
    ds.file_meta.update(_dataset({"TransferSyntaxUID": ExplicitVRLittleEndian}))
    return ds


_REPORT_CODE = {
    "CodeValue": "18748-4",
    "CodingSchemeDesignator": "LN",
    "CodeMeaning": "Diagnostic imaging report",
}


def _dataset(attributes: Mapping[str, object]) -> Dataset:
    ds = Dataset()
    for keyword, value in attributes.items():
        setattr(ds, keyword, value)
    return ds
