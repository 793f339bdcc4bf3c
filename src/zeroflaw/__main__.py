"""`python -m zeroflaw` is the command `zeroflaw`."""

from __future__ import annotations

import sys

from zeroflaw.cli import main

if __name__ == "__main__":
    sys.exit(main())
