"""The program's entry point; the commands are in `broker.cli`."""

import sys

from broker.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
