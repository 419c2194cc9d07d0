"""Orthanc as an archive over TLS: it is asked and gets the report; with another certificate it is not believed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from broker.dicom.scu import echo
from broker.dicom.scu.archive import Archive, ArchiveAddress
from broker.dicom.scu.report_sender import ReportSender
from broker.dicom.scu.tls import ClientTls
from broker.domain.studies.archived_reports import ArchivedReportState
from broker.store.database import Store
from broker.store.tables.studies import archived_reports as queue
from tests.bus.certificates import Authority
from tests.peers import orthanc
from tests.peers.test_report_in_archive import MAKE_PDF, SENDING, made, sign
from tests.support.clock import Seconds

pytestmark = pytest.mark.slow  # every test starts an Orthanc


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest.fixture
def tls(authority: Authority) -> ClientTls:
    """What the archive is shown, and by whom its own certificate must be signed."""
    return ClientTls(authority.file, *authority.sign(use="clientAuth"))


@pytest.fixture
def port(tmp_path: Path, authority: Authority, tls: ClientTls) -> Iterator[int]:
    certificate, key = authority.sign()
    settings = {
        "DicomTlsEnabled": True,
        "DicomTlsCertificate": str(certificate),
        "DicomTlsPrivateKey": str(key),
        "DicomTlsTrustedCertificates": str(authority.file),
        "DicomTlsRemoteCertificateRequired": True,
    }
    with orthanc.orthanc(tmp_path, settings=settings, tls=tls) as listening:
        yield listening


def test_the_archive_is_asked_and_gets_the_report_over_tls(
    store: Store, port: int, authority: Authority, tls: ClientTls, tmp_path: Path
) -> None:
    order, clock = made(store), Seconds()
    shown = ["+tls", str(tls.key), str(tls.certificate), "+cf", str(authority.file)]
    orthanc.store_image(
        port,
        tmp_path,
        shown,
        PatientName="Кузнецова^Марина^Петровна",
        PatientID=order.patient.patient_id,
        PatientBirthDate="19610312",
        StudyInstanceUID=order.study_instance_uid,
        AccessionNumber=order.accession_number,
    )
    sign(store, order)
    address = ArchiveAddress("ORTHANC", "127.0.0.1", port, tls)
    assert Archive(store, SENDING, address, "WORKLIST", clock).ask_now()
    ReportSender(store, SENDING, address, "WORKLIST", MAKE_PDF, clock).look()
    with store.read() as reader:
        [report] = queue.of_order(reader, order.id)
    assert report.state is ArchivedReportState.STORED


def test_an_archive_with_a_certificate_of_somebody_else_is_not_believed(
    store: Store, port: int, tls: ClientTls, tmp_path: Path
) -> None:
    (tmp_path / "other").mkdir()
    stranger = Authority(tmp_path / "other", "Somebody else")
    for wrong in (ClientTls(stranger.file, tls.certificate, tls.key), ClientTls(tls.authority), None):
        address = ArchiveAddress("ORTHANC", "127.0.0.1", port, wrong)
        assert not Archive(store, SENDING, address, "WORKLIST", Seconds()).ask_now()
        assert not echo.echo("ORTHANC", "127.0.0.1", port, "WORKLIST", tls=wrong).ok
    named = ArchiveAddress("ORTHANC", "localhost", port, tls)  # its certificate is of 127.0.0.1
    assert not Archive(store, SENDING, named, "WORKLIST", Seconds()).ask_now()


def test_files_that_cannot_be_used_are_said_and_stop_nothing(store: Store, tmp_path: Path) -> None:
    (tmp_path / "empty.pem").write_text("")
    for file in ("empty.pem", "missing.pem"):
        address = ArchiveAddress("ORTHANC", "127.0.0.1", 9, ClientTls(tmp_path / file))
        assert not Archive(store, SENDING, address, "WORKLIST", Seconds()).ask_now()
        assert "cannot connect" in echo.echo("ORTHANC", "127.0.0.1", 9, "WORKLIST", tls=address.tls).words
