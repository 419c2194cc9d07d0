"""Debian's Orthanc: a real archive, to store images in and to ask."""

from __future__ import annotations

import json
import socket
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ComputedRadiographyImageStorage, ExplicitVRLittleEndian, generate_uid

from broker.dicom.scu import echo
from broker.dicom.scu.tls import ClientTls
from tests.peers.dcmtk import tool
from tests.support.waiting import wait_until

AE_TITLE = "ORTHANC"


@contextmanager
def orthanc(
    directory: Path, encoding: str = "Utf8", settings: Mapping[str, Any] | None = None, tls: ClientTls | None = None
) -> Iterator[int]:
    """Run an empty archive that keeps its images in `directory` and answers in `encoding`; gives its DICOM port.

    `settings` are further ones of its configuration, `tls` is how it is spoken to.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    config = {
        "Name": AE_TITLE,
        "DicomAet": AE_TITLE,
        "DicomPort": port,
        "HttpServerEnabled": False,
        "RemoteAccessAllowed": False,
        "DicomAlwaysAllowFind": True,
        "DicomAlwaysAllowStore": True,
        "DicomCheckCalledAet": False,
        "DefaultEncoding": encoding,
        "StorageDirectory": str(directory / "storage"),
        "IndexDirectory": str(directory / "index"),
        "Plugins": [],
        **(settings or {}),
    }
    (directory / "orthanc.json").write_text(json.dumps(config), encoding="utf-8")
    with (directory / "orthanc.log").open("wb") as log:
        process = subprocess.Popen([tool("Orthanc"), str(directory / "orthanc.json")], stdout=log, stderr=log)
    try:

        def listens() -> bool:
            assert process.poll() is None, "Orthanc ended"
            return echo.echo(AE_TITLE, "127.0.0.1", port, "TEST", timeout=1, tls=tls).ok

        wait_until(listens, "Orthanc to listen", every=0.1)
        yield port
    finally:
        process.terminate()
        process.wait(20)


def store_image(port: int, directory: Path, options: Sequence[str] = (), **values: str) -> None:
    """Store an image of a series of its own, with these values by keyword: DCMTK's storescu sends it."""
    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.file_meta.MediaStorageSOPClassUID = ds.SOPClassUID = ComputedRadiographyImageStorage
    ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID = generate_uid()
    ds.SpecificCharacterSet, ds.SeriesInstanceUID, ds.Modality = "ISO_IR 192", generate_uid(), "CR"
    for keyword, value in values.items():
        setattr(ds, keyword, value)
    path = directory / f"{ds.SOPInstanceUID}.dcm"
    ds.save_as(path, enforce_file_format=True)
    command = [tool("storescu"), *options, "-aec", AE_TITLE, "127.0.0.1", str(port), str(path)]
    subprocess.run(command, check=True, capture_output=True, timeout=30)
