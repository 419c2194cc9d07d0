"""The libraries set up as in the product, also where no server is started."""

from __future__ import annotations

from broker.dicom.codec import settings

settings.set_up()
