"""Asks an archive (PACS) by Study Root C-FIND (PS3.4 C.6.2) and reads its answers, whatever they are."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable
from datetime import date, datetime

from pydicom.dataset import Dataset
from pynetdicom.association import Association
from pynetdicom.sop_class import StudyRootQueryRetrieveInformationModelFind  # type: ignore[attr-defined]

from broker.dicom.codec import dates
from broker.domain.orders import Order
from broker.domain.studies import archive as evidence
from broker.domain.studies.archive import ArchiveStudy

log = logging.getLogger(__name__)

MOST_ANSWERS = 200  # to one question for an order; an archive that gives more does not heed it
MOST_OF_DAY = 2000  # studies of one day
NO_IMAGES = frozenset({"DOC", "SR", "PR", "KO"})  # modalities of series that hold no images

SOP_CLASS = str(StudyRootQueryRetrieveInformationModelFind)
# What is asked for at each level, and which of it may be a key with a value.
STUDY_KEYS = (
    "StudyInstanceUID",
    "AccessionNumber",
    "StudyDate",
    "StudyTime",
    "PatientName",
    "PatientID",
    "PatientBirthDate",
    "PatientSex",
    "ModalitiesInStudy",
    "NumberOfStudyRelatedInstances",
)
SERIES_KEYS = ("StudyInstanceUID", "SeriesInstanceUID", "Modality", "NumberOfSeriesRelatedInstances")
MATCHED = {"STUDY": ("StudyInstanceUID", "AccessionNumber", "StudyDate"), "SERIES": ("StudyInstanceUID",)}

_PENDING = (0xFF00, 0xFF01)  # PS3.4 C.4.1.1.4
_SUCCESS = 0x0000
_WILDCARDS = frozenset("*?\\")


def ask(assoc: Association, order: Order, uids: Collection[str] = ()) -> list[ArchiveStudy] | None:
    """Return the studies that the archive answers with when it is asked for an order's, by UID and by its numbers.

    `uids` are the Study Instance UIDs that are the order's beside its own. The studies may be anything;
    `domain.studies.archive.compare` tells what they are worth. None if an answer did not come to its end.
    """
    found = find_order(assoc, order, uids)
    return None if found is None else [study for study, _ in found]


def find_order(
    assoc: Association, order: Order, uids: Collection[str] = (), added: Collection[str] = ()
) -> list[tuple[ArchiveStudy, Dataset]] | None:
    """Return what `ask` does, each study with the answer itself, which also has the attributes `added`."""
    found: list[Dataset] = []
    questions = [{"StudyInstanceUID": uid} for uid in dict.fromkeys([order.study_instance_uid, *sorted(uids)])]
    # As a key, one of these would ask for studies of any number (PS3.4 C.2.2.2.4), or of several.
    numbers = [number for number in evidence.numbers(order) if not _WILDCARDS.intersection(number)]
    questions += [{"AccessionNumber": number} for number in numbers]
    for keys in questions:
        answers = _find(assoc, "STUDY", (*STUDY_KEYS, *added), keys)
        if answers is None:
            return None
        found += answers
    return [(_held(each), each) for each in found]


def studies_of_day(assoc: Association, on: date) -> list[ArchiveStudy] | None:
    """Return the studies with images that the archive holds of a day; None if it does not say which these are."""
    answers = _find(assoc, "STUDY", STUDY_KEYS, {"StudyDate": f"{on:%Y%m%d}"}, MOST_OF_DAY)
    if answers is None:
        return None
    return [_held(each) for each in answers if _text(each, "StudyDate") == f"{on:%Y%m%d}" and _may_have_images(each)]


def count_images(assoc: Association, study: ArchiveStudy, documents: int = 0) -> int | None:
    """Return the number of a study's images by its series, without documents and reports.

    An archive that does not answer this with a number for each series is believed at study level, where its instances
    include as many `documents` of ours.
    """
    instances = None if study.images is None else max(study.images - documents, 0)
    answers = _find(assoc, "SERIES", SERIES_KEYS, {"StudyInstanceUID": study.study_instance_uid})
    series: dict[str, int] = {}
    for each in answers or ():
        count = _number(_text(each, "NumberOfSeriesRelatedInstances"))
        if count is None or _text(each, "StudyInstanceUID") not in ("", study.study_instance_uid):
            return instances
        series[_text(each, "SeriesInstanceUID")] = 0 if _text(each, "Modality") in NO_IMAGES else count
    return sum(series.values()) if series else instances


def _find(
    assoc: Association, level: str, returned: Iterable[str], keys: dict[str, str], most: int = MOST_ANSWERS
) -> list[Dataset] | None:
    """Return all matches; None if the archive did not say that these were all, or there are more than `most`."""
    ds = Dataset()
    ds.SpecificCharacterSet = "ISO_IR 192"
    ds.QueryRetrieveLevel = level
    for keyword in returned:
        setattr(ds, keyword, keys.get(keyword, ""))
    if not assoc.is_established:
        return None
    found: list[Dataset] = []
    unreadable = False
    for status, identifier in assoc.send_c_find(ds, StudyRootQueryRetrieveInformationModelFind):
        code = status.Status if "Status" in status else None
        if code == _SUCCESS and not unreadable:
            return found
        if code not in _PENDING:
            return None
        if identifier is None:
            unreadable = True  # the answers after it must be taken off the association all the same
        else:
            found.append(identifier)
        if len(found) > most:
            log.warning("the archive answers a question with more than %d studies", most)
            assoc.abort()
            return None
    return None


def _held(ds: Dataset) -> ArchiveStudy:
    return ArchiveStudy(
        study_instance_uid=_text(ds, "StudyInstanceUID"),
        accession_number=_text(ds, "AccessionNumber"),
        images=_number(_text(ds, "NumberOfStudyRelatedInstances")),
        modality="/".join(_image_modalities(ds)),
        patient_name=_text(ds, "PatientName"),
        patient_id=_text(ds, "PatientID"),
        birth_date=_text(ds, "PatientBirthDate"),
        patient_sex=_text(ds, "PatientSex"),
        start=_moment(_text(ds, "StudyDate"), _text(ds, "StudyTime")),
    )


def _text(ds: Dataset, keyword: str) -> str:
    value = _value(ds, keyword)
    return "" if value is None else str(value).strip(" \0")


def _value(ds: Dataset, keyword: str) -> object:
    try:
        return ds.get(keyword)
    except (ValueError, TypeError, OverflowError):  # what is no value of its kind says nothing
        return None


def _may_have_images(ds: Dataset) -> bool:
    named = _values(ds, "ModalitiesInStudy")
    return not named or not NO_IMAGES.issuperset(named)


def _image_modalities(ds: Dataset) -> list[str]:
    """Return the modalities of a study, at most three; those that hold no images only where there are no others."""
    named = _values(ds, "ModalitiesInStudy")
    return ([each for each in named if each not in NO_IMAGES] or named)[:3]


def _values(ds: Dataset, keyword: str) -> list[str]:
    value = _value(ds, keyword)
    values = value.split("\\") if isinstance(value, str) else value if isinstance(value, Iterable) else ()
    return list(dict.fromkeys(text for each in values if (text := str(each).strip(" \0"))))


def _number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 9 else None


def _moment(day: str, hour: str) -> datetime | None:
    if not day:
        return None
    try:
        low = dates.window(day, hour).low
    except dates.MalformedKey:
        return None
    return low.replace(microsecond=0) if low else None
