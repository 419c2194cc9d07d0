"""The program on invented data with a practice bus, for trying it out. Nobody in it exists."""
