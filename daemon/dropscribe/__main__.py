"""`python -m dropscribe`: the command line, for the service files, which name an interpreter and not a script."""

import sys

from dropscribe.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
