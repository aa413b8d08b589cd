"""Run the command line with ``python -m measureflow``."""

import sys

from measureflow.cli import main

sys.exit(main())
