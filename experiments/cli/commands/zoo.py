"""`byzsim zoo`: measure every rule, and how far attacks move rules."""

import dataclasses
from pathlib import Path

from byzsim.experiments import arguments, plugins, records
from byzsim.experiments.catalogue import attacks, rules
from byzsim.experiments.cli.output import log
from byzsim.experiments.errors import UserError


@dataclasses.dataclass(frozen=True, kw_only=True)
class Zoo(rules.Size):
    """Measure every aggregation rule, and list all members with their sources."""

    results: Path = Path("results")
    """the folder that holds all results folders"""
    plugins: tuple[str, ...] = ()
    """files or modules with members of your own"""


def main(args: list[str]) -> None:
    """Measure every rule, and how far attacks move rules."""
    options = arguments.parse_args(Zoo, args, prog="byzsim zoo")
    plugins.load(options.plugins)
    try:
        rules.check(options)
    except ValueError as error:
        raise UserError(str(error)) from None
    folder = options.results / "rules"
    records.check_writable(folder)
    facts = rules.measure(options, log)
    rules.write(facts, options, folder)
    print(facts.drop(columns=["traits", "found by"]).fillna("").to_string(index=False))
    attacks.write(attacks.compare(options, log), options, folder)
    log(f"written: {folder}/README.md, rules.csv, learned.md, .csv, .png, .svg")
