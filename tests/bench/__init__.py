"""The bench: our port beside others on the same items. Run by hand: `python -m tests.bench --help`."""
