"""`python -m experiments` is the command `byzsim`."""

import sys

from experiments.cli import main

sys.exit(main())
