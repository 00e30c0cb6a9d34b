"""The command `byzsim`: run a table, report it, list what there is, get the data.

Nothing slow is imported here: help, the listing and slips of the pen are answered without JAX.
"""

import importlib.metadata
import io
import os
import re
import sys
import traceback
from collections.abc import Callable, Sequence

from byzsim.experiments.cli import listing, output
from byzsim.experiments.errors import Incomplete, UserError, unknown
from byzsim.experiments.run import interrupt

USAGE = """\
byzsim: Byzantine-robust distributed training, and the papers' tables.

  byzsim run TABLE [options]      run what has no record yet, then report; stop and start again at will
  byzsim report TABLE [options]   make the table and the figures from the records
  byzsim status [TABLE] [options] what is done, failed, stale and missing, and why; nothing is run
  byzsim diff A B [--csv FILE]    two folders of results, run by run; ends with 1 if they differ
  byzsim export FOLDER [FILE]     the valid records as CSV, without those that newer ones have taken the place of
  byzsim verify TABLE [--sample N] repeat recorded runs and compare; ends with 1 if one differs
  byzsim list                     rules, attacks, models, data sets and tables, with their sources
  byzsim show NAME ...            one of them: description, options, variants, bound; how to ask for each
  byzsim zoo [options]            measure every rule: kappa found by attacks, what becomes of NaN; all sources
  byzsim definitions [NAME ...]   names that stand for several definitions, side by side
  byzsim bench [--quick]          speed of ours and of the peers, in one run on this machine
  byzsim bench scaling            time and memory of rules against m and d; byzsim bench accelerator: all GPU aims
  byzsim data [NAME ...]          get data sets into the cache and say where they come from

  run, report, status and verify take a folder, such as results/smoke, in place of TABLE: it knows its settings

  byzsim COMMAND --help           what a command does, with examples
  byzsim run TABLE --help         everything that can be changed about a table
  byzsim run TABLE --distributed  the same on every host: runs over the devices of all of them
  --plugins MODULE ...            with run, report, status, verify, zoo, list, show: rules and attacks of your own
  --debug                         anywhere: the traceback behind an error
  --version                       the version of byzsim

A first look, without any network:    byzsim run smoke
One run of a table, one epoch:       byzsim run brsgd_table1 --only rule=krum,attack=gaussian --epochs 1

Results go to results/TABLE. A run with overrides goes to a folder of its own, results/TABLE+what=value, so it never
mixes with the table's own results; more seeds, and parts of the table (--only), do go to results/TABLE.
A long name is shortened to its first words and a hash, results/TABLE+what=value+more-1a2b3c4d.
--name FOLDER calls it otherwise; --title TEXT and --labels NAME=TEXT ... are for its report.
"""


