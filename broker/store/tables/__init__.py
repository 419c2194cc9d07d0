"""A file for each noun: what is written, and what use cases read. Screens read through `store.queries`."""
