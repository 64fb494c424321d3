"""Run the command line as ``python -m chibi_lab``."""

import sys

from chibi_lab.cli import main

if __name__ == "__main__":
    sys.exit(main())
