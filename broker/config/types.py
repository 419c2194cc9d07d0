"""Types of the configuration's values, each with its validation.

Every scalar arrives as the text that was typed, so that YAML cannot guess (010 is 8, no is False).
"""

from __future__ import annotations

import datetime
import ipaddress
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Literal, TypeVar

from pydantic import AfterValidator, BeforeValidator, Field, ValidationInfo

from broker.domain.patients.identifiers import is_guid

T = TypeVar("T")

WRONG = "?"
"""Stands in for a value that was written but is wrong, and so is absent when the values that go with it are checked."""


def both_or_none(other: str) -> Callable[[T, ValidationInfo], T]:
    """Return the check that a value is set if and only if `other` (section.key, declared before it) is."""

    def check(value: T, info: ValidationInfo) -> T:
        if bool(value) != bool(info.data.get(other.partition(".")[2], WRONG)):
            raise ValueError(f"goes together with {other}: set both or none")
        return value

    return check


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


def _resolved(value: object, info: ValidationInfo) -> object:
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


def read_token(path: Path) -> str:
    """Return the token in a file. Raise OSError, or ValueError if the file does not hold one."""
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


def is_oid(text: str) -> bool:
    """Return True if the text is an OID that fits a DICOM UI."""
    # ISO/IEC 9834-1: below 0 and 1 there are only 0 to 39. PS3.5 9.1: at most 64 characters, no leading zeros.
    return len(text) <= 64 and bool(re.fullmatch(r"([01]\.[1-3]?[0-9]|2\.(0|[1-9][0-9]*))(\.(0|[1-9][0-9]*))*", text))


def _oid(text: str) -> str:
    if text and not is_oid(text):
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
    """Return an origin in the form in which browsers send it: lower case, no default port."""
    text = text.strip().lower()
    if not re.fullmatch(r"https?://([a-z0-9._-]+|\[[0-9a-f:]+\])(:[0-9]{1,5})?", text):
        raise ValueError("must be an origin such as https://ris.example.org:8443, without a path")
    return re.sub(r"(?<=^http)(://.*):80$|(?<=^https)(://.*):443$", r"\1\2", text)


def _ip(text: str) -> str:
    try:
        return str(ipaddress.ip_address(text.strip()))
    except ValueError:
        raise ValueError("must be an IP address") from None


def _node(text: str) -> str:
    """Return the address of an application entity, AE@host:port, without blanks around it."""
    ae_title, _, where = text.strip().partition("@")
    host, _, port = where.rpartition(":")
    if not (ae_title and host and re.fullmatch(r"[1-9][0-9]{0,4}", port) and int(port) < 1 << 16):
        raise ValueError("must be AE@host:port, such as PACS@10.0.0.7:104")
    _address(host)
    return f"{_ae_title(ae_title)}@{host}:{port}"


def _differing(nodes: tuple[str, ...]) -> tuple[str, ...]:
    titles = [node.partition("@")[0] for node in nodes]
    if len(set(titles)) < len(titles):
        raise ValueError("must name every AE title once")
    return nodes


def _not_empty(text: str) -> str:
    if not text.strip():
        raise ValueError("must not be empty")
    return text


def _split_items(value: object) -> object:
    """Split comma-separated text, as an environment variable gives it, into a list."""
    return [part for part in value.split(",") if part.strip()] if isinstance(value, str) else value


def _split_pairs(value: object) -> object:
    """Split OID=version,OID=version, as an environment variable gives it, into a mapping."""
    if not isinstance(value, str):
        return value
    pairs = [part.partition("=") for part in value.split(",") if part.strip()]
    return {oid.strip(): version.strip() for oid, _, version in pairs}


def _split_list(value: object) -> object:
    """Split CT_1+CT_2, as it stands in an environment variable, into a list."""
    return [part.strip() for part in value.split("+")] if isinstance(value, str) else value


def _some(values: tuple[str, ...]) -> tuple[str, ...]:
    if not values:
        raise ValueError("must name at least one station or room")
    return values


def _examination(text: str) -> str:
    if not re.fullmatch(r"[A-Z]{2,16}(/[!-~]{1,64})?", text):
        raise ValueError("must be a modality, such as CT, or a modality and the code of a body site, such as DX/4")
    return text


def _case(text: str) -> str:
    if not re.fullmatch(r"prophylactic|finance/[1-6]|modality/[A-Z]{2,16}|procedure/[!-~]{1,64}", text):
        raise ValueError("must be procedure/ and its code, prophylactic, modality/MG, or finance/1 to finance/6")
    return text


