"""The composition root: builds every part of the program from the configuration, starts them, stops them in order."""
