"""Which procedures of an imported directory the desk offers. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

from broker.domain.clinic.devices import ProcedureType
from broker.domain.clinic.directory import Entry
from broker.imports.directories.kinds import MINUTES, USUAL_MINUTES, modality_of

ALL = "ALL"
"""Stands for every modality where modalities are named."""


@dataclass(frozen=True, slots=True)
class ProcedureFilter:
    """What a person wants to offer; without modalities and codes it is what the clinic's devices do."""

    modalities: frozenset[str] = frozenset()  # such as DX, or ALL
    codes: Mapping[str, int] | None = None  # code -> minutes, 0 if not given; None: any code
    methods: Mapping[str, str] = field(default_factory=dict)  # beginning of a method's word -> modality


@dataclass(frozen=True, slots=True)
class Selection:
    """What is offered, and why no more."""

    offered: tuple[ProcedureType, ...]
    without_modality: int  # procedures left out because their modality is not known
    modalities: frozenset[str]  # the modalities that were chosen by; empty: by none
    by_devices: bool  # they are those of the clinic's devices
    unknown_codes: tuple[str, ...]  # wanted, but not in the directory


def choose_procedures(
    entries: Collection[Entry], wanted: ProcedureFilter, device_modalities: Collection[str]
) -> Selection:
    """Choose the procedures to offer; `device_modalities` are those of the clinic's devices."""
    by_devices = not wanted.modalities and wanted.codes is None
    modalities = frozenset(device_modalities) if by_devices else wanted.modalities
    if ALL in modalities:
        modalities = frozenset()
    plain_x_ray = _plain_x_ray(wanted.modalities or device_modalities)
    offered, without_modality = [], 0
    for entry in _named(entries, wanted.codes):
        modality = entry.details.get("modality") or modality_of(
            entry.details.get("method", ""), entry.name, wanted.methods
        )
        if modality == "DX":
            modality = plain_x_ray
        if not modality:
            without_modality += 1
        elif not modalities or modality in modalities:
            offered.append(_procedure(entry, modality, wanted.codes or {}))
    return Selection(
        tuple(offered),
        without_modality,
        modalities,
        by_devices and bool(modalities),
        tuple(sorted(set(wanted.codes or ()) - {entry.code for entry in entries})),
    )


def _named(entries: Iterable[Entry], codes: Mapping[str, int] | None) -> Iterable[Entry]:
    return entries if codes is None else (entry for entry in entries if entry.code in codes)


def _plain_x_ray(modalities: Collection[str]) -> str:
    """Return the modality of plain X-ray: CR where there are imaging plates and no digital detector."""
    return "CR" if "CR" in modalities and "DX" not in modalities else "DX"


def _procedure(entry: Entry, modality: str, minutes_by_code: Mapping[str, int]) -> ProcedureType:
    minutes = (
        minutes_by_code.get(entry.code) or int(entry.details.get("minutes", 0)) or MINUTES.get(modality, USUAL_MINUTES)
    )
    return ProcedureType(entry.code, entry.name, modality, minutes, local=False)
