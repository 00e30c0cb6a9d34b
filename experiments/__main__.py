"""`python -m experiments` is the command `byzsim`."""

from experiments.cli import script

script()