HELP = {
    "run": """\
byzsim run TABLE [options]: carry out every run that has no record yet, then make the report.

  byzsim run smoke                                              a first look in seconds
  byzsim run smoke --rules krum nnm+krum --attacks alie         other columns and rows; commas do as well
  byzsim run smoke --m 11 --alphas 0 2/11                       2 of 11 workers are Byzantine
  byzsim run brsgd_table1 --only rule=krum,attack=gaussian      a part of a table
  byzsim run smoke --options gaussian.sigma=100                 an option; byzsim show NAME says which there are
  byzsim run smoke --plugins my_rule --rules my_rule            a rule of your own, in my_rule.py
""",
    "report": """\
byzsim report TABLE [options]: make the table and the figures from the records; nothing is run.

  byzsim report smoke                                           after byzsim run smoke
  byzsim report smoke --epochs 2                                after byzsim run smoke --epochs 2
  byzsim report brsgd_table1 --inject README.md                 also into a page, between its marks
""",
    "status": """\
byzsim status [TABLE] [options]: what is done, failed, stale and missing, and why; nothing is run.

  byzsim status                                                 a line for each folder of results
  byzsim status brsgd_table1 --seeds 0 1 2                      a table, run by run
""",
    "diff": """\
byzsim diff A B [--csv FILE]: compare two folders of results run by run; exit code 1 if they differ.

  byzsim diff results/brsgd_table1 elsewhere/brsgd_table1
  byzsim diff results/smoke results/smoke+lr=0.1 --csv cells.csv
""",
    "export": """\
byzsim export FOLDER [FILE]: the valid records as CSV, without those that newer ones have taken the place of.

  byzsim export results/smoke                                   onto the terminal
  byzsim export results/smoke cells.csv
""",
    "verify": """\
byzsim verify TABLE [options]: repeat recorded runs and compare them with their records; exit code 1 if one differs.

  byzsim verify brsgd_table1 --sample 5
  byzsim verify smoke --only rule=krum
""",
    "list": """\
byzsim list [--plugins MODULE ...]: rules, preaggregators, attacks, modifiers, models, data sets, tables.

  byzsim list
  byzsim list --plugins my_rule                                 with those of my_rule.py
""",
    "show": """\
byzsim show NAME ... [--plugins MODULE ...]: all that is known of a rule, an attack, a model, a data set or a table.

  byzsim show krum                                              formula, options, variants, bound, source
  byzsim show nnm+krum burst+alie                               each part
  byzsim show my_rule --plugins my_rule                         one of your own
""",
    "zoo": """\
byzsim zoo [options]: measure every rule: kappa found by attacks, what becomes of NaN, cost, bound.

  byzsim zoo --results /tmp/results                             the usual size, 2 of 11 workers
  byzsim zoo --m 20 --f 4
""",
    "definitions": """\
byzsim definitions [NAME ...] [--output FILE]: names that stand for several definitions, side by side.

  byzsim definitions krum
  byzsim definitions --output docs/definitions.md               all of them, into a file
""",
    "bench": """\
byzsim bench [scaling | accelerator] [options]: speed, ours and the peers', in one run on this machine.

  byzsim bench --quick                                          two minutes
  byzsim bench scaling --help                                   time and memory against m and d
  byzsim bench accelerator --help                               a table, training steps, bandwidth; for a GPU
""",
    "data": """\
byzsim data [NAME ...] [--data-dir FOLDER]: get data sets into the cache and say where they come from.

  byzsim data fashion_mnist
  byzsim data mnist --data-dir ~/mnist                          from the original files
""",
}
HELPS = {"-h", "--help"}
COMMANDS = tuple(HELP)
TABLE_FIRST = ("run", "report", "verify")
FILES = frozenset({"run", "report", "zoo", "bench"})  # commands whose outcome is files
OPTIONS = "All that can be changed: byzsim {} TABLE --help, with TABLE one of {}."

