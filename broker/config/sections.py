"""The configuration as values: its sections, their keys, defaults and what each may be.

It must not open ports, create directories or keep a secret: secrets stay in their files. `config_file` reads the file;
config.example.yaml explains every key to the administrator; a key added here is added there.
"""

from __future__ import annotations

import datetime
import difflib
import ipaddress
import os
import re
import zoneinfo
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationInfo,
    field_validator,
    model_validator,
)


def nearest(name: str, known: Iterable[str]) -> str:
    """Ask whether the most alike of the known names was meant; empty where none is."""
    near = difflib.get_close_matches(name, list(known), n=1)
    return f"; did you mean {near[0]}?" if near else ""


def known_keys() -> dict[str, tuple[str, ...]]:
    """List the keys of every section, in the order in which they are declared."""
    return {
        section: tuple(field.annotation.model_fields)
        for section, field in Config.model_fields.items()
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel)
    }


# --- One value. Every scalar arrives as the text that was typed, so that YAML cannot guess (010 is 8, no is False).


def _whole_number(value: object) -> object:
    if isinstance(value, str):
        if not re.fullmatch(r"0|[1-9][0-9]{0,17}", value):
            raise ValueError("must be a whole number in plain decimal digits: no leading zero, no underscore, no sign")
        return int(value)
    return value


def _number(value: object) -> object:
    if isinstance(value, str):
        if not re.fullmatch(r"(0|[1-9][0-9]{0,17})(\.[0-9]{1,9})?", value):
            raise ValueError("must be a number in plain decimal digits, such as 30 or 2.5")
        return float(value)
    return value


def _switch(value: object) -> object:
    if isinstance(value, str):
        if value.lower() not in ("true", "false"):
            raise ValueError("must be true or false")
        return value.lower() == "true"
    return value


def _path(value: object, info: ValidationInfo) -> object:
    """Resolve a path against the configuration file's directory; empty text means none."""
    if not isinstance(value, str | Path):
        return value
    if value == "":
        return None
    if not str(value).isprintable():
        raise ValueError("must be a path, without control characters")
    base: Path = (info.context or {}).get("base", Path())
    return base / os.path.expanduser(value)


def _readable(path: Path | None) -> Path | None:
    if path is not None:
        try:
            with path.open("rb"):
                pass
        except OSError as error:
            # Not the path itself: it may be a secret that was pasted here.
            place = f" in {path.parent}" if os.path.isdir(path.parent) else ""
            raise ValueError(f"no file{place} can be read under this name: {error.strerror}") from None
    return path


def _token(path: Path) -> str:
    token = path.read_bytes().strip()
    if not token:
        raise ValueError("this file is empty")
    if not re.fullmatch(rb"[!-~]+", token):
        raise ValueError("this file must hold the token alone: one line of ASCII without blanks")
    return token.decode("ascii")


def _not_a_file(path: Path | None) -> Path | None:
    if path is not None and os.path.exists(path) and not os.path.isdir(path):
        raise ValueError("must be a directory, and is something else")
    return path


def _is_oid(text: str) -> bool:
    # ISO/IEC 9834-1: below 0 and 1 there are only 0 to 39. PS3.5 9.1: at most 64 characters, no leading zeros.
    return len(text) <= 64 and bool(re.fullmatch(r"([01]\.[1-3]?[0-9]|2\.(0|[1-9][0-9]*))(\.(0|[1-9][0-9]*))*", text))


def _oid(text: str) -> str:
    if text and not _is_oid(text):
        raise ValueError("must be an OID: digits and dots, such as 1.2.643.5.1.13.13.12.2.77.1")
    return text


def _ae_title(text: str) -> str:
    # PS3.5 6.2, VR AE: at most 16 characters of the default repertoire, no backslash, no control characters
    if text and not (len(text) <= 16 and re.fullmatch(r"[ -\[\]-~]+", text) and text == text.strip()):
        raise ValueError("must be an AE title: 1 to 16 ASCII characters, no backslash, no blank at either end")
    return text


