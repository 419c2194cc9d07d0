"""The settings of the screens, as values. Imports no web framework."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from broker.domain.studies.viewer import Viewer


@dataclass(frozen=True, slots=True)
class WorklistAddress:
    """How modalities reach the worklist."""

    ae_title: str = "WORKLIST"
    address: str = "0.0.0.0"  # that the port listens on; 0.0.0.0 and :: are any
    port: int = 11112
    learns_unknown_devices: bool = False  # unregistered devices are answered and registered
    lists: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # other called AE titles: stations and rooms


WORKLIST = WorklistAddress()


@dataclass(frozen=True, slots=True)
class ServerSettings:
    """Where and how the screens are served."""

    address: str = "127.0.0.1"
    port: int = 8080
    tls_certificate: Path | None = None
    tls_key: Path | None = None
    session_hours: int = 12
    origins: tuple[str, ...] = ()  # other origins under which browsers use the program
    trusted_proxies: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ScreenSettings:
    """What the pages need of the configuration."""

    clinic_name: str
    directory: Path  # where the key of the screens' own cookie is kept
    worklist: WorklistAddress = WORKLIST
    server: ServerSettings = field(default_factory=ServerSettings)
    has_bus: bool = False
    corrects_on_bus: bool = True  # the bus takes corrections of what it has; unimportant without a bus
    organisation: str = ""  # the clinic's GUID; empty without a bus
    clinic_address: str = ""  # as documents have it
    system_procedure: str = ""  # OID of the code system of procedures on the bus
    repeat_days: Mapping[str, int] = field(default_factory=dict)  # modality or modality/body site -> days
    viewer: Viewer | None = None  # opens the images of a study; None: none is configured
