"""What the commands of `byzsim` do: one function for each, of the arguments behind its name."""

import contextlib
import dataclasses
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, TypeVar

import tyro
from byzsim.experiments import arguments, files, plugins, records
from byzsim.experiments import report as reports
from byzsim.experiments.catalogue import attacks
from byzsim.experiments.catalogue import definitions as definition_pages
from byzsim.experiments.catalogue import rules as catalogue
from byzsim.experiments.datasets import DATASETS, describe, fingerprint
from byzsim.experiments.errors import Incomplete, UserError, unknown
from byzsim.experiments.plan import Config, Table, changed, runs
from byzsim.experiments.records import diff as differences
from byzsim.experiments.records import folders
from byzsim.experiments.records import status as states
from byzsim.experiments.report import settings
from byzsim.experiments.run import devices, hosts, interrupt, session
from byzsim.experiments.run import verify as verification
from byzsim.experiments.tables import TABLES
from rich.console import Console


@dataclasses.dataclass(frozen=True, kw_only=True)
class Where:
    """Which runs, and where things lie."""

    config: Annotated[Config, tyro.conf.OmitArgPrefixes]
    quick: bool = False
    """walk the whole path with little training, in a folder of its own, marked as quick everywhere"""
    results: Path = Path("results")
    """folder of all results"""
    plugins: tuple[str, ...] = ()
    """modules with rules and attacks of your own, files of this folder among them: my_rule for my_rule.py"""
    name: str | None = None
    """call the folder so, in place of the table and all that was changed about it"""


