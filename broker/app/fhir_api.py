"""Our own `/fhir`, built from the configuration: a part of the composition root, for a МИС that is bought later."""

from __future__ import annotations

import uuid
from dataclasses import replace

from broker.app.bus import report_renderer
from broker.app.settings import bus_profile
from broker.bus.api import FhirApi
from broker.bus.outbound.bundle import NAMESPACE
from broker.bus.profile import Profile
from broker.config.configuration import Config
from broker.domain.clinic.settings import Clinic
from broker.store.database import Reader, Store
from broker.store.tables import directories


def build_fhir_api(config: Config, store: Store, clinic: Clinic) -> FhirApi:
    """Build the endpoint; it refuses every call before a client is registered."""

    def profile(reader: Reader) -> Profile:
        made = bus_profile(config, directories.positions(reader), directories.versions(reader))
        return made if made.mis_oid else replace(made, mis_oid=_own_oid(config))

    return FhirApi(store, clinic, profile, report_renderer(config), config.bus.auto_accept)


def _own_oid(config: Config) -> str:
    """Return a system for our numbers to a clinic that has no OID: ITU-T X.667 makes one of any UUID."""
    return config.clinic.uid_root or f"2.25.{uuid.uuid5(NAMESPACE, config.clinic.name).int}"
