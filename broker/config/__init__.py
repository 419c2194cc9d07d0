"""The configuration: its sections as values, and the loader that reads file and environment."""