Given = TypeVar("Given", bound=Where)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Part(Where):
    """A part of a table, and its data."""

    only: tuple[str, ...] = ()
    """part of the table: KEY=VALUE with the keys rule, attack, alpha, seed; several of one key are alternatives"""
    data_dir: Path | None = None
    """folder with the data set's original files"""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Reported(Where):
    """What a report is to say."""

    title: str | None = None
    """in place of the table's own, or of one made from the settings"""
    labels: tuple[str, ...] = ()
    """how rules and attacks are printed, NAME=TEXT: my_rule="My rule\""""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Run(Part, Reported):
    """Carry out every run that has no record yet, then report."""

    checkpoint: float = 60.0
    """seconds between checkpoints of runs in progress, in checkpoints/ of the results; 0: after every epoch"""
    strict: bool = False
    """refuse runs with more Byzantine workers than the rule is guaranteed to withstand, in place of a warning"""
    devices_per_run: int = 1
    """devices that share one run, for runs too large for one; sums round in another order"""
    distributed: bool = False
    """one of several processes, each started with this same command: found under SLURM, Kubernetes, Open MPI and on TPU
    pods, else given by the three options below"""
    coordinator: str | None = None
    """HOST:PORT of process 0"""
    processes: int | None = None
    """how many"""
    process: int | None = None
    """which this one is, from 0"""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Status(Part):
    """Say what is done, failed, stale and missing, and why; run nothing."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Overview:
    """A line for each folder of results."""

    results: Path = Path("results")
    """folder of all results"""
    plugins: tuple[str, ...] = ()
    """modules with rules and attacks of your own that the records are of"""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Verify(Part):
    """Repeat recorded runs and compare them with their records."""

    sample: int = 5
    """how many, drawn at random"""
    seed: int = 0
    """of the draw"""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Diff:
    """Compare two folders of results run by run."""

    a: tyro.conf.Positional[Path]
    """folder, or its runs.jsonl"""
    b: tyro.conf.Positional[Path]
    """the other"""
    csv: Path | None = None
    """also write a row for each run to this file"""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Report(Reported):
    """Make the table and the figures from the records."""

    inject: Path | None = None
    """also put the table into this file, between its marks <!-- TABLE:NAME --> and <!-- /TABLE -->"""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Export:
    """The valid records of a folder of results as CSV, a row for each rule, attack, alpha and seed."""

    folder: tyro.conf.Positional[Path]
    """or its runs.jsonl"""
    file: tyro.conf.Positional[Path | None] = None
    """write them here instead of printing them"""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Data:
    """Get data sets into the cache and say where they come from."""

    names: tyro.conf.Positional[tuple[str, ...]] = ()
    """which; none: all of them"""
    data_dir: Path | None = None
    """folder with the original files"""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Zoo(catalogue.Size):
    """Measure every aggregation rule, and list all members with their sources."""

    results: Path = Path("results")
    """folder of all results"""
    plugins: tuple[str, ...] = ()
    """modules with rules and attacks of your own"""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Definitions:
    """Names that stand for several definitions, side by side."""

    names: tyro.conf.Positional[tuple[str, ...]] = ()
    """which; none: all of them"""
    output: Path | None = None
    """write the page to this file instead of printing it"""


def run(args: list[str]) -> None:
    """Run what has no record yet, then report."""
    devices.use_all_cores()
    table, given, folder = _given("run", Run, args)
    words = _words(table, given, folder)
    devices.keep_compiled()
    with _processes(given):
        failures = session.run(
            table,
            given.config,
            folder,
            only=given.only,
            quick=given.quick,
            data_dir=given.data_dir,
            checkpoint=given.checkpoint,
            devices_per_run=given.devices_per_run,
            strict=given.strict,
            begin=lambda: folders.write(folder, table, given.config, quick=given.quick, words=words),
            say=_say if hosts.first() else lambda line: None,
        )
        hosts.on_all(lambda: _write_at_end(table, given, folder))
    if failures:
        raise Incomplete(_failed(failures, folder))


def _write_at_end(table: Table, given: Run, folder: Path) -> None:
    """By one process."""
    if hosts.first():
        with interrupt.at_once():
            _write(table, given, folder, _found(given.config, folder))


def _processes(given: Run) -> contextlib.AbstractContextManager[None]:
    where = (given.coordinator, given.processes, given.process)
    if given.distributed:
        devices.use_all_cores(least=1)
        return hosts.session(*where)
    if where != (None, None, None):
        raise UserError("--coordinator, --processes and --process are for --distributed, which was not given")
    return contextlib.nullcontext()


def _failed(failures: Sequence[records.Record], folder: Path) -> str:
    which = "".join(
        f"\n  {r['rule']}, {r['attack']}, alpha {r['alpha']:g}, seed {r['seed']}: {r['failed']}" for r in failures
    )
    return (
        f"{len(failures)} runs failed, all others are recorded; the same command tries them again.{which}\n"
        f"Tracebacks: {folder / 'failures.jsonl'}"
    )


def report(args: list[str]) -> None:
    """Make the table and the figures from the records."""
    table, given, folder = _given("report", Report, args)
    if not os.path.exists(folder / "runs.jsonl"):
        raise UserError(f"no records in {folder}: run `byzsim run {table.name}` first, with the same options")
    if given.inject:
        _injected(given.inject, table, "")  # a page without the place for it is told before anything is written
    found = _found(given.config, folder)
    if not found:
        raise UserError(f"{folder} has records, but none of these runs: `byzsim report {folder}` is of those it has")
    text = _write(table, given, folder, found)
    if given.inject:
        files.write_whole(given.inject, _injected(given.inject, table, text).encode())


def _injected(page: Path, table: Table, text: str) -> str:
    try:
        return reports.inject(page.read_text(encoding="utf-8"), table.name, text)
    except OSError as error:
        raise UserError(f"cannot put the table into {page}: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise UserError(f"cannot put the table into {page}: it is no text ({error.reason})") from None


def _words(table: Table, given: Reported, folder: Path) -> dict[str, Any]:
    """Title, labels and plugins, as given now or when the folder was run.

    Raises:
        UserError: for a title or labels that are no text, or of names that there are not.
    """
    before = folders.read(folder) or {}
    members = {*given.config.rules, *given.config.attacks}
    labels = [each for each in before.get("labels", []) if each.partition("=")[0] in members]
    words = {"title": given.title or before.get("title"), "labels": list(given.labels) or labels}
    settings.named(table, given.config, words["labels"])
    if given.title is not None:
        settings.check_title(given.title)
    return words | {"plugins": list(given.plugins)}


def _write(table: Table, given: Reported, folder: Path, found: Sequence[records.Record]) -> str:
    """All of the report's files, and the table on the terminal."""
    config, words = given.config, _words(table, given, folder)
    labels = settings.named(table, config, words["labels"])
    title = words["title"] or settings.title(table, config, quick=given.quick, labels=labels)
    common: dict[str, Any] = {
        "rules": config.rules,
        "attacks": config.attacks,
        "alphas": config.alphas,
        "m": config.m,
        "published": settings.published(table, config, quick=given.quick),
        "verdict": table.verdict,
    }
    printed: dict[str, Any] = {"title": title, "quick": given.quick, "labels": labels}
    try:
        text = reports.build(
            source=table.source, records=found, folder=folder, appendix=table.appendix, **printed, **common
        )
    except OSError as error:
        raise Incomplete(
            f"cannot write the report into {folder}: {error.strerror}. The records are kept; `byzsim report` makes it."
        ) from None
    reports.print_table(reports.summarise(found, **common), Console(), **printed)
    _say(f"written: {folder}/README.md, table.md, table.csv, table.tex, figures as .png and .svg")
    return text


