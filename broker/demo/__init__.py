"""The program on invented data with a practice bus, for trying it out. All people in it are invented."""
