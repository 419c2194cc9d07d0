"""The libraries set up as in the product, also where no server is started."""

from __future__ import annotations

from broker.dicom import libraries

libraries.set_up()