def _found(config: Config, folder: Path) -> list[records.Record]:
    """The valid records of these runs, of the seeds asked for; of all that there are, where none is."""
    wanted = runs(dataclasses.replace(config, seeds=config.seeds or (0,)))
    found = records.matching(records.read(folder / "runs.jsonl", _say), wanted, config.data)
    others = sorted({each["seed"] for each in found} - set(config.seeds or [each["seed"] for each in found]))
    if others:
        _say(
            f"This report is of the seeds asked for, {', '.join(map(str, config.seeds))}, and leaves out the records "
            f"of seeds {', '.join(map(str, others))}; `byzsim report {folder}` is of all."
        )
    return [each for each in found if each["seed"] not in others]


def status(args: list[str]) -> None:
    """Say what of a table is done, failed, stale and missing; without a table, a line for each folder of results."""
    if not args or args[0].startswith("-"):
        given = arguments.parsed(Overview, args, prog="byzsim status")
        plugins.load(given.plugins)
        for line in states.overview(given.results):
            _say(line)
        return
    table, given, folder = _given("status", Status, args)
    config = given.config
    wanted = runs(config, given.only)
    data = fingerprint(config.data, data_dir=given.data_dir, say=_say)
    asked = [records.identity(run_config, config.data, data) for run_config in wanted]
    found = records.read(folder / "runs.jsonl", _say)
    for line in states.lines(f"{table.name} in {folder}", asked, found, states.read_failures(folder)):
        _say(line)


def diff(args: list[str]) -> int:
    """Compare two folders of results; 1 if they differ, as the program diff has it."""
    given = arguments.parsed(Diff, args, prog="byzsim diff")
    if given.csv:
        _check_file(given.csv)
    table = differences.compare(records.read_folder(given.a), records.read_folder(given.b))
    for line in differences.lines(table):
        _say(line)
    if given.csv:
        _write_file(given.csv, files.csv(table))
    return 0 if differences.same(table) else 1


def verify(args: list[str]) -> int:
    """Repeat some recorded runs; 1 if any of them differs from its record."""
    devices.use_all_cores()
    table, given, folder = _given("verify", Verify, args)
    if given.sample < 1:
        raise UserError(f"--sample {given.sample} is below 1")
    devices.keep_compiled()
    config = given.config
    wanted = runs(config, given.only)
    places = {records.place(run_config.as_dict()) for run_config in wanted}
    recorded = records.matching(records.read(folder / "runs.jsonl", _say), wanted, config.data)
    recorded = [each for each in recorded if records.place(each) in places]
    if not recorded:
        raise UserError(f"no records of these runs in {folder}: `byzsim status {table.name}` says what there is")
    chosen = verification.sample(recorded, given.sample, given.seed)
    _say(f"{len(chosen)} of {len(recorded)} recorded runs, drawn with seed {given.seed}:")
    verdicts = verification.verify(table, config, chosen, data_dir=given.data_dir, quick=given.quick, say=_say)
    for verdict in verdicts:
        _say(f"{records.label(verdict.place)}: {verdict.words}")
    agree = sum(verdict.agrees for verdict in verdicts)
    _say(f"{agree} of {len(verdicts)} agree with their records")
    return 0 if agree == len(verdicts) else 1


def export(args: list[str]) -> None:
    """The valid records of a folder as CSV."""
    given = arguments.parsed(Export, args, prog="byzsim export")
    if given.file:
        _check_file(given.file)
    table = files.csv(records.load_results(given.folder, lambda line: print(line, file=sys.stderr)))
    if given.file:
        _write_file(given.file, table)
    else:
        print(table, end="")


def _given(command: str, kind: type[Given], args: list[str]) -> tuple[Table, Given, Path]:
    """The table named first, its options, and where its results lie; or all that from a folder of results."""
    if not args or args[0].startswith("-"):
        raise UserError(f"which table? byzsim {command} TABLE, with TABLE one of {', '.join(TABLES)}")
    prog = f"byzsim {command} {args[0]}"
    if args[0] in TABLES:
        table = TABLES[args[0]]
        given = _named(arguments.parsed(kind, args[1:], default=_default(kind, table, "--quick" in args), prog=prog))
        folder = _folder(table, given)
    elif os.path.isdir(args[0]):
        folder = Path(args[0])
        table, given = _of_folder(kind, folder, args[1:], prog)
    elif os.sep in args[0]:
        raise UserError(f"no folder {args[0]}: expected one of results, such as results/brsgd_table1, or a table")
    else:
        raise unknown("table", args[0], TABLES)
    return table, given, folder


