"""`python -m byzsim.experiments` is the command `byzsim`."""

from byzsim.experiments.cli import script

script()
