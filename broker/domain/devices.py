"""Modalities in the registry, and the procedures that they do. Values only."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ProcedureType:
    """A line of the clinic's directory of procedures. `local` codes are ours, not the official dictionary's."""

    code: str
    name: str
    modality: str
    minutes: int = 10
    local: bool = True
    body_site: str = ""


@dataclass(frozen=True, slots=True)
class Device:
    """A modality in the registry."""

    ae_title: str
    name: str
    modality: str
    room: str = ""
    address: str = ""  # empty: any address may use this AE title
    charset: str = "auto"  # auto | ISO_IR 192 | ISO_IR 144 | latin
    approved: bool = True  # False: it has called, and no administrator has accepted it yet
    fallback_charset: str = "ISO_IR 144"  # what 8-bit letters mean in a query that names no character set
    longest: int = 64  # characters that the device shows of a name or description
    own_only: bool = True  # without a station in its query it sees its own items only
    days_before: int = 1  # items that are older are hidden from it, not from people
    days_after: int = 30  # how far ahead it sees when its query gives no date
    closed_hours: int = 0  # completed items stay on its list for so long
    strict_mpps: bool = False  # refuse messages that break the standard instead of taking what can be used
    mpps_hours: int = 12  # a step that runs longer is closed: the device has died
