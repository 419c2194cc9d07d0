"""The sections of the configuration as values: their keys, defaults, and what each may be.

They must not open ports, create directories or hold a secret: secrets stay in their files. config.example.yaml explains
every key to the administrator; a key added here is added there.
"""

from __future__ import annotations

import datetime
import re
import zoneinfo
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationInfo, field_validator

from broker.config.spelling import nearest
from broker.config.types import (
    WRONG,
    Address,
    AETitle,
    DaysByExamination,
    Directory,
    EncounterByCase,
    HoursOfDay,
    IpAddresses,
    ListenAddress,
    ListenPort,
    Lists,
    Nodes,
    NonEmpty,
    Oid,
    OpinionPartners,
    OptionalAETitle,
    OptionalDirectory,
    OptionalFile,
    OptionalOid,
    Origins,
    Seconds,
    StationByModality,
    Switch,
    VersionByOid,
    WholeNumber,
    both_or_none,
    read_token,
    time_of_day,
)
from broker.domain.patients.identifiers import is_guid
from broker.domain.studies import viewer


class Section(BaseModel):
    """Base of all sections: immutable, without unknown keys, and without the input in tracebacks."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class ClinicConfig(Section):
    """Who the clinic is, its time zone and hours, and how it numbers studies."""

    name: NonEmpty
    address: str = ""
    oid: OptionalOid = ""
    time_zone: str = "Europe/Moscow"
    uid_root: OptionalOid = ""
    accession_prefix: str = ""
    shared_accession_numbers: bool = False
    hours: HoursOfDay = "08:00-20:00"
    repeat_days: DaysByExamination = {}

    @property
    def zone(self) -> zoneinfo.ZoneInfo:
        """Return the zone of the clinic's local dates and times."""
        return zoneinfo.ZoneInfo(self.time_zone)

    @property
    def opening_hours(self) -> tuple[datetime.timedelta, datetime.timedelta]:
        """Return `hours` as two times since midnight: when the clinic opens and when it closes."""
        opens, closes = (time_of_day(part.strip()) for part in self.hours.partition("-")[::2])
        assert opens is not None
        assert closes is not None
        return opens, closes

    @field_validator("name")
    @classmethod
    def _one_line(cls, name: str) -> str:
        if not name.isprintable():
            raise ValueError("must be one line of text")
        return name

    @field_validator("time_zone")
    @classmethod
    def _check_time_zone(cls, name: str) -> str:
        try:
            zoneinfo.ZoneInfo(name)
        except (KeyError, ValueError, OSError):  # a directory such as "Europe" is an OSError
            known = zoneinfo.available_timezones()
            if not known:
                raise ValueError("cannot be looked up: install the package tzdata") from None
            raise ValueError("is not a known time zone" + nearest(name, known)) from None
        return name

    @field_validator("uid_root")
    @classmethod
    def _check_uid_root(cls, root: str) -> str:
        if len(root) > 38:  # PS3.5 9.1: a UID has 64 characters, and the rest must distinguish studies
            raise ValueError("must be at most 38 characters, so that a study's own part fits after it")
        return root

    @field_validator("accession_prefix")
    @classmethod
    def _check_accession_prefix(cls, prefix: str) -> str:
        if not re.fullmatch(r"[A-Z0-9]{0,5}", prefix):
            raise ValueError("must be at most 5 capital Latin letters or digits")
        return prefix


class WebConfig(Section):
    """Where the screens are served."""

    address: ListenAddress = "127.0.0.1"
    port: ListenPort = 8080
    tls_certificate: OptionalFile = None
    tls_key: Annotated[OptionalFile, AfterValidator(both_or_none("web.tls_certificate"))] = Field(
        default=None, validate_default=True
    )
    session_hours: Annotated[WholeNumber, Field(ge=1, le=168)] = 12
    origins: Origins = ()
    trusted_proxies: IpAddresses = ()


