"""Associations over TLS, beside the plain port: DCMTK's and pynetdicom's clients, with and without certificates."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest
from pynetdicom import AE
from pynetdicom.sop_class import Verification  # type: ignore[attr-defined]

from broker.dicom.scu import echo
from broker.dicom.server import DicomServer
from broker.domain.orders import Order
from broker.store.database import Store
from broker.workflow.referrals import referrals
from tests.bus.certificates import Authority, encrypted
from tests.peers.dcmtk import EVERYTHING, findscu
from tests.support import factory
from tests.support.factory import CLINIC, REGISTRAR
from tests.support.port import serving


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest.fixture
def order(store: Store) -> Order:
    return store.write(referrals.register, factory.draft(), REGISTRAR, CLINIC)


@pytest.fixture
def secure(store: Store, authority: Authority) -> Iterator[DicomServer]:
    certificate, key = authority.sign()
    with serving(store, tls_port=0, tls_certificate=str(certificate), tls_key=str(key)) as server:
        yield server


@pytest.fixture
def mutual(store: Store, authority: Authority) -> Iterator[DicomServer]:
    certificate, key = authority.sign()
    tls = {"tls_certificate": str(certificate), "tls_key": str(key), "tls_ca": str(authority.file)}
    with serving(store, tls_port=0, **tls) as server:
        yield server


def test_findscu_asks_over_tls(secure: DicomServer, order: Order, authority: Authority, tmp_path: Path) -> None:
    options = ("+tla", "+cf", str(authority.file))
    found = findscu(secure.tls_port, *EVERYTHING, directory=tmp_path / "found", options=options)
    assert [match.AccessionNumber for match in found.matches] == [order.accession_number], found.words
    assert echo.echo("WORKLIST", "127.0.0.1", secure.port, "XRAY_14").ok  # and the plain port stays open


def test_findscu_shows_its_certificate(mutual: DicomServer, order: Order, authority: Authority, tmp_path: Path) -> None:
    certificate, key = authority.sign(use="clientAuth")
    options = ("+tls", str(key), str(certificate), "+cf", str(authority.file))
    found = findscu(mutual.tls_port, *EVERYTHING, directory=tmp_path / "found", options=options)
    assert [match.AccessionNumber for match in found.matches] == [order.accession_number], found.words


def test_who_shows_none_or_a_foreign_one_learns_nothing(
    mutual: DicomServer, order: Order, authority: Authority, tmp_path: Path
) -> None:
    (tmp_path / "other").mkdir()
    certificate, key = Authority(tmp_path / "other", "Other authority").sign(use="clientAuth")
    for options in (("+tla",), ("+tls", str(key), str(certificate))):
        found = findscu(
            mutual.tls_port,
            *EVERYTHING,
            directory=tmp_path / "found",
            options=(*options, "+cf", str(authority.file)),
        )
        assert found.matches == []
        assert found.status != 0 or "rror" in found.words


def test_pynetdicom_gets_an_echo_over_tls_and_none_over_an_old_version(
    secure: DicomServer, authority: Authority
) -> None:
    ae = AE(ae_title="XRAY_14")
    ae.acse_timeout = ae.dimse_timeout = ae.network_timeout = 10
    ae.add_requested_context(Verification)
    context = ssl.create_default_context(cafile=authority.file)
    context.check_hostname = False
    assoc = ae.associate("127.0.0.1", secure.tls_port, ae_title="WORKLIST", tls_args=(context, None))  # type: ignore[arg-type]
    assert assoc.send_c_echo().Status == 0
    assoc.release()
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    assoc = ae.associate("127.0.0.1", secure.tls_port, ae_title="WORKLIST", tls_args=(context, None))  # type: ignore[arg-type]
    assert not assoc.is_established


def test_a_key_that_cannot_be_used_stops_the_start_and_nothing_stays_open(store: Store, authority: Authority) -> None:
    certificate, key = authority.sign()
    with (
        pytest.raises(OSError, match=r"PEM|PASSWORD|DECRYPT|SSL"),
        serving(store, tls_port=0, tls_certificate=str(certificate), tls_key=str(encrypted(key))),
    ):
        pass


def test_a_port_that_is_taken_leaves_the_plain_one_closed(store: Store, authority: Authority) -> None:
    certificate, key = authority.sign()
    tls = {"tls_certificate": str(certificate), "tls_key": str(key)}
    with serving(store, tls_port=0, **tls) as server:
        with pytest.raises(OSError, match="in use"), serving(store, tls_port=server.tls_port, **tls):
            pass
        assert echo.echo("WORKLIST", "127.0.0.1", server.port, "XRAY_14").ok
