"""`byzsim definitions`: names that have several definitions, side by side."""

import dataclasses
from pathlib import Path

import tyro
from byzsim.experiments import arguments, files
from byzsim.experiments.catalogue import definitions
from byzsim.experiments.errors import UserError, unknown


@dataclasses.dataclass(frozen=True, kw_only=True)
class Definitions:
    """Show names that have several definitions, side by side."""

    names: tyro.conf.Positional[tuple[str, ...]] = ()
    """names to show; default: all of them"""
    output: Path | None = None
    """write the page to this file instead of printing it"""


def main(args: list[str]) -> None:
    """Print or write the page."""
    options = arguments.parse_args(Definitions, args, prog="byzsim definitions")
    names, known = arguments.split(options.names), definitions.several()
    for name in names:
        if name not in known:
            raise UserError(
                f"{unknown('name with several definitions', name, known)} To write the page to a file: --output FILE."
            )
    if options.output:
        files.check_output(options.output)
    page = definitions.page(names)
    if options.output:
        files.write_output(options.output, page)
    else:
        print(page)
