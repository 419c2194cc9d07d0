"""DIMSE messages (PS3.7): `command_set` reads and writes command sets, `message` assembles messages of fragments."""
