"""The options that commands share, and how a table or a results folder named first becomes a table with options."""

import dataclasses
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar, Generic, Literal, NamedTuple, TypeVar

import tyro
from byzsim.experiments import arguments, plugins
from byzsim.experiments.cli import settings
from byzsim.experiments.cli.settings import Settings
from byzsim.experiments.errors import UserError, unknown
from byzsim.experiments.plan import Table, changed, check, override, published, shortened
from byzsim.experiments.plan.table import VIEW
from byzsim.experiments.records import folders
from byzsim.experiments.tables import TABLES


@dataclasses.dataclass(frozen=True, kw_only=True)
class TableOptions:
    """A table's settings and its results folder."""

    every_seed: ClassVar[bool] = False
    """whether the default is every recorded seed instead of the table's seeds"""
    settings: Annotated[Settings, tyro.conf.OmitArgPrefixes]
    quick: bool = False
    """a short run of every step, in a folder of its own; every file says that it is no result"""
    results: Path = Path("results")
    """the folder that holds all results folders"""
    plugins: tuple[str, ...] = ()
    """files or modules with members of your own, such as my_rule.py, or my_rule for that file in this folder"""
    name: str | None = None
    """name of the results folder, instead of the table's name and its changed settings"""


@dataclasses.dataclass(frozen=True, kw_only=True)
class PartOptions(TableOptions):
    """Also a part of the table, and the place of its data."""

    only: tuple[str, ...] = ()
    """a part of the table: AXIS=SETTING, such as rule=krum,attack=gaussian; settings of one axis are alternatives"""
    data_dir: Path | None = None
    """folder with the data set's original files"""


@dataclasses.dataclass(frozen=True, kw_only=True)
class ReportOptions(TableOptions):
    """Also the words of the report."""

    title: str | None = None
    """title of the report, instead of the table's or of one made from the settings"""
    labels: tuple[str, ...] = ()
    """how settings and axes are printed, NAME=TEXT: my_rule="My rule\""""

    metric: str | None = None
    """the metric that the report shows, such as loss; default: the table's"""
    better: Literal["higher", "lower"] | None = None
    """default: higher for accuracies, lower for all else"""
    number: str | None = None
    """which of a run's measurements: last, best or mean_last_K, such as mean_last_5"""
    rows: tuple[str, ...] = ()
    """axes, such as attack alpha"""
    columns: tuple[str, ...] = ()
    """axes, such as rule"""
    panels: tuple[str, ...] = ()
    """axes with a table for each of their settings"""
    worst_over: str | None = None
    """an axis, such as attack, over which the worst gets a row"""


OptionsT = TypeVar("OptionsT", bound=TableOptions)


class Request(NamedTuple, Generic[OptionsT]):
    """What a command is asked to work on."""

    original: Table
    """the table as its file has it"""
    table: Table
    """with what the command line changes of it"""
    options: OptionsT
    folder: Path

    @property
    def every_seed(self) -> bool:
        """Whether all recorded seeds are asked for."""
        return not self.options.settings.seeds


def read(command: str, kind: type[OptionsT], args: list[str]) -> Request[OptionsT]:
    """The table that the arguments name first, its options and its results folder; or all three from a results folder.

    Raises:
        UserError: the first argument is neither, or the options do not fit.
    """
    if not args or args[0].startswith("-"):
        tables = ", ".join(TABLES)
        raise UserError(f"no table given: byzsim {command} TABLE, where TABLE is one of {tables}, or a file of yours")
    prog = f"byzsim {command} {args[0]}"
    if args[0] in TABLES:
        return of_table(TABLES[args[0]], kind, args[1:], prog)
    if args[0].endswith(".py"):
        return of_table(plugins.table_of(args[0]), kind, args[1:], prog, file=args[0])
    if os.path.isdir(args[0]):
        return _of_folder(Path(args[0]), kind, args[1:], prog)
    if os.sep in args[0]:
        raise UserError(f"no folder {args[0]}: expected a results folder, such as results/brsgd_table1, or a table")
    raise unknown("table", args[0], TABLES)


def of_table(
    table: Table, kind: type[OptionsT], args: list[str], prog: str, file: str | None = None
) -> Request[OptionsT]:
    """This table, with the options that follow its name; those of a file are remembered with the file as a plugin.

    Raises:
        UserError: the options do not fit.
    """
    check(table)
    published.check(table)
    base = shortened(table) if "--quick" in args else table
    options = _parsed(kind, base, args, prog)
    plugins.load(options.plugins)
    if file:
        options = dataclasses.replace(options, plugins=(file, *options.plugins))
    asked = _viewed(override(base, _given(kind, base, options)), options)
    if options.name is None:
        folder = folders.place(options.results, override(base, {}), asked, quick=options.quick)
    else:
        folders.check_name(options.name)
        folder = options.results / options.name
        folders.refuse_other(folder, asked, quick=options.quick)
    return Request(table, asked, options, folder)


def _of_folder(folder: Path, kind: type[OptionsT], args: list[str], prog: str) -> Request[OptionsT]:
    """The settings of a results folder. The arguments may select other parts of its table, but not change settings."""
    content = folders.content(folder) or {"plugins": []}
    plugins.load(content["plugins"])
    known = folders.read(folder) or folders.by_name(folder)
    own = dataclasses.replace(kind(settings=None), quick=known.quick, plugins=tuple(known.plugins))
    options = _parsed(kind, known.table, args, prog, own)
    plugins.load([module for module in options.plugins if module not in known.plugins])
    asked = _viewed(override(known.table, _given(kind, known.table, options)), options)
    differing = changed(override(known.table, {}), asked)
    differing += [f"--{name}" for name in ("quick", "results", "name") if getattr(own, name) != getattr(options, name)]
    if differing:
        raise UserError(
            f"the settings of {folder} are fixed, and {', '.join(differing)} would change them. To change settings, "
            "name the table instead of the folder."
        )
    return Request(TABLES[known.table.name], asked, options, folder)


def _viewed(table: Table, options: TableOptions) -> Table:
    """The table with rows, columns, metric and so on as the options have them."""
    given = {name: value for name in VIEW if (value := getattr(options, name, None))}
    if given.keys() & {"rows", "columns", "panels"}:  # what is not named is a row
        given = {"rows": None, "columns": (), "panels": ()} | given
    return dataclasses.replace(table, **given)


def _parsed(
    kind: type[OptionsT], table: Table, args: Sequence[str], prog: str, own: OptionsT | None = None
) -> OptionsT:
    return arguments.parse_args(kind, args, default=_default(kind, table, own), prog=prog)


def _default(kind: type[OptionsT], table: Table, own: OptionsT | None = None) -> OptionsT:
    shown = settings.of(table)
    shown = dataclasses.replace(shown, seeds=()) if kind.every_seed else shown
    return dataclasses.replace(own, settings=shown) if own else kind(settings=shown)


def _given(kind: type[OptionsT], table: Table, options: OptionsT) -> dict[str, tuple[Any, ...]]:
    given = settings.given(table, options.settings)
    return {name: values for name, values in given.items() if name != "seeds" or values or not kind.every_seed}
