"""The conformance statement says what the services do, because it is written from their tables."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from pydicom.datadict import dictionary_description
from pydicom.tag import Tag
from pynetdicom import AE

from broker.app.settings import archive_address, port_settings
from broker.cli.main import main
from broker.config.configuration import Config
from broker.config.sections import PacsConfig
from broker.dicom import conformance, services
from broker.dicom.mpps.rules import RULES
from broker.dicom.scu import archive_query
from broker.dicom.scu.archive import ArchiveAddress
from broker.dicom.server import DicomServer
from broker.dicom.statuses import Status
from broker.dicom.worklist.attributes import STEP, TOP
from broker.store.database import Store
from tests.support.factory import CLINIC


@pytest.fixture
def config(tmp_path: Path) -> Config:
    dicom = {"ae_title": "OUR_WL", "address": "127.0.0.1", "port": 0}
    return Config.model_validate({"clinic": {"name": "К"}, "dicom": dicom, "data": {"directory": str(tmp_path)}})


def test_every_attribute_of_the_services_is_documented(config: Config) -> None:
    stated = conformance.write(port_settings(config.dicom), archive_address(config), "1.0")
    for keyword in [each.keyword for each in (*TOP, *STEP)] + [rule.keyword for rule in RULES]:
        tag = Tag(keyword)
        name = dictionary_description(tag)
        assert re.search(rf"\| (> )*{re.escape(name)} \| \({tag.group:04X},{tag.element:04X}\)", stated), keyword


def test_what_an_archive_is_asked_is_documented(config: Config) -> None:
    asking = config.model_copy(update={"pacs": PacsConfig(ae_title="PACS", address="10.0.0.9")})
    stated = conformance.write(port_settings(config.dicom), archive_address(asking), "1.0")
    assert re.search(r"\| 1\.2\.840\.10008\.5\.1\.4\.1\.2\.2\.1 \| Yes \| No \|", stated)
    assert "PACS at 10.0.0.9:104" in stated
    for keyword in (*archive_query.STUDY_KEYS, *archive_query.SERIES_KEYS):
        tag = Tag(keyword)
        assert f"{dictionary_description(tag)} | ({tag.group:04X},{tag.element:04X})" in stated, keyword


def test_reports_that_go_to_the_archive_are_documented(config: Config) -> None:
    archive = ArchiveAddress("PACS", "10.0.0.9", 104)
    for sends, said in ((True, "PACS at 10.0.0.9:104"), (False, "switched off here")):
        stated = conformance.write(port_settings(config.dicom), archive, "1.0", sends_reports=sends)
        assert f"A signed report is stored in the archive ({said})" in stated
        assert bool(re.search(r"\| 1\.2\.840\.10008\.5\.1\.4\.1\.1\.104\.1 \| Yes \|", stated)) is sends


def test_every_status_of_the_services_is_documented() -> None:
    reported = set(conformance._FIND) | set(conformance._STEP) | set(conformance._STORE)
    assert set(Status) <= reported


def test_what_is_offered_on_the_wire_is_what_is_documented(config: Config, store: Store) -> None:
    stated = conformance.write(port_settings(config.dicom), archive_address(config), "1.0")
    listening = DicomServer(port_settings(config.dicom), store, CLINIC)
    listening.start()
    try:
        ae = AE(ae_title="XRAY_14")
        for uid in services.SOP_CLASSES:
            ae.add_requested_context(uid, [*services.TRANSFER_SYNTAXES, "1.2.840.10008.1.2.1.99"])
        assoc = ae.associate("127.0.0.1", listening.port, ae_title="OUR_WL")
        assert assoc.is_established
        assert {str(context.abstract_syntax) for context in assoc.accepted_contexts} == set(services.SOP_CLASSES)
        primitive = assoc.acceptor.primitive
        assert str(assoc.acceptor.implementation_class_uid) in stated
        assert assoc.acceptor.maximum_length == config.dicom.max_pdu
        assert primitive is not None
        assoc.release()
    finally:
        listening.stop()
    for uid in (*services.SOP_CLASSES, *services.TRANSFER_SYNTAXES):
        assert uid in stated


def test_the_command_prints_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "config.yaml"
    path.write_text("clinic: {name: К}\ndicom: {ae_title: OUR_WL}\ndata: {directory: data}\n", encoding="utf-8")
    assert main(["conformance", "-c", str(path)]) == 0
    stated = capsys.readouterr().out
    assert stated.startswith("# DICOM Conformance Statement")
    assert "OUR_WL" in stated
    assert not (tmp_path / "data").exists()  # it opens nothing
