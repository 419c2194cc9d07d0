"""The settings of the clinic that use cases need. Values only."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo
from typing import NamedTuple

from broker.domain.opinions.requests import OpinionRules
from broker.domain.reading.opinions import ReadingRules


class OpeningHours(NamedTuple):
    """When devices work, as times since midnight; 24 hours is the end of the day."""

    opens: timedelta = timedelta(hours=8)
    closes: timedelta = timedelta(hours=20)


DEFAULT_HOURS = OpeningHours()
DEFAULT_READING = ReadingRules()
DEFAULT_OPINIONS = OpinionRules()


@dataclass(frozen=True, slots=True)
class Clinic:
    """The rules of the clinic that use cases need, taken from the configuration by the composition root."""

    zone: tzinfo
    uid_root: str = ""
    accession_prefix: str = ""
    organisation: str = ""  # the clinic's GUID in the region; empty without a bus
    sends_to_bus: bool = False  # False: nothing is queued for the bus
    shares_accession_numbers: bool = False  # several studies of a patient may be registered under one accession number
    bus_numbers: bool = False  # modalities get the region's accession number if it is known
    sends_start: bool = False  # send messages about the start of studies
    hours: OpeningHours = DEFAULT_HOURS
    images_within: timedelta | None = None  # from the end of a study to its images in the archive; None: no archive
    reading: ReadingRules = DEFAULT_READING
    opinions: OpinionRules = DEFAULT_OPINIONS
    images_url: str = ""  # where others get images; {study} stands for the Study Instance UID
    archives_reports: bool = False  # signed reports go to the image archive
    waits_for_images: bool = False  # the region learns of images only when the archive has them

    def local(self, instant: datetime) -> datetime:
        """Return an instant (aware) as the clinic's clocks show it, naive."""
        return instant.astimezone(self.zone).replace(tzinfo=None)