class DicomConfig(Section):
    """The port for modalities."""

    ae_title: AETitle = "WORKLIST"
    address: ListenAddress = "0.0.0.0"
    port: ListenPort = 11112
    unknown_devices: Literal["refuse", "learn"] = "refuse"
    max_associations: Annotated[WholeNumber, Field(ge=1, le=10_000)] = 100
    max_per_address: Annotated[WholeNumber, Field(ge=1)] = 50
    idle_timeout: Seconds = 60.0
    association_timeout: Seconds = 15.0
    message_timeout: Seconds = 30.0
    send_timeout: Seconds = 30.0
    answer_timeout: Seconds = 60.0
    max_pdu: Annotated[WholeNumber, Field(ge=4096, le=1 << 20)] = 65536
    max_message: Annotated[WholeNumber, Field(ge=1 << 16, le=1 << 28)] = 12 << 20
    accepts_reports: Switch = True
    max_document: Annotated[WholeNumber, Field(ge=1 << 16, le=1 << 28)] = 32 << 20
    tls_port: ListenPort = 2762
    tls_certificate: OptionalFile = None
    tls_key: Annotated[OptionalFile, AfterValidator(both_or_none("dicom.tls_certificate"))] = Field(
        default=None, validate_default=True
    )
    tls_ca: OptionalFile = Field(default=None, validate_default=True)
    lists: Lists = {}
    worklist_folder: OptionalDirectory = None
    forward_mpps: Nodes = ()

    @field_validator("lists")
    @classmethod
    def _check_lists(cls, lists: dict[str, tuple[str, ...]], info: ValidationInfo) -> dict[str, tuple[str, ...]]:
        if info.data.get("ae_title", WRONG) in lists:
            raise ValueError("must not name dicom.ae_title, which is the whole worklist")
        return lists

    @field_validator("tls_ca")
    @classmethod
    def _check_tls_ca(cls, authority: Path | None, info: ValidationInfo) -> Path | None:
        if authority is not None and info.data.get("tls_certificate", WRONG) is None:
            raise ValueError("goes together with dicom.tls_certificate")
        return authority


class PacsConfig(Section):
    """The archive that is asked which images arrived; an empty address means there is none."""

    ae_title: OptionalAETitle = ""
    address: Annotated[Address, AfterValidator(both_or_none("pacs.ae_title"))] = Field(
        default="", validate_default=True
    )
    port: Annotated[WholeNumber, Field(ge=1, le=65535)] = 104
    tls_ca: OptionalFile = None
    tls_certificate: OptionalFile = None
    tls_key: Annotated[OptionalFile, AfterValidator(both_or_none("pacs.tls_certificate"))] = Field(
        default=None, validate_default=True
    )
    images_within: Annotated[WholeNumber, Field(ge=1, le=10080)] = 60
    wait_for_images: Switch = False
    viewer: str = ""
    send_reports: Switch = False

    @field_validator("tls_certificate")
    @classmethod
    def _check_tls_certificate(cls, certificate: Path | None, info: ValidationInfo) -> Path | None:
        if certificate is not None and info.data.get("tls_ca", WRONG) is None:
            raise ValueError("goes together with pacs.tls_ca")
        return certificate

    @field_validator("viewer")
    @classmethod
    def _check_viewer(cls, template: str, info: ValidationInfo) -> str:
        if template and (wrong := viewer.problem(template, info.data.get("ae_title", WRONG))):
            raise ValueError(wrong)
        return template


class ReadingConfig(Section):
    """How doctors read studies; which procedures two of them read is data (`reading double`)."""

    hold_minutes: Annotated[WholeNumber, Field(ge=0, le=1440)] = 10
    lease_minutes: Annotated[WholeNumber, Field(ge=1, le=240)] = 15
    arbitration: Literal["discordant", "recalls"] = "discordant"
    strict: Switch = False
    own_referrals: Switch = False
    decide_together: Switch = False
    deadline_hours: Annotated[WholeNumber, Field(ge=1, le=720)] = 24
    over_read_hours: Annotated[WholeNumber, Field(ge=1, le=720)] = 24
    pause_seconds: Annotated[WholeNumber, Field(ge=0, le=5)] = 2