OURS = {
    "MPLBACKEND": "agg",  # figures are files: no display is needed, nor a backend that is not there
    "JAX_NUMPY_DTYPE_PROMOTION": "standard",  # stricter settings are for code that was written for them
    "JAX_NUMPY_RANK_PROMOTION": "allow",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Returns the exit code: 0; 1: differs or failed; 2: what the user can mend; 70: an error of ours; 130: Ctrl-C."""
    args = list(sys.argv[1:] if argv is None else argv)
    debug = "--debug" in args
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a path may hold what the terminal's encoding does not
    try:
        return _command([each for each in args if each != "--debug"]) or 0
    except KeyboardInterrupt as stopped:
        print(f"\n{str(stopped) or interrupt.WORDS}", file=sys.stderr)
        return interrupt.CODE
    except Exception as error:
        if debug:
            traceback.print_exc()
        code, message = _told(error)
        print(f"byzsim: {message}", file=sys.stderr)
        return code


def _told(error: Exception) -> tuple[int, str]:
    """(exit code, message)"""
    if setting := _setting(error):
        return 2, setting
    if isinstance(error, UserError | Incomplete):
        return 1 if isinstance(error, Incomplete) else 2, str(error)
    if isinstance(error, ModuleNotFoundError):
        return 2, _not_installed(error.name or "")
    first = str(error).strip().partition("\n")[0]
    if isinstance(error, MemoryError) or "RESOURCE_EXHAUSTED" in first:
        return 2, f"out of memory ({first}). Try fewer workers, smaller batches or a smaller model."
    return 70, (
        f"{type(error).__name__}: {first}. This is an error in byzsim or in a plugin, if one was named; recorded runs "
        "are safe. Please report it with the command and the traceback, which --debug shows."
    )


def _not_installed(module: str) -> str:
    """What to do about a module that is not there; those of plugins are told by `plugins.load`."""
    if module.startswith("byzsim.experiments.bench"):
        return "byzsim bench is not in an installed package: run it in a checkout of byzsim, after `make setup`"
    return f"the command byzsim needs {module}, which is not installed: pip install 'byzsim[experiments]'"


def _setting(error: BaseException) -> str | None:
    """Which environment variable of JAX an error comes from, and what to do, if it comes from one."""
    while error.__cause__:
        error = error.__cause__  # a plugin's trial may be the first to ask for a device
    if isinstance(error, UserError | Incomplete):
        return None
    message = str(error)
    for name, value in os.environ.items():
        if name.startswith("JAX_") and re.search(f"(flag|environment) '?{name}\\b", message, re.IGNORECASE):
            return f"{name}={value}, in the environment, is refused by JAX: {message.strip()}. Unset it or mend it."
    for name in ("JAX_PLATFORMS", "JAX_PLATFORM_NAME"):
        if os.environ.get(name) and "jax" in sys.modules and not _has_device():
            return (
                f"{name}={os.environ[name]}, in the environment, names a device that JAX does not find here. Unset it, "
                f"set {name}=cpu, or install what the device needs (byzsim[cuda] or byzsim[tpu])."
            )
    return None


def _has_device() -> bool:
    try:
        return bool(sys.modules["jax"].devices())
    except Exception:  # a bare assertion, or a RuntimeError
        return False


def script() -> None:
    """The process `byzsim`: ends with the exit code, after Ctrl-C at once, without waiting for what XLA computes."""
    interrupt.ours = True
    output.guard()
    os.environ.update(OURS)  # before JAX and Matplotlib read them
    try:
        code = main()
    except SystemExit as end:  # of tyro, after its help
        code = int(end.code or 0)
    code = _printed(code)
    interrupt.leave(code)


def _printed(code: int) -> int:
    """The exit code, or 1 if it were 0 and an outcome that is printed, and nowhere else, could not be."""
    why = output.lost()
    if why:
        print(f"byzsim: not all output could be printed: {why}", file=sys.stderr)
    command = next((arg for arg in sys.argv[1:] if arg != "--debug"), "")
    return code or int(bool(why) and command not in FILES)


def _command(args: list[str]) -> int | None:
    if not args or args == ["help"] or args[0] in HELPS:
        print(USAGE)
        return None
    if args[0] == "--version":
        print(f"byzsim {importlib.metadata.version('byzsim')}")
        return None
    if args[0] == "help":
        args = [*args[1:], "--help"]
    if "" in args:
        raise UserError("an argument is empty: was a variable of the shell not set?")
    name, *rest = args
    if name not in COMMANDS:
        raise unknown("command", name, COMMANDS)
    if HELPS & {*rest} and (not rest or rest[0].startswith("-")) and not _helped(name):
        return None
    return {"list": _list, "show": _show}.get(name, _loaded(name))(rest)


def _helped(name: str) -> bool:
    """Print what a command does; whether its own parser has options to add, which it has without a table."""
    print(HELP[name])
    tables = ", ".join(member.name for member in listing.members("byzsim.experiments.tables"))
    if name in (*TABLE_FIRST, "status"):
        print(OPTIONS.format(name, tables))
    return name not in (*TABLE_FIRST, "list")


def _loaded(name: str) -> Callable[[list[str]], int | None]:
    def command(args: list[str]) -> int | None:
        with interrupt.at_once():
            from byzsim.experiments.cli import commands  # with JAX and all else, which takes seconds

        return getattr(commands, name)(args)

    return command


def _list(args: list[str]) -> None:
    if args and args[0] != "--plugins":
        raise UserError(f"byzsim list takes nothing but --plugins MODULE ..., got {' '.join(args)}")
    for kind, members in [*listing.everything().items(), *_own(args[1:])]:
        print(kind)
        for name, summary, source in members:
            print(f"  {name:<27}{summary.rstrip('.')}  [{source}]")


def _show(args: list[str]) -> None:
    if not args or (args[0].startswith("-") and not HELPS & {*args}):
        raise UserError("show what? byzsim show NAME, with NAME one that byzsim list has")
    with interrupt.at_once():
        from byzsim.experiments.cli import show  # with JAX

    for line in show.pages(args):
        print(line)


def _own(modules: list[str]) -> list[tuple[str, list[listing.Member]]]:
    if not modules:
        return []
    with interrupt.at_once():
        from byzsim.experiments import plugins  # with JAX

    found = plugins.load(modules)
    return [("from plugins", [listing.Member(name, e.summary, e.source) for name, e in found.items()])]
