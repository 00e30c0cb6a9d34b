"""The options that commands share, and how a table or a results folder named first becomes a table with options."""

import dataclasses
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, ClassVar, Generic, NamedTuple, TypeVar

import tyro
from byzsim.experiments import arguments, plugins
from byzsim.experiments.errors import UserError, unknown
from byzsim.experiments.plan import Config, Table, changed
from byzsim.experiments.records import folders
from byzsim.experiments.tables import TABLES


@dataclasses.dataclass(frozen=True, kw_only=True)
class TableOptions:
    """A table's settings and its results folder."""

    every_seed: ClassVar[bool] = False
    """whether the default is every recorded seed instead of the table's seeds"""
    config: Annotated[Config, tyro.conf.OmitArgPrefixes]
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
    """a part of the table: KEY=VALUE with the keys rule, attack, alpha, seed; values of one key are alternatives"""
    data_dir: Path | None = None
    """folder with the data set's original files"""


@dataclasses.dataclass(frozen=True, kw_only=True)
class ReportOptions(TableOptions):
    """Also the words of the report."""

    title: str | None = None
    """title of the report, instead of the table's or of one made from the settings"""
    labels: tuple[str, ...] = ()
    """how rules and attacks are printed, NAME=TEXT: my_rule="My rule\""""


OptionsT = TypeVar("OptionsT", bound=TableOptions)


class Request(NamedTuple, Generic[OptionsT]):
    """What a command is asked to work on."""

    table: Table
    options: OptionsT
    folder: Path


def read(command: str, kind: type[OptionsT], args: list[str]) -> Request[OptionsT]:
    """The table that the arguments name first, its options and its results folder; or all three from a results folder.

    Raises:
        UserError: the first argument is neither, or the options do not fit.
    """
    if not args or args[0].startswith("-"):
        tables = ", ".join(TABLES)
        raise UserError(
            f"no table given: byzsim {command} TABLE, where TABLE is one of {tables}, or a file of your own"
        )
    prog = f"byzsim {command} {args[0]}"
    if args[0] in TABLES or args[0].endswith(".py"):
        table, files = (TABLES[args[0]], ()) if args[0] in TABLES else (plugins.table_of(args[0]), (args[0],))
        default = _default(kind, table, "--quick" in args)
        options = arguments.parse_args(kind, args[1:], default=default, prog=prog)
        options = _with_plugins(dataclasses.replace(options, plugins=(*files, *options.plugins)))
        folder = _folder(table, options)
    elif os.path.isdir(args[0]):
        folder = Path(args[0])
        table, options = _from_folder(kind, folder, args[1:], prog)
    elif os.sep in args[0]:
        raise UserError(f"no folder {args[0]}: expected a results folder, such as results/brsgd_table1, or a table")
    else:
        raise unknown("table", args[0], TABLES)
    return Request(table, options, folder)


def _with_plugins(options: OptionsT, loaded: Sequence[str] = ()) -> OptionsT:
    """Load the plugins that are not loaded yet, then replace aliases by names: a plugin's name goes before an alias."""
    plugins.load([plugin for plugin in options.plugins if plugin not in loaded])
    return dataclasses.replace(options, config=options.config.in_canonical_form())


def _default(kind: type[OptionsT], table: Table, quick: bool) -> OptionsT:
    return kind(config=_with_seeds(kind, _base(table, quick)))


def _with_seeds(kind: type[TableOptions], config: Config) -> Config:
    return dataclasses.replace(config, seeds=()) if kind.every_seed else config


def _from_folder(kind: type[OptionsT], folder: Path, args: list[str], prog: str) -> tuple[Table, OptionsT]:
    """The settings of a results folder. The arguments may select other parts of its table, but not change settings."""
    table, known = folders.remembered(folder)
    try:
        own = arguments.parse_args(kind, known, default=_default(kind, table, "--quick" in known), prog=prog)
    except UserError as error:
        raise UserError(f"the settings of {folder} cannot be read: {error}") from None
    own = _with_plugins(dataclasses.replace(own, config=_with_seeds(kind, own.config)))
    options = _with_plugins(arguments.parse_args(kind, args, default=own, prog=prog), own.plugins)
    differing = changed(own.config, options.config)
    differing += [f"--{name}" for name in ("quick", "results", "name") if getattr(own, name) != getattr(options, name)]
    if differing:
        raise UserError(
            f"the settings of {folder} are fixed, and {', '.join(differing)} would change them. To change settings, "
            "name the table instead of the folder."
        )
    return table, options


def _base(table: Table, quick: bool) -> Config:
    return dataclasses.replace(table.config, **table.quick) if quick else table.config


def _folder(table: Table, options: TableOptions) -> Path:
    """The results folder: named by --name, or else by the table and its changed settings."""
    base = _base(table, options.quick)
    if options.name is None:
        return folders.place(options.results, table, base, options.config, quick=options.quick)
    folders.check_name(options.name)
    folder = options.results / options.name
    folders.refuse_other(folder, table, options.config, quick=options.quick)
    return folder