class BusConfig(Section):
    """The regional bus; an empty url means there is none."""

    dialect: Literal["n3", "r4"] = "n3"
    url: str = ""
    token_file: OptionalFile = Field(default=None, validate_default=True)
    organisation: str = Field(default="", validate_default=True)
    mis_oid: OptionalOid = Field(default="", validate_default=True)
    rate: Annotated[WholeNumber, Field(ge=1)] = 50
    timeout: Seconds = 30.0
    versions: VersionByOid = {}
    proxy: str = ""
    ca_file: OptionalFile = None
    client_certificate: OptionalFile = None
    client_key: Annotated[OptionalFile, AfterValidator(both_or_none("bus.client_certificate"))] = Field(
        default=None, validate_default=True
    )
    sends_start: Switch = False
    encounters: EncounterByCase = {}
    declined_status: Literal["cancelled", "rejected"] = "cancelled"
    accession_numbers: Literal["local", "bus"] = "local"
    texts: Literal["plain", "base64"] = "plain"
    images_url: str = ""
    fetch_every: Seconds = 60.0
    patient_search: Literal["off", "numbers", "names"] = "names"
    auto_accept: StationByModality = {}
    opinions: OpinionPartners = {}
    opinion_hours: Annotated[WholeNumber, Field(ge=1, le=2160)] = 72
    opinion_urgent_hours: Annotated[WholeNumber, Field(ge=1, le=2160)] = 24
    result_days: Annotated[WholeNumber, Field(ge=1)] = 90
    history_hours: Annotated[WholeNumber, Field(ge=1)] = 12
    keep_days: Annotated[WholeNumber, Field(ge=1)] = 90
    system_procedure: Oid = "1.2.643.5.1.13.13.11.1471"
    system_body_site: Oid = "1.2.643.5.1.13.13.11.1477"
    system_diagnosis: Oid = "1.2.643.5.1.13.13.11.1005"

    @property
    def token(self) -> str:
        """Return the token, read from its file on each call, so that a new one needs no restart.

        Raise OSError, ValueError.
        """
        return read_token(self.token_file) if self.token_file else ""

    @field_validator("url")
    @classmethod
    def _plain_url(cls, url: str) -> str:
        wrong = "must be an http:// or https:// address without name, password, query or fragment"
        try:
            parts = urlsplit(url)
            plain = parts.hostname and parts.port != 0 and "@" not in parts.netloc
        except ValueError:
            raise ValueError(wrong) from None
        if url and not (plain and re.fullmatch(r"https?://[!-~]+", url) and not re.search(r"[?#\\]", url)):
            raise ValueError(wrong)
        return url.rstrip("/")  # calls are url + "/Task/_search", url + "?_format=json"

    @field_validator("proxy")
    @classmethod
    def _plain_proxy(cls, proxy: str) -> str:
        if proxy and not re.fullmatch(r"https?://[A-Za-z0-9.\[\]:_-]+/?", proxy):
            raise ValueError("must be an http:// or https:// address without name and password")
        return proxy.rstrip("/")

    @field_validator("images_url")
    @classmethod
    def _images_address(cls, url: str) -> str:
        if url and not re.fullmatch(r"(https?|dicom)://[!-~]+", url):
            raise ValueError("must be an address, such as https://pacs.example.org/wado?studyUID={study}")
        return url

    @field_validator("token_file", "organisation", "mis_oid")
    @classmethod
    def _needed_with_url(cls, value: Path | str | None, info: ValidationInfo) -> Path | str | None:
        if info.data.get("url", WRONG) and not value:
            other = " (or clinic.oid)" if info.field_name == "mis_oid" else ""
            raise ValueError(f"is needed{other} when bus.url is set")
        return value

    @field_validator("token_file")
    @classmethod
    def _check_token_file(cls, path: Path | None) -> Path | None:
        if path:
            read_token(path)
        return path

    @field_validator("organisation")
    @classmethod
    def _guid(cls, guid: str) -> str:
        if guid and not is_guid(guid):
            raise ValueError("must be a GUID, such as 3f2c1d7e-0a4b-4c59-9e1d-5b8f6a7c0d21")
        return guid


class DataConfig(Section):
    """Where the program stores its data."""

    directory: Directory

    @property
    def database(self) -> Path:
        """Return the path of the SQLite database."""
        return self.directory / "worklist.sqlite"


class BackupConfig(Section):
    """When the nightly copy is made and how many are kept."""

    directory: OptionalDirectory = None
    at: str = "02:30"
    keep: WholeNumber = 14

    @property
    def time(self) -> datetime.time:
        """Return `at` as a local time of the clinic's zone."""
        return datetime.time.fromisoformat(self.at)

    @field_validator("at")
    @classmethod
    def _hours_and_minutes(cls, text: str) -> str:
        if not re.fullmatch(r"([01][0-9]|2[0-3]):[0-5][0-9]", text):
            raise ValueError("must be a time as HH:MM, such as 02:30")
        return text


class LogConfig(Section):
    """The level of the log."""

    level: Literal["debug", "info", "warning", "error"] = "info"
