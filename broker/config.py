"""Reads config.yaml and the WLB__SECTION__KEY variables into one frozen Config; reports every mistake at once.

It must not open ports, create directories or keep a secret: secrets stay in their files and are never shown in a
report. config.example.yaml explains every key to the administrator; a key added here is added there.
"""

from __future__ import annotations

import datetime
import difflib
import ipaddress
import os
import re
import zoneinfo
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_core import ErrorDetails

_QUOTE = "a value that begins with * & or ! must be quoted"

DEFAULT_PATHS = (Path("config.yaml"), Path("/etc/worklist-broker/config.yaml"))

Where = tuple[str | int, ...]
"""The place of a value: ("dicom", "port"), ("web", "origins", 0)."""


class ConfigError(Exception):
    """The configuration cannot be used; `report` holds one line per mistake."""

    def __init__(self, report: list[str]) -> None:
        super().__init__("\n".join(report))
        self.report = report


def load(path: Path | None, environ: Mapping[str, str] = os.environ) -> Config:
    """Read the file (None: the first of DEFAULT_PATHS) and the environment over it; ConfigError tells all mistakes."""
    path, raw = _find(path)
    data, lines, in_file = _parse(path, raw)
    overrides, in_environment = _overrides(environ)
    for (section, key), text in overrides.items():
        if isinstance(keys := data[section], dict):  # a section that is no mapping is reported below
            data[section] = {**keys, key: text}
    try:
        config = Config.model_validate(data, context={"base": path.absolute().parent})
    except ValidationError as error:
        for detail in error.errors(include_url=False):
            where: Where = tuple(part for part in detail["loc"] if part != "[key]")
            name_is_wrong = where != detail["loc"] or detail["type"] == "extra_forbidden"
            what = _words(detail, where) + ("" if name_is_wrong else _got(data, where))
            if where[:2] in overrides:
                in_environment.append(f"{_variable(*where[:2])}: {what}")
            else:
                # A missing key has no line of its own: show where its section begins.
                line = next((lines[where[:n]] for n in range(len(where), 0, -1) if where[:n] in lines), 1)
                in_file.append((line, f"{_dotted(where)}: {what}"))
    if in_file or in_environment:
        raise ConfigError(
            [f"{path}:{line}: {what}" for line, what in sorted(in_file, key=lambda mistake: mistake[0])]
            + [f"environment: {what}" for what in sorted(in_environment)]
        )
    return config


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


WholeNumber = Annotated[int, BeforeValidator(_whole_number)]
Seconds = Annotated[float, BeforeValidator(_number), Field(gt=0, allow_inf_nan=False)]
ListenPort = Annotated[WholeNumber, Field(ge=0, le=65535)]
OptionalOid = Annotated[str, AfterValidator(_oid)]
Oid = Annotated[OptionalOid, AfterValidator(_filled)]
AETitle = Annotated[str, AfterValidator(_ae_title)]
Address = Annotated[str, AfterValidator(_address)]
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

    @property
    def zone(self) -> zoneinfo.ZoneInfo:
        """Return the zone of the clinic's local dates and times."""
        return zoneinfo.ZoneInfo(self.time_zone)

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
            raise ValueError("is not a known time zone" + _nearest(name, known)) from None
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
    max_associations: Annotated[WholeNumber, Field(ge=1)] = 100
    idle_timeout: Seconds = 60.0


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

    dialect: Literal["n3"] = "n3"
    url: str = ""
    token_file: OptionalFile = Field(default=None, validate_default=True)
    organisation: str = Field(default="", validate_default=True)
    mis_oid: OptionalOid = Field(default="", validate_default=True)
    rate: Annotated[WholeNumber, Field(ge=1)] = 50
    timeout: Seconds = 30.0
    versions: Annotated[dict[Oid, Annotated[str, AfterValidator(_filled)]], BeforeValidator(_pairs)] = {}
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

    @property
    def backup_directory(self) -> Path:
        """Return where backups go: backup.directory, or `backup` in the data directory."""
        return self.backup.directory or self.data.directory / "backup"


# --- The file


def _find(path: Path | None) -> tuple[Path, bytes]:
    """Return the configuration file and its content."""
    candidates = (path,) if path else DEFAULT_PATHS
    for candidate in candidates:
        try:
            return candidate, candidate.read_bytes()
        except FileNotFoundError:
            continue
        except OSError as error:
            raise ConfigError([f"{candidate}: cannot be read: {error.strerror}"]) from None
    looked = " and ".join(str(candidate.absolute()) for candidate in candidates)
    make = "copy config.example.yaml there and edit it, or name another file with -c FILE"
    raise ConfigError([f"no configuration file: looked for {looked}; {make}"])