def _encounter(text: str) -> str:
    if not re.fullmatch(r"[0-9A-Za-z.]{1,16}/[A-Z]{2,8}", text):
        raise ValueError("must be a code of the type and one of the class of Encounter, such as 2/AMB")
    return text


def time_of_day(text: str) -> datetime.timedelta | None:
    """Return a time of day, such as 08:30, as the time since midnight; 24:00 is the end of the day."""
    found = re.fullmatch(r"([01][0-9]|2[0-3]):([0-5][0-9])|24:00", text)
    if found is None:
        return None
    return datetime.timedelta(hours=int(text[:2]), minutes=int(text[3:]))


def _hours(text: str) -> str:
    opens, closes = (time_of_day(part.strip()) for part in text.partition("-")[::2])
    if opens is None or closes is None:
        raise ValueError("must be two times of day, such as 08:00-20:00")
    if closes <= opens:
        raise ValueError("must end later on the same day than it begins; 00:00-24:00 is round the clock")
    return text


def _clinic(guid: str) -> str:
    if not is_guid(guid):
        raise ValueError("must be a GUID, such as 3f2c1d7e-0a4b-4c59-9e1d-5b8f6a7c0d21")
    return guid.lower()


def _modality(text: str) -> str:
    if not re.fullmatch(r"[A-Z]{2,16}", text):  # PS3.3 C.7.3.1.1.1
        raise ValueError("must be a modality, such as DX")
    return text


WholeNumber = Annotated[int, BeforeValidator(_whole_number)]
Seconds = Annotated[float, BeforeValidator(_number), Field(gt=0, allow_inf_nan=False)]
Switch = Annotated[bool, BeforeValidator(_switch)]
NonEmpty = Annotated[str, AfterValidator(_not_empty)]
HoursOfDay = Annotated[str, AfterValidator(_hours)]

ListenPort = Annotated[WholeNumber, Field(ge=0, le=65535)]
Address = Annotated[str, AfterValidator(_address)]
ListenAddress = Annotated[Address, AfterValidator(_not_empty)]
Origins = Annotated[tuple[Annotated[str, AfterValidator(_origin)], ...], BeforeValidator(_split_items)]
Nodes = Annotated[
    tuple[Annotated[str, AfterValidator(_node)], ...], BeforeValidator(_split_items), AfterValidator(_differing)
]
IpAddresses = Annotated[tuple[Annotated[str, AfterValidator(_ip)], ...], BeforeValidator(_split_items)]

OptionalFile = Annotated[Path | None, BeforeValidator(_resolved), AfterValidator(_readable)]
Directory = Annotated[Path, BeforeValidator(_resolved), AfterValidator(_not_a_file)]
OptionalDirectory = Annotated[Path | None, BeforeValidator(_resolved), AfterValidator(_not_a_file)]

OptionalOid = Annotated[str, AfterValidator(_oid)]
Oid = Annotated[OptionalOid, AfterValidator(_not_empty)]
OptionalAETitle = Annotated[str, AfterValidator(_ae_title)]
AETitle = Annotated[OptionalAETitle, AfterValidator(_not_empty)]

VersionByOid = Annotated[dict[Oid, NonEmpty], BeforeValidator(_split_pairs)]
StationByModality = Annotated[
    dict[Annotated[str, AfterValidator(_modality)], OptionalAETitle], BeforeValidator(_split_pairs)
]
OpinionPartners = Annotated[
    dict[Annotated[str, AfterValidator(_clinic)], Literal["understands", "ordinary"]], BeforeValidator(_split_pairs)
]
"""The key is a clinic (GUID), the value how it takes a request for an opinion."""
Lists = Annotated[
    dict[AETitle, Annotated[tuple[NonEmpty, ...], BeforeValidator(_split_list), AfterValidator(_some)]],
    BeforeValidator(_split_pairs),
]
"""The key is a called AE title, the value stations (AE titles) and rooms."""
EncounterByCase = Annotated[
    dict[Annotated[str, AfterValidator(_case)], Annotated[str, AfterValidator(_encounter)]],
    BeforeValidator(_split_pairs),
]
"""The key is what of an order makes the case, the value a type and a class of Encounter."""
DaysByExamination = Annotated[
    dict[Annotated[str, AfterValidator(_examination)], WholeNumber], BeforeValidator(_split_pairs)
]
"""The key is a modality, or modality/body site."""
