"""Use cases of referrals, however they come: typed, from the bus, from tables and worklist files."""