def _parse(path: Path, raw: bytes) -> tuple[dict[str, Any], dict[Where, int], list[tuple[int, str]]]:
    """Return the sections as typed, the line of every value, and each (line, mistake) seen without the models."""
    try:
        text = raw.decode("utf-8-sig")
        for event in yaml.parse(text, Loader=yaml.SafeLoader):
            if getattr(event, "anchor", None) and event.start_mark:  # nobody means an anchor or an alias here
                raise ConfigError([f"{path}:{event.start_mark.line + 1}: {_QUOTE}"])
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise ConfigError([f"{path}:{line}: the file is not UTF-8; save it in that encoding"]) from None
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise ConfigError([f"{path}:{line}: a control character is not allowed here"]) from None
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        problem = re.sub(r"'(?!<)[^']{2,}'", "'…'", str(error.problem))  # it may quote a secret
        hint = "check the indentation, and quote unusual values"
        raise ConfigError([f"{path}:{line}: this is not YAML: {problem}; {hint}"]) from None
    except RecursionError:
        raise ConfigError([f"{path}:1: this is nested too deeply"]) from None
    if root is None or (isinstance(root, yaml.ScalarNode) and not root.value):
        raise ConfigError([f"{path}:1: the file is empty; start from config.example.yaml"])
    if not isinstance(root, yaml.MappingNode):
        raise ConfigError([f"{path}:1: the file must consist of sections such as `clinic:`, with keys beneath"])
    lines: dict[Where, int] = {}
    mistakes: list[tuple[int, str]] = []
    data = _plain(root, (), lines, mistakes)
    # Every section is there, so that its missing keys are named one by one; a known key with nothing after it is not.
    for section, known in known_keys().items():
        keys = {} if data.get(section) is None else data[section]
        if isinstance(keys, dict):
            keys = {key: value for key, value in keys.items() if value is not None or key not in known}
        data[section] = keys
    return data, lines, mistakes


def _plain(node: yaml.Node, where: Where, lines: dict[Where, int], mistakes: list[tuple[int, str]]) -> Any:
    """Turn a node into dicts, lists and the scalars' own text; nothing is None."""
    if not node.tag.startswith("tag:yaml.org,2002:"):
        mistakes.append((node.start_mark.line + 1, f"{_dotted(where)}: {_QUOTE}"))
    if isinstance(node, yaml.SequenceNode):
        items = []
        for index, item in enumerate(node.value):
            lines.setdefault((*where, index), item.start_mark.line + 1)
            items.append(_plain(item, (*where, index), lines, mistakes))
        return items
    if not isinstance(node, yaml.MappingNode):
        return None if node.tag == "tag:yaml.org,2002:null" else node.value
    keys: dict[str, Any] = {}
    for key, value in node.value:
        line = key.start_mark.line + 1
        if not isinstance(key, yaml.ScalarNode):
            mistakes.append((line, f"{_dotted(where)}: a key must be a single word"))
            continue
        inner: Where = (*where, key.value)
        if inner in lines:
            mistakes.append((line, f"{_dotted(inner)}: is already set in line {lines[inner]}"))
        lines.setdefault(inner, line)
        plain, earlier = _plain(value, inner, lines, mistakes), keys.get(key.value)
        if isinstance(plain, dict) and isinstance(earlier, dict):  # a section twice: check the keys of both
            keys[key.value] = {**plain, **earlier}
        else:
            keys.setdefault(key.value, plain)
    return keys


def _overrides(environ: Mapping[str, str]) -> tuple[dict[tuple[str, str], str], list[str]]:
    """Return the values that the environment sets, and the mistakes in its names."""
    names = {_variable(section, key): (section, key) for section, keys in known_keys().items() for key in keys}
    ours = {name: value for name, value in environ.items() if name.startswith("WLB__")}
    mistakes = [f"{name}: names no key{_nearest(name, names)}" for name in ours if name not in names]
    return {names[name]: value for name, value in ours.items() if name in names}, mistakes


# --- The report


def _variable(*where: str | int) -> str:
    return "__".join(("WLB", *map(str, where))).upper()


def _dotted(where: Where) -> str:
    return ".".join(part for part in where if isinstance(part, str)) or "the file"


def _nearest(name: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(name, list(known), n=1)
    return f"; did you mean {near[0]}?" if near else ""


def _words(error: ErrorDetails, where: Where) -> str:
    """Say what is wrong in the administrator's words."""
    limits = error.get("ctx", {})
    match error["type"]:
        case "value_error":
            return str(limits["error"])
        case "missing":
            return "is required"
        case "extra_forbidden":
            sections = known_keys()
            known = sections[str(where[0])] if len(where) > 1 else tuple(sections)
            elsewhere = [f"{section}.{where[-1]}" for section, keys in sections.items() if where[-1] in keys]
            hint = _nearest(str(where[-1]), known) or "".join(f"; did you mean {key}?" for key in elsewhere[:1])
            return "is not a known key" + (hint or f"; known here: {', '.join(known)}")
        case "literal_error":
            return f"must be {limits['expected']}"
        case "greater_than_equal":
            return f"must be at least {limits['ge']}"
        case "greater_than":
            return f"must be more than {limits['gt']:g}"
        case "less_than_equal":
            return f"must be at most {limits['le']}"
        case "model_type" | "dict_type":
            return "must have its keys beneath it, indented"
        case "tuple_type":
            return "must be a list"
        case "path_type":
            return "must be a path"
        case _:
            return "must have a single value"


def _got(data: Any, where: Where) -> str:
    """Show what was written at a place, unless nothing was, or it may be a secret."""
    value = data
    for part in where:
        if isinstance(value, dict):
            value = value.get(str(part))
        elif isinstance(value, list) and isinstance(part, int):
            value = value[part]
    if value is None or value == {}:
        return ""
    # A token or a key is easily pasted where the name of its file belongs.
    if re.search(r"token|tls|secret|passw", _dotted(where)):
        return " (got …)"
    if not isinstance(value, str):
        return f" (got {'a list' if isinstance(value, list) else 'a mapping'})"
    shown = re.sub(r".*@|[?#].*", "…", value, flags=re.DOTALL)  # a password or a token in an address
    shown = shown if len(shown) <= 60 else shown[:60] + "…"
    return f" (got {shown if shown.isprintable() and shown == shown.strip() != '' else repr(shown)})"
