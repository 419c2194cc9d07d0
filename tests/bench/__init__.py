"""The bench: our port beside others' worklist servers, on the same items. Run by hand: `python -m tests.bench --help`."""