def _named(given: Given, loaded: Sequence[str] = ()) -> Given:
    """With its plugins loaded, all but those that are, and after that with our names in place of usual ones."""
    plugins.load([module for module in given.plugins if module not in loaded])
    return dataclasses.replace(given, config=given.config.with_our_names())


def _default(kind: type[Given], table: Table, quick: bool) -> Given:
    return kind(config=_seeds(kind, _base(table, quick)))


def _seeds(kind: type[Where], config: Config) -> Config:
    """A report is of all seeds that there are, unless some are asked for."""
    return dataclasses.replace(config, seeds=()) if issubclass(kind, Report) else config


def _of_folder(kind: type[Given], folder: Path, args: list[str], prog: str) -> tuple[Table, Given]:
    """The settings that a folder was run with; other parts of its table can be asked for, other settings cannot."""
    table, known = folders.remembered(folder)
    try:
        own = arguments.parsed(kind, known, default=_default(kind, table, "--quick" in known), prog=prog)
    except UserError as error:
        raise UserError(f"the settings of {folder} cannot be read: {error}") from None
    own = _named(dataclasses.replace(own, config=_seeds(kind, own.config)))
    given = _named(arguments.parsed(kind, args, default=own, prog=prog), own.plugins)
    differ = changed(own.config, given.config)
    differ += [f"--{name}" for name in ("quick", "results", "name") if getattr(own, name) != getattr(given, name)]
    if differ:
        raise UserError(f"{folder} has its settings, which {', '.join(differ)} would change: name the table instead")
    return table, given


def _base(table: Table, quick: bool) -> Config:
    return dataclasses.replace(table.config, **table.quick) if quick else table.config


def _folder(table: Table, given: Where) -> Path:
    """In --results, by the name given, or else called after all that was changed about the table."""
    base = _base(table, given.quick)
    if given.name is None:
        return folders.place(given.results, table, base, given.config, quick=given.quick)
    folders.check_name(given.name)
    folder = given.results / given.name
    folders.refuse_other(folder, table, given.config, quick=given.quick)
    return folder


def zoo(args: list[str]) -> None:
    """Measure every rule, and how far attacks move rules."""
    given = arguments.parsed(Zoo, args, prog="byzsim zoo")
    plugins.load(given.plugins)
    try:
        catalogue.check(given)
    except ValueError as error:
        raise UserError(str(error)) from None
    records.check_writable(given.results / "rules")
    facts = catalogue.measure(given, _say)
    catalogue.write(facts, given, given.results / "rules")
    print(facts.drop(columns=["traits", "found by"]).fillna("").to_string(index=False))
    attacks.write(attacks.compare(given, _say), given, given.results / "rules")
    _say(f"written: {given.results / 'rules'}/README.md, rules.csv, learned.md, .csv, .png, .svg")


def definitions(args: list[str]) -> None:
    """Print or write the page of names that stand for several definitions."""
    given = arguments.parsed(Definitions, args, prog="byzsim definitions")
    names, known = arguments.split(given.names), definition_pages.several()
    for name in names:
        if name not in known:
            raise UserError(f"{unknown('name of several definitions', name, known)} A page in a file: --output FILE.")
    if given.output:
        _check_file(given.output)
    page = definition_pages.page(names)
    if given.output:
        _write_file(given.output, page)
    else:
        print(page)


def _check_file(path: Path) -> None:
    """Before the work whose outcome is to be written there."""
    if path.is_dir() or not path.parent.is_dir():
        raise UserError(f"cannot write {path}: it is a folder, or in a folder that is not there")


def _write_file(path: Path, text: str) -> None:
    try:
        files.write_whole(path, text.encode())
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror}") from None


def bench(args: list[str]) -> None:
    """Measure speed: ours and the peers', how cost grows, or what an accelerator does."""
    from byzsim.experiments.bench import main  # only here: other commands need none of it, and a wheel has none

    main(args, _say)


def data(args: list[str]) -> None:
    """Get data sets and say where they come from."""
    given = arguments.parsed(Data, args, prog="byzsim data")
    names, failed = arguments.split(given.names), []
    for name in names or DATASETS:
        try:
            print(describe(name, data_dir=given.data_dir, say=_say))
        except UserError as error:
            if len(names) == 1:
                raise
            failed.append(str(error))
    if failed:
        raise UserError("\n".join(failed))


def _say(line: str) -> None:
    print(line, flush=True)
