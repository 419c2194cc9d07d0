"""How the bus is called: HTTP with a total deadline, what an answer means, rate and back-off, paging, dialects."""
