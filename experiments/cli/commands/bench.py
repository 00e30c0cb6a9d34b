"""`byzsim bench`: measure speed. The benchmarks are part of a checkout, not of an installed package."""

from byzsim.experiments.bench import main as measure
from byzsim.experiments.cli.output import log


def main(args: list[str]) -> None:
    """Measure speed: byzsim and its peers, how cost grows, or an accelerator."""
    measure(args, log)
