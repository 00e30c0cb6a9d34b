"""`byzsim schema`: the fields of a record, as a page."""

import dataclasses
from pathlib import Path

from byzsim.experiments import arguments, files
from byzsim.experiments.records import schema_page


@dataclasses.dataclass(frozen=True, kw_only=True)
class Schema:
    """Print the fields of a record."""

    output: Path | None = None
    """write the page to this file instead of printing it"""


def main(args: list[str]) -> None:
    """Print or write the page."""
    options = arguments.parse_args(Schema, args, prog="byzsim schema")
    if options.output:
        files.check_output(options.output)
        files.write_output(options.output, schema_page.page())
    else:
        print(schema_page.page(), end="")