def _address(text: str) -> str:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        is_name = re.fullmatch(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?", text)
        if text and (not is_name or re.fullmatch(r"[0-9.]+", text)):
            raise ValueError("must be an IP address or a host name, without a port") from None
    return text


def _origin(text: str) -> str:
    """Bring an origin to the form in which browsers send it: lower case, no default port."""
    text = text.strip().lower()
    if not re.fullmatch(r"https?://([a-z0-9._-]+|\[[0-9a-f:]+\])(:[0-9]{1,5})?", text):
        raise ValueError("must be an origin such as https://ris.example.org:8443, without a path")
    return re.sub(r"(?<=^http)(://.*):80$|(?<=^https)(://.*):443$", r"\1\2", text)


def _ip(text: str) -> str:
    try:
        return str(ipaddress.ip_address(text.strip()))
    except ValueError:
        raise ValueError("must be an IP address") from None


def _filled(text: str) -> str:
    if not text.strip():
        raise ValueError("must not be empty")
    return text


def _items(value: object) -> object:
    """Split comma-separated text, as an environment variable gives it, into a list."""
    return [part for part in value.split(",") if part.strip()] if isinstance(value, str) else value


def _pairs(value: object) -> object:
    """Split OID=version,OID=version, as an environment variable gives it, into a mapping."""
    if not isinstance(value, str):
        return value
    pairs = [part.partition("=") for part in value.split(",") if part.strip()]
    return {oid.strip(): version.strip() for oid, _, version in pairs}


def _repeat_key(text: str) -> str:
    if not re.fullmatch(r"[A-Z]{2,16}(/[!-~]{1,64})?", text):
        raise ValueError("must be a modality, such as CT, or a modality and the code of a body site, such as DX/4")
    return text


def _day_time(text: str) -> datetime.timedelta | None:
    """Return a time of day, such as 08:30, as the time since midnight; 24:00 is the end of the day."""
    found = re.fullmatch(r"([01][0-9]|2[0-3]):([0-5][0-9])|24:00", text)
    if found is None:
        return None
    return datetime.timedelta(hours=int(text[:2]), minutes=int(text[3:]))


def _hours(text: str) -> str:
    opens, closes = (_day_time(part.strip()) for part in text.partition("-")[::2])
    if opens is None or closes is None:
        raise ValueError("must be two times of day, such as 08:00-20:00")
    if closes <= opens:
        raise ValueError("must end later on the same day than it begins; 00:00-24:00 is round the clock")
    return text


def _modality(text: str) -> str:
    if not re.fullmatch(r"[A-Z]{2,16}", text):  # PS3.3 C.7.3.1.1.1
        raise ValueError("must be a modality, such as DX")
    return text


WholeNumber = Annotated[int, BeforeValidator(_whole_number)]
# A modality, or modality/body site
RepeatKey = Annotated[str, AfterValidator(_repeat_key)]
Seconds = Annotated[float, BeforeValidator(_number), Field(gt=0, allow_inf_nan=False)]
ListenPort = Annotated[WholeNumber, Field(ge=0, le=65535)]
OptionalOid = Annotated[str, AfterValidator(_oid)]
Oid = Annotated[OptionalOid, AfterValidator(_filled)]
AETitle = Annotated[str, AfterValidator(_ae_title)]
Address = Annotated[str, AfterValidator(_address)]
ModalityKey = Annotated[str, AfterValidator(_modality)]
Switch = Annotated[bool, BeforeValidator(_switch)]
OptionalFile = Annotated[Path | None, BeforeValidator(_path), AfterValidator(_readable)]


# --- The sections

_WRONG = "?"
"""Stands in for a value that was written but is wrong, and so is absent when the values that go with it are checked."""


class Section(BaseModel):
    """What all sections share: nothing changes after loading, nothing unknown is accepted, no input in tracebacks."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class ClinicConfig(Section):
    """Who the clinic is, where its clock stands, how it numbers studies."""

    name: Annotated[str, AfterValidator(_filled)]
    oid: OptionalOid = ""
    time_zone: str = "Europe/Moscow"
    uid_root: OptionalOid = ""
    accession_prefix: str = ""
    hours: Annotated[str, AfterValidator(_hours)] = "08:00-20:00"
    repeat_days: Annotated[dict[RepeatKey, WholeNumber], BeforeValidator(_pairs)] = {}

    @property
    def zone(self) -> zoneinfo.ZoneInfo:
        """Return the zone of the clinic's local dates and times."""
        return zoneinfo.ZoneInfo(self.time_zone)

    @property
    def opening_hours(self) -> tuple[datetime.timedelta, datetime.timedelta]:
        """Return `hours` as two times since midnight: when the clinic opens and when it closes."""
        opens, closes = (_day_time(part.strip()) for part in self.hours.partition("-")[::2])
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
    def _known_zone(cls, name: str) -> str:
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
    def _leaves_room(cls, root: str) -> str:
        if len(root) > 38:  # PS3.5 9.1: a UID has 64 characters, and the rest must tell studies apart
            raise ValueError("must be at most 38 characters, so that a study's own part fits after it")
        return root

    @field_validator("accession_prefix")
    @classmethod
    def _short_prefix(cls, prefix: str) -> str:
        if not re.fullmatch(r"[A-Z0-9]{0,5}", prefix):
            raise ValueError("must be at most 5 capital Latin letters or digits")
        return prefix


class WebConfig(Section):
    """Where the screens are served."""

    address: Annotated[Address, AfterValidator(_filled)] = "127.0.0.1"
    port: ListenPort = 8080
    tls_certificate: OptionalFile = None
    tls_key: OptionalFile = Field(default=None, validate_default=True)
    session_hours: Annotated[WholeNumber, Field(ge=1, le=168)] = 12
    origins: Annotated[tuple[Annotated[str, AfterValidator(_origin)], ...], BeforeValidator(_items)] = ()
    trusted_proxies: Annotated[tuple[Annotated[str, AfterValidator(_ip)], ...], BeforeValidator(_items)] = ()

    @field_validator("tls_key")
    @classmethod
    def _both_or_none(cls, key: Path | None, info: ValidationInfo) -> Path | None:
        if (key is None) != (info.data.get("tls_certificate", _WRONG) is None):
            raise ValueError("goes together with web.tls_certificate: set both or none")
        return key


class DicomConfig(Section):
    """The port that modalities talk to."""

    ae_title: Annotated[AETitle, AfterValidator(_filled)] = "WORKLIST"
    address: Annotated[Address, AfterValidator(_filled)] = "0.0.0.0"
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
    max_message: Annotated[WholeNumber, Field(ge=1 << 16, le=1 << 28)] = 1 << 23
    tls_port: ListenPort = 2762
    tls_certificate: OptionalFile = None
    tls_key: OptionalFile = Field(default=None, validate_default=True)
    tls_ca: OptionalFile = Field(default=None, validate_default=True)
    worklist_folder: Annotated[Path | None, BeforeValidator(_path), AfterValidator(_not_a_file)] = None

    @field_validator("tls_key")
    @classmethod
    def _both_or_none(cls, key: Path | None, info: ValidationInfo) -> Path | None:
        if (key is None) != (info.data.get("tls_certificate", _WRONG) is None):
            raise ValueError("goes together with dicom.tls_certificate: set both or none")
        return key

    @field_validator("tls_ca")
    @classmethod
    def _with_a_certificate(cls, authority: Path | None, info: ValidationInfo) -> Path | None:
        if authority is not None and info.data.get("tls_certificate", _WRONG) is None:
            raise ValueError("goes together with dicom.tls_certificate")
        return authority


class PacsConfig(Section):
    """The archive that is asked which images arrived; an empty address means there is none."""

    ae_title: AETitle = ""
    address: Address = Field(default="", validate_default=True)
    port: Annotated[WholeNumber, Field(ge=1, le=65535)] = 104

    @field_validator("address")
    @classmethod
    def _both_or_none(cls, address: str, info: ValidationInfo) -> str:
        if bool(address) != bool(info.data.get("ae_title", _WRONG)):
            raise ValueError("goes together with pacs.ae_title: set both or none")
        return address


class BusConfig(Section):
    """The regional bus; an empty url means there is none."""

    dialect: Literal["n3", "r4"] = "n3"
    url: str = ""
    token_file: OptionalFile = Field(default=None, validate_default=True)
    organisation: str = Field(default="", validate_default=True)
    mis_oid: OptionalOid = Field(default="", validate_default=True)
    rate: Annotated[WholeNumber, Field(ge=1)] = 50
    timeout: Seconds = 30.0
    versions: Annotated[dict[Oid, Annotated[str, AfterValidator(_filled)]], BeforeValidator(_pairs)] = {}
    proxy: str = ""
    ca_file: OptionalFile = None
    client_certificate: OptionalFile = None
    client_key: OptionalFile = Field(default=None, validate_default=True)
    sends_start: Switch = False
    accession_numbers: Literal["local", "bus"] = "local"
    texts: Literal["plain", "base64"] = "plain"
    images_url: str = ""
    fetch_every: Seconds = 60.0
    auto_accept: Annotated[dict[ModalityKey, AETitle], BeforeValidator(_pairs)] = {}
    history_hours: Annotated[WholeNumber, Field(ge=1)] = 12
    keep_days: Annotated[WholeNumber, Field(ge=1)] = 90
    system_procedure: Oid = "1.2.643.5.1.13.13.11.1471"
    system_body_site: Oid = "1.2.643.5.1.13.13.11.1477"
    system_diagnosis: Oid = "1.2.643.5.1.13.13.11.1005"

    @property
    def token(self) -> str:
        """Read the token, anew each time so that a new one needs no restart; OSError or ValueError if unusable."""
        return _token(self.token_file) if self.token_file else ""

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

    @field_validator("client_key")
    @classmethod
    def _both_or_none(cls, key: Path | None, info: ValidationInfo) -> Path | None:
        if (key is None) != (info.data.get("client_certificate", _WRONG) is None):
            raise ValueError("goes together with bus.client_certificate: set both or none")
        return key

    @field_validator("token_file", "organisation", "mis_oid")
    @classmethod
    def _needed_with_url(cls, value: Path | str | None, info: ValidationInfo) -> Path | str | None:
        if info.data.get("url", _WRONG) and not value:
            other = " (or clinic.oid)" if info.field_name == "mis_oid" else ""
            raise ValueError(f"is needed{other} when bus.url is set")
        return value

    @field_validator("token_file")
    @classmethod
    def _holds_a_token(cls, path: Path | None) -> Path | None:
        if path:
            _token(path)
        return path

    @field_validator("organisation")
    @classmethod
    def _guid(cls, guid: str) -> str:
        if guid and not re.fullmatch(r"[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}", guid):
            raise ValueError("must be a GUID, such as 3f2c1d7e-0a4b-4c59-9e1d-5b8f6a7c0d21")
        return guid


class DataConfig(Section):
    """Where the program keeps everything it knows."""

    directory: Annotated[Path, BeforeValidator(_path), AfterValidator(_not_a_file)]

    @property
    def database(self) -> Path:
        """Return the path of the SQLite database."""
        return self.directory / "worklist.sqlite"


class BackupConfig(Section):
    """When the nightly copy is made and how many are kept."""

    directory: Annotated[Path | None, BeforeValidator(_path), AfterValidator(_not_a_file)] = None
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
    """How much is written to the log."""

    level: Literal["debug", "info", "warning", "error"] = "info"


class Config(Section):
    """The whole configuration."""

    clinic: ClinicConfig
    web: WebConfig = WebConfig()
    dicom: DicomConfig = DicomConfig()
    pacs: PacsConfig = PacsConfig()
    bus: BusConfig = BusConfig()
    data: DataConfig
    backup: BackupConfig = BackupConfig()
    log: LogConfig = LogConfig()

    @model_validator(mode="before")
    @classmethod
    def _orders_are_the_clinics(cls, data: Any) -> Any:
        """Let bus.mis_oid default to clinic.oid."""
        if isinstance(data, dict) and isinstance(clinic := data.get("clinic"), dict):
            bus, oid = data.get("bus", {}), clinic.get("oid")
            if isinstance(bus, dict) and isinstance(oid, str) and oid and not bus.get("mis_oid"):
                # A malformed clinic.oid is reported once, where it is written; nothing comes of the stand-in then.
                return {**data, "bus": {**bus, "mis_oid": oid if _is_oid(oid) else "0.0"}}
        return data

    @field_validator("bus")
    @classmethod
    def _not_ourselves(cls, bus: BusConfig, info: ValidationInfo) -> BusConfig:
        """Refuse our own /fhir as the region: every order would come back as another one."""
        url, web = urlsplit(bus.url), info.data.get("web")
        port = url.port or {"http": 80, "https": 443}.get(url.scheme)
        if web and port == web.port and url.hostname in ("127.0.0.1", "::1", "localhost", web.address):
            raise ValueError("url is the address of this program itself, see web.port")
        return bus

    @property
    def backup_directory(self) -> Path:
        """Return where backups go: backup.directory, or `backup` in the data directory."""
        return self.backup.directory or self.data.directory / "backup"
