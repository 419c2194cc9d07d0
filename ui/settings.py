"""What the screens take from the configuration, as values. It imports no web framework, so any part may build it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True)
class WorklistAddress:
    """How modalities reach the worklist."""

    ae_title: str = "WORKLIST"
    address: str = "0.0.0.0"  # that the port listens on; 0.0.0.0 and :: are any
    port: int = 11112
    learns_unknown_devices: bool = False  # a device that is not registered yet is served and registered


WORKLIST = WorklistAddress()


@dataclass(frozen=True, slots=True)
class ServerSettings:
    """Where and how the screens are served."""

    address: str = "127.0.0.1"
    port: int = 8080
    tls_certificate: Path | None = None
    tls_key: Path | None = None
    session_hours: int = 12
    origins: tuple[str, ...] = ()  # under which a browser may know the program besides its own host name
    trusted_proxies: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ScreenSettings:
    """What the pages need of the configuration."""

    clinic_name: str
    directory: Path  # where the key of the screens' own cookie is kept
    worklist: WorklistAddress = WORKLIST
    server: ServerSettings = field(default_factory=ServerSettings)
    has_bus: bool = False
    organisation: str = ""  # the clinic's GUID; empty without a bus
    system_procedure: str = ""  # OID of the code system of procedures on the bus
    repeat_days: Mapping[str, int] = field(default_factory=dict)  # modality or modality/body site -> days
