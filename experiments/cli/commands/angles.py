"""`byzsim angles`: the angle between each rule's output and the true gradient under the worst attack."""

import dataclasses
from pathlib import Path

from byzsim.experiments import arguments, records
from byzsim.experiments.catalogue import angles
from byzsim.experiments.cli.output import log
from byzsim.experiments.errors import UserError


@dataclasses.dataclass(frozen=True, kw_only=True)
class Angles:
    """Measure the angular error of full-gradient rules against d, n, f, s and the noise."""

    rules: tuple[str, ...] = ()
    """which rules, as in the page of results; default: all full-gradient rules up to O(m^2 d)"""
    draws: int = 8
    """draws of gradients in each cell"""
    seed: int = 0
    quick: bool = False
    """few and small cells: to see that it runs, not a result"""
    results: Path = Path("results")
    """the folder that holds all results folders"""


def main(args: list[str]) -> None:
    """Measure the angular error of full-gradient rules."""
    options = arguments.parse_args(Angles, args, prog="byzsim angles")
    if options.draws < 2 or not 0 <= options.seed < 2**32:
        raise UserError(
            f"draws={options.draws}, seed={options.seed}: expected draws of at least 2, and a seed from 0 to 2**32 - 1"
        )
    folder = options.results / ("angles+quick" if options.quick else "angles")
    records.check_writable(folder)
    planned = angles.sweeps(options.quick)
    found = angles.measure(planned, options.rules, options.draws, options.seed, log)
    given = f" --rules {' '.join(f'{rule!r}' for rule in options.rules)}" * bool(options.rules)
    command = f"byzsim angles --draws {options.draws} --seed {options.seed}{given}{' --quick' * options.quick}"
    angles.write(found, planned, folder, records.provenance_line(command, records.origin()))
    log(f"written: {folder}/README.md, angles.csv, slopes.csv, angles.png, angles.svg")
