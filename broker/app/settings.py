"""The configuration, turned into the values that each part takes: no part but `app` and `cli` knows `broker.config`."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import timedelta

from broker.bus.profile import Profile
from broker.bus.transport.bus_clock import BusClock
from broker.bus.transport.client import BusClient
from broker.bus.transport.dialect import DIALECTS
from broker.config.configuration import Config
from broker.config.sections import BusConfig, DicomConfig
from broker.dicom.receiving.service import StorageLimits
from broker.dicom.scu.archive import ArchiveAddress
from broker.dicom.scu.mpps_forwarder import MppsNode
from broker.dicom.scu.tls import ClientTls
from broker.dicom.server import PortSettings
from broker.dicom.upper_layer.limits import MOST_COLLECTED, Limits
from broker.domain.clinic.settings import Clinic, OpeningHours
from broker.domain.opinions.requests import OpinionPartner, OpinionRules
from broker.domain.patients import names
from broker.domain.reading.opinions import Arbitration, ReadingRules
from broker.domain.studies.viewer import Viewer
from ui.settings import ScreenSettings, ServerSettings, WorklistAddress


def clinic_of(config: Config) -> Clinic:
    """Return the clinic's own rules, as the use cases take them."""
    return Clinic(
        zone=config.clinic.zone,
        uid_root=config.clinic.uid_root,
        accession_prefix=config.clinic.accession_prefix,
        organisation=config.bus.organisation if config.bus.url else "",
        sends_to_bus=bool(config.bus.url),
        shares_accession_numbers=config.clinic.shared_accession_numbers,
        bus_numbers=config.bus.accession_numbers == "bus",
        sends_start=config.bus.sends_start,
        hours=OpeningHours(*config.clinic.opening_hours),
        images_within=timedelta(minutes=config.pacs.images_within) if config.pacs.address else None,
        reading=ReadingRules(
            hold_minutes=config.reading.hold_minutes,
            lease_minutes=config.reading.lease_minutes,
            arbitration=Arbitration(config.reading.arbitration),
            strict=config.reading.strict,
            own_referrals=config.reading.own_referrals,
            decide_together=config.reading.decide_together,
            deadline_hours=config.reading.deadline_hours,
            over_read_hours=config.reading.over_read_hours,
            pause_seconds=config.reading.pause_seconds,
        ),
        opinions=OpinionRules(
            tuple(OpinionPartner(guid, how == "understands") for guid, how in config.bus.opinions.items()),
            config.bus.opinion_hours,
            config.bus.opinion_urgent_hours,
        ),
        images_url=config.bus.images_url,
        archives_reports=config.pacs.send_reports and bool(config.pacs.address),
        waits_for_images=config.pacs.wait_for_images and bool(config.pacs.address),
    )


def mpps_nodes(config: Config) -> list[MppsNode]:
    """Return the nodes to which the messages of modalities about performed steps are forwarded."""
    nodes = []
    for text in config.dicom.forward_mpps:
        ae_title, _, where = text.partition("@")
        host, _, port = where.rpartition(":")
        nodes.append(MppsNode(ae_title, host, int(port)))
    return nodes


def port_settings(dicom: DicomConfig) -> PortSettings:
    """Return the settings of the port that modalities call."""
    return PortSettings(
        ae_title=dicom.ae_title,
        address=dicom.address,
        port=dicom.port,
        learns_unknown_devices=dicom.unknown_devices == "learn",
        lists=dicom.lists,
        tls_port=dicom.tls_port,
        tls_certificate=dicom.tls_certificate,
        tls_key=dicom.tls_key,
        tls_ca=dicom.tls_ca,
        storage=StorageLimits(dicom.max_message, dicom.max_document) if dicom.accepts_reports else None,
        limits=Limits(
            max_pdu=dicom.max_pdu,
            max_message=dicom.max_message,
            most_collected=max(MOST_COLLECTED, dicom.max_document + dicom.max_message),
            association=dicom.association_timeout,
            message=dicom.message_timeout,
            idle=dicom.idle_timeout,
            sending=dicom.send_timeout,
            answer=dicom.answer_timeout,
            associations=dicom.max_associations,
            per_address=dicom.max_per_address,
        ),
    )


def screen_settings(config: Config) -> ScreenSettings:
    """Return what the screens need of the configuration."""
    web, dicom, bus = config.web, config.dicom, config.bus
    return ScreenSettings(
        clinic_name=config.clinic.name,
        clinic_address=config.clinic.address,
        directory=config.data.directory,
        worklist=WorklistAddress(
            dicom.ae_title, dicom.address, dicom.port, dicom.unknown_devices == "learn", dicom.lists
        ),
        server=ServerSettings(
            address=web.address,
            port=web.port,
            tls_certificate=web.tls_certificate,
            tls_key=web.tls_key,
            session_hours=web.session_hours,
            origins=web.origins,
            trusted_proxies=web.trusted_proxies,
        ),
        has_bus=bool(bus.url),
        corrects_on_bus=DIALECTS[bus.dialect].amends,
        organisation=bus.organisation if bus.url else "",
        system_procedure=bus.system_procedure,
        repeat_days=config.clinic.repeat_days,
        viewer=Viewer(config.pacs.viewer, config.pacs.ae_title) if config.pacs.viewer else None,
    )


def archive_address(config: Config) -> ArchiveAddress | None:
    """Return the address of the image archive; None if none is configured."""
    pacs = config.pacs
    tls = ClientTls(pacs.tls_ca, pacs.tls_certificate, pacs.tls_key) if pacs.tls_ca else None
    return ArchiveAddress(pacs.ae_title, pacs.address, pacs.port, tls) if pacs.address else None


def bus_profile(
    config: Config,
    positions: Mapping[str, tuple[str, str]] | None = None,
    versions: Mapping[str, str] | None = None,
    prophylactic: Collection[str] = (),
) -> Profile:
    """Return the clinic's profile on the bus; the configuration overrides imported directories.

    `positions` is position in words -> codes (NSI.1002, NSI.1066), `versions` code system OID -> version;
    `prophylactic` are codes of procedures.
    """
    bus = config.bus
    cases = dict(bus.encounters)
    if case := cases.pop("prophylactic", ""):
        cases = {f"procedure/{code}": case for code in sorted(prophylactic)} | cases
    return Profile(
        organisation=bus.organisation,
        mis_oid=bus.mis_oid,
        zone=config.clinic.zone,
        versions={**(versions or {}), **bus.versions},
        positions={names.fold(title): codes for title, codes in (positions or {}).items()},
        system_procedure=bus.system_procedure,
        system_body_site=bus.system_body_site,
        system_diagnosis=bus.system_diagnosis,
        texts=bus.texts,
        images_url=bus.images_url,
        waits_for_images=config.pacs.wait_for_images and bool(config.pacs.address),
        declined_status=bus.declined_status,
        encounters={what: (case.partition("/")[0], case.partition("/")[2]) for what, case in cases.items()},
    )


def bus_client(bus: BusConfig, clock: BusClock | None = None) -> BusClient:
    """Return a client of the configured bus, with connections of its own; `clock` is the one that it notes."""
    return BusClient(
        bus.url,
        lambda: bus.token,
        bus.timeout,
        proxy=bus.proxy,
        ca_file=bus.ca_file,
        client_certificate=bus.client_certificate,
        client_key=bus.client_key,
        clock=clock,
    )
