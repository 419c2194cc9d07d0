"""Objects that modalities store here (PS3.4 Annex B), from the bytes of a C-STORE to values.

They are read leniently, by pydicom where this program's own parser refuses them: a device that is refused because of
one attribute keeps its report for ever, and no person sees it.
"""

from __future__ import annotations

import hashlib
from io import BytesIO

from pydicom.datadict import dictionary_has_tag, dictionary_VR
from pydicom.dataset import Dataset
from pydicom.filereader import read_dataset
from pydicom.sequence import Sequence
from pydicom.uid import (
    BasicTextSRStorage,
    Comprehensive3DSRStorage,
    ComprehensiveSRStorage,
    EncapsulatedCDAStorage,
    EncapsulatedPDFStorage,
    EnhancedSRStorage,
    XRayRadiationDoseSRStorage,
)

from broker.dicom.codec import decoding
from broker.dicom.codec.decoding import Undecodable
from broker.dicom.sr import content, dose
from broker.domain.studies.dose import DoseReport
from broker.domain.studies.received import ReceivedKind, ReceivedObject

REPORTS = tuple(
    str(each)
    for each in (
        BasicTextSRStorage,
        EnhancedSRStorage,
        ComprehensiveSRStorage,
        Comprehensive3DSRStorage,
        XRayRadiationDoseSRStorage,
    )
)
DOCUMENTS = (str(EncapsulatedPDFStorage), str(EncapsulatedCDAStorage))
MOST_ELEMENTS = 300_000  # of an object; a dose report of a long intervention has 50,000
LONGEST = 256  # characters of a text that is shown


class UnreadableObject(ValueError):
    """An object that cannot be read; the text says why in at most 64 characters (Error Comment)."""


def read(
    data: bytes, implicit: bool, sop_class_uid: str, sop_instance_uid: str, ae_title: str, fallback: str
) -> tuple[ReceivedObject, DoseReport | None]:
    """Return an object, and the doses that it states if it is a dose report.

    `fallback` is the character set of a device that names none. Raise UnreadableObject.
    """
    try:
        ds = dataset(data, implicit, fallback)
        if not len(ds):
            raise UnreadableObject("the dataset is empty")
        named = {"SOPClassUID": sop_class_uid, "SOPInstanceUID": sop_instance_uid}
        for keyword, expected in named.items():
            if content.text(ds, keyword) not in ("", expected):
                raise UnreadableObject(f"{keyword} is another one in the dataset")
        problem, found, kind = "", None, _kind(ds, sop_class_uid)
        if kind is ReceivedKind.DOSE:
            found, problem = _dose(ds)
        received = ReceivedObject(
            sop_instance_uid=sop_instance_uid,
            sop_class_uid=sop_class_uid,
            kind=kind,
            ae_title=ae_title,
            title=_title(ds),
            study_instance_uid=content.text(ds, "StudyInstanceUID"),
            accession_number=content.text(ds, "AccessionNumber"),
            patient_name=content.text(ds, "PatientName"),
            patient_id=content.text(ds, "PatientID"),
            patient_birth_date=content.text(ds, "PatientBirthDate"),
            patient_sex=content.text(ds, "PatientSex"),
            dataset=data,
            implicit=implicit,
            digest=_digest(data, implicit),
            problem=problem,
        )
    except UnreadableObject:
        raise
    except Exception as error:  # whatever devices send, they get an answer
        raise UnreadableObject(f"it cannot be read ({type(error).__name__})") from error
    return received, found


def _kind(ds: Dataset, sop_class_uid: str) -> ReceivedKind:
    if sop_class_uid in DOCUMENTS:
        return ReceivedKind.DOCUMENT
    is_dose = sop_class_uid == str(XRayRadiationDoseSRStorage) or dose.is_dose_report(ds)
    return ReceivedKind.DOSE if is_dose else ReceivedKind.REPORT


def _dose(ds: Dataset) -> tuple[DoseReport | None, str]:
    try:
        found = dose.read(ds)
    except Exception as error:  # the report is stored nevertheless, and shown as one whose dose is not known
        return None, f"its content cannot be read ({type(error).__name__})"
    return (found, "") if found.totals or found.events else (None, "it states no dose")


def _title(ds: Dataset) -> str:
    texts = (content.text(ds, "DocumentTitle"), content.meaning(ds), content.text(ds, "SeriesDescription"))
    return next(filter(None, texts), "")[:LONGEST]


def dataset(data: bytes, implicit: bool, fallback: str) -> Dataset:
    """Return an object's dataset; `fallback` is the character set of a device that names none."""
    try:
        return decoding.decode(data, implicit, fallback=fallback, most_bytes=len(data), most_elements=MOST_ELEMENTS)
    except Undecodable:
        return read_dataset(BytesIO(data), implicit, True)


def _digest(data: bytes, implicit: bool) -> str:
    """Return a digest of what a dataset says: the same in both transfer syntaxes and however lengths are written."""
    try:
        ds = read_dataset(BytesIO(data), implicit, True)
        found = hashlib.sha256()
        _feed(found, ds, implicit)
    except Exception:  # whatever devices write; then only the very same bytes are the same object
        found = hashlib.sha256(data)
    return found.hexdigest()


def _feed(found: hashlib._Hash, ds: Dataset, implicit: bool) -> None:
    for tag in sorted(ds.keys()):
        if not tag.element:
            continue  # a group length says nothing
        raw = ds.get_item(tag)
        vr = raw.VR or (dictionary_VR(tag) if dictionary_has_tag(tag) else "UN")
        found.update(tag.to_bytes(4, "big"))
        if vr == "SQ" or isinstance(raw.value, Sequence):
            for item in ds[tag].value or ():
                found.update(b"(")
                _feed(found, item, implicit)
            found.update(b")")
        elif isinstance(raw.value, bytes):
            found.update(raw.value.rstrip(b" \0") + b"\\")
