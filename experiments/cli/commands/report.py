"""`byzsim report`: make the table and the figures from the records."""

import dataclasses
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar

import pandas as pd
from byzsim.experiments import files, records
from byzsim.experiments import report as reports
from byzsim.experiments.cli import options as table_options
from byzsim.experiments.cli import planned
from byzsim.experiments.cli.options import ReportOptions, Request
from byzsim.experiments.cli.output import log
from byzsim.experiments.errors import Incomplete, UserError
from byzsim.experiments.plan import Table, published
from byzsim.experiments.records import folders
from byzsim.experiments.report import settings
from rich.console import Console


@dataclasses.dataclass(frozen=True, kw_only=True)
class Report(ReportOptions):
    """Make the table and the figures from the records."""

    every_seed: ClassVar[bool] = True
    inject: Path | None = None
    """also put the table into this file, between its markers <!-- TABLE:NAME --> and <!-- /TABLE -->; the marker
    <!-- TABLE:NAME alpha=0.25 --> asks for the rows of one setting"""


def main(args: list[str]) -> None:
    """Make the table and the figures from the records."""
    request = table_options.read("report", Report, args)
    table, options, folder = request.table, request.options, request.folder
    if not os.path.exists(folder / "runs.jsonl"):
        raise UserError(f"no records in {folder}: run `byzsim run {table.name}` with the same options first")
    if options.inject:
        _injected(options.inject, table, lambda only: "")  # fail before any file is written if it has no markers
    found = recorded(request)
    if not found:
        raise UserError(
            f"the records in {folder} are of other runs than those asked for; `byzsim report {folder}` reports them"
        )
    text, summary = write(request, found)
    if options.inject:
        labels = settings.named(table, captions(request)["labels"])
        page = _injected(
            options.inject, table, lambda only: reports.excerpt(summary, table, labels, only) if only else text
        )
        files.write_whole(options.inject, page.encode())


def _injected(page: Path, table: Table, block: Callable[[str], str]) -> str:
    try:
        return reports.inject(page.read_text(encoding="utf-8"), table.name, block)
    except OSError as error:
        raise UserError(f"cannot put the table into {page}: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise UserError(f"cannot put the table into {page}: it is not UTF-8 text ({error.reason})") from None


def captions(request: Request[Any]) -> dict[str, Any]:
    """Title, labels and plugins, from the options or else from config.json in the folder.

    Raises:
        UserError: for a title or labels that are not text, or labels of names that the table does not have.
    """
    table, options, folder = request.table, request.options, request.folder
    before = folders.read(folder)
    labels = [each for each in (before.labels if before else []) if each.partition("=")[0] in settings.names(table)]
    words = {"title": options.title or (before and before.title), "labels": list(options.labels) or labels}
    settings.named(table, words["labels"])
    if options.title is not None:
        settings.check_title(options.title)
    return words | {"plugins": list(options.plugins)}


def write(request: Request[Any], found: Sequence[records.Record]) -> tuple[str, pd.DataFrame]:
    """Write all files of the report, and print the table. Return the table as markdown, and the summary."""
    table, options, folder = request.table, request.options, request.folder
    words = captions(request)
    labels = settings.named(table, words["labels"])
    numbers = published.numbers(request.original, table, quick=options.quick)
    title = words["title"] or settings.title(request.original, table, numbers, quick=options.quick, labels=labels)
    wording = reports.Wording(title=title, source=table.source, quick=options.quick, labels=labels)
    try:
        text, summary = reports.build(found, folder, table, wording, numbers, every_seed=request.every_seed)
    except OSError as error:
        raise Incomplete(
            f"cannot write the report into {folder}: {error.strerror}. The records are kept; `byzsim report` makes it."
        ) from None
    reports.print_table(summary, table, Console(), wording)
    log(f"written: {folder}/README.md, table.md, table.csv, table.tex, figures as .png and .svg")
    return text, summary


def recorded(request: Request[Any]) -> list[records.Record]:
    """The valid records of the runs asked for; of every recorded seed if no seed is asked for."""
    folder = request.folder
    found = records.read(folder / "runs.jsonl", log)
    wanted = planned.every_part(request, found)
    found, asked = records.matching(found, wanted), {config.seed for _, config in wanted}
    omitted = sorted({each["seed"] for each in found} - asked) if not request.every_seed else []
    if omitted:
        log(
            f"This report covers the seeds asked for, {', '.join(map(str, sorted(asked)))}. The folder also has "
            f"records of seeds {', '.join(map(str, omitted))}; `byzsim report {folder}` covers all seeds."
        )
    return [each for each in found if each["seed"] not in omitted]
