"""`byzsim report`: make the table and the figures from the records."""

import dataclasses
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

from byzsim.experiments import files, records
from byzsim.experiments import report as reports
from byzsim.experiments.cli import options as table_options
from byzsim.experiments.cli.options import ReportOptions, Request
from byzsim.experiments.cli.output import log
from byzsim.experiments.errors import Incomplete, UserError
from byzsim.experiments.plan import Table, runs
from byzsim.experiments.records import folders
from byzsim.experiments.report import settings
from rich.console import Console


@dataclasses.dataclass(frozen=True, kw_only=True)
class Report(ReportOptions):
    """Make the table and the figures from the records."""

    every_seed: ClassVar[bool] = True
    inject: Path | None = None
    """also put the table into this file, between its markers <!-- TABLE:NAME --> and <!-- /TABLE -->"""


def main(args: list[str]) -> None:
    """Make the table and the figures from the records."""
    request = table_options.read("report", Report, args)
    table, options, folder = request
    if not os.path.exists(folder / "runs.jsonl"):
        raise UserError(f"no records in {folder}: run `byzsim run {table.name}` with the same options first")
    if options.inject:
        _injected(options.inject, table, "")  # fail before any file is written if the page has no markers
    found = recorded(request)
    if not found:
        raise UserError(
            f"the records in {folder} are of other runs than those asked for; `byzsim report {folder}` reports them"
        )
    text = write(request, found)
    if options.inject:
        files.write_whole(options.inject, _injected(options.inject, table, text).encode())


def _injected(page: Path, table: Table, text: str) -> str:
    try:
        return reports.inject(page.read_text(encoding="utf-8"), table.name, text)
    except OSError as error:
        raise UserError(f"cannot put the table into {page}: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise UserError(f"cannot put the table into {page}: it is not UTF-8 text ({error.reason})") from None


def captions(request: Request[Any]) -> dict[str, Any]:
    """Title, labels and plugins, from the options or else from config.json in the folder.

    Raises:
        UserError: for a title or labels that are not text, or labels of names that the table does not have.
    """
    table, options, folder = request
    before = folders.read(folder) or {}
    members = {*options.config.rules, *options.config.attacks}
    labels = [each for each in before.get("labels", []) if each.partition("=")[0] in members]
    words = {"title": options.title or before.get("title"), "labels": list(options.labels) or labels}
    settings.named(table, options.config, words["labels"])
    if options.title is not None:
        settings.check_title(options.title)
    return words | {"plugins": list(options.plugins)}


def write(request: Request[Any], found: Sequence[records.Record]) -> str:
    """Write all files of the report, and print the table. Return the table as markdown."""
    table, options, folder = request
    config, words = options.config, captions(request)
    labels = settings.named(table, config, words["labels"])
    title = words["title"] or settings.title(table, config, quick=options.quick, labels=labels)
    layout = reports.Layout(
        rules=config.rules,
        attacks=config.attacks,
        alphas=config.alphas,
        m=config.m,
        published=settings.published(table, config, quick=options.quick),
        verdict=table.verdict,
    )
    wording = reports.Wording(title=title, source=table.source, quick=options.quick, labels=labels)
    try:
        text = reports.build(found, folder, layout, wording, appendix=table.appendix)
    except OSError as error:
        raise Incomplete(
            f"cannot write the report into {folder}: {error.strerror}. The records are kept; `byzsim report` makes it."
        ) from None
    reports.print_table(reports.summarise(found, layout), Console(), wording)
    log(f"written: {folder}/README.md, table.md, table.csv, table.tex, figures as .png and .svg")
    return text


def recorded(request: Request[Any]) -> list[records.Record]:
    """The valid records of the runs asked for; of every recorded seed if no seed is asked for."""
    _, options, folder = request
    config = options.config
    wanted = runs(dataclasses.replace(config, seeds=config.seeds or (0,)))
    found = records.matching(records.read(folder / "runs.jsonl", log), wanted, config.data)
    omitted = sorted({each["seed"] for each in found} - set(config.seeds or [each["seed"] for each in found]))
    if omitted:
        log(
            f"This report covers the seeds asked for, {', '.join(map(str, config.seeds))}. The folder also has records "
            f"of seeds {', '.join(map(str, omitted))}; `byzsim report {folder}` covers all seeds."
        )
    return [each for each in found if each["seed"] not in omitted]
