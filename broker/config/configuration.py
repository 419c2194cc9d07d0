"""The whole configuration, and the checks that concern more than one section."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pydantic import BaseModel, ValidationInfo, field_validator, model_validator

from broker.config.sections import (
    BackupConfig,
    BusConfig,
    ClinicConfig,
    DataConfig,
    DicomConfig,
    LogConfig,
    PacsConfig,
    ReadingConfig,
    Section,
    WebConfig,
)
from broker.config.types import is_oid


class Config(Section):
    """The whole configuration."""

    clinic: ClinicConfig
    web: WebConfig = WebConfig()
    dicom: DicomConfig = DicomConfig()
    pacs: PacsConfig = PacsConfig()
    reading: ReadingConfig = ReadingConfig()
    bus: BusConfig = BusConfig()
    data: DataConfig
    backup: BackupConfig = BackupConfig()
    log: LogConfig = LogConfig()

    @model_validator(mode="before")
    @classmethod
    def _default_mis_oid(cls, data: Any) -> Any:
        """Let bus.mis_oid default to clinic.oid."""
        if isinstance(data, dict) and isinstance(clinic := data.get("clinic"), dict):
            bus, oid = data.get("bus", {}), clinic.get("oid")
            if isinstance(bus, dict) and isinstance(oid, str) and oid and not bus.get("mis_oid"):
                # A malformed clinic.oid is reported once, at its own key.
                return {**data, "bus": {**bus, "mis_oid": oid if is_oid(oid) else "0.0"}}
        return data

    @field_validator("bus")
    @classmethod
    def _refuse_own_address(cls, bus: BusConfig, info: ValidationInfo) -> BusConfig:
        """Refuse the address of our own /fhir: every order would return as a new referral."""
        url, web = urlsplit(bus.url), info.data.get("web")
        port = url.port or {"http": 80, "https": 443}.get(url.scheme)
        if web and port == web.port and url.hostname in ("127.0.0.1", "::1", "localhost", web.address):
            raise ValueError("url is the address of this program itself, see web.port")
        return bus

    @property
    def backup_directory(self) -> Path:
        """Return where backups go: backup.directory, or `backup` in the data directory."""
        return self.backup.directory or self.data.directory / "backup"


def known_keys() -> dict[str, tuple[str, ...]]:
    """Return the keys of every section, in the order in which they are declared."""
    return {
        section: tuple(field.annotation.model_fields)
        for section, field in Config.model_fields.items()
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel)
    }
