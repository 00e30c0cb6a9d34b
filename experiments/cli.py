"""The command `byzsim`: run a table, report it, list what there is, get the data.

Nothing slow is imported here: help, the listing and slips of the pen are answered without JAX.
"""

import io
import os
import signal
import sys
import traceback
from collections.abc import Callable, Sequence

from experiments import listing, stop
from experiments.errors import Incomplete, UserError, unknown

USAGE = """\
byzsim: Byzantine-robust distributed training, and the papers' tables.

  byzsim run TABLE [options]      run what has no record yet, then report; stop and start again at will
  byzsim report TABLE [options]   make the table and the figures from the records
  byzsim status [TABLE] [options] what is done, failed, stale and missing, and why; nothing is run
  byzsim diff A B [--csv FILE]    two folders of results, cell by cell; ends with 1 if they differ
  byzsim export FOLDER [FILE]     the valid records as CSV, without those that newer ones have taken the place of
  byzsim verify TABLE [--sample N] run recorded cells again and compare; ends with 1 if one differs
  byzsim list                     rules, attacks, models, data sets and tables, with their sources
  byzsim zoo [options]            measure every rule: kappa found by attacks, what becomes of NaN; all sources
  byzsim definitions [FILE]       names that stand for several definitions, side by side
  byzsim bench [--quick]          speed of ours and of the peers, in one run on this machine
  byzsim bench scaling            time and memory of rules against m and d; byzsim bench accelerator: all GPU aims
  byzsim data [NAME ...]          get data sets into the cache and say where they come from

  run, report, status and verify take a folder, such as results/smoke, in place of TABLE: it knows its settings

  byzsim run TABLE --help         everything that can be changed about a table
  byzsim run TABLE --distributed  the same on every host: cells over the devices of all of them
  --plugins MODULE ...            with run, report, status, verify, zoo, list: rules and attacks of your own, in modules
  --debug                         anywhere: the traceback behind an error

A first look, without any network:    byzsim run smoke
One cell of a table, one epoch:       byzsim run brsgd_table1 --only rule=krum,attack=gaussian --epochs 1

Results go to results/TABLE. A run with overrides goes to a folder of its own, results/TABLE+what=value, so it never
mixes with the table's own results; more seeds, and parts of the table (--only), do go to results/TABLE.
--name FOLDER calls it otherwise; --title TEXT and --labels NAME=TEXT ... are for its report.
"""


COMMANDS = ("run", "report", "status", "diff", "export", "verify", "list", "zoo", "definitions", "bench", "data")


def main(argv: Sequence[str] | None = None) -> int:
    """Returns the exit code: 0; 1: differs or failed; 2: what the user can mend; 70: an error of ours; 130: Ctrl-C."""
    args = list(sys.argv[1:] if argv is None else argv)
    debug = "--debug" in args
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a path may hold what the terminal's encoding does not
    try:
        return _command([each for each in args if each != "--debug"]) or 0
    except KeyboardInterrupt as interrupt:
        print(f"\n{str(interrupt) or stop.WORDS}", file=sys.stderr)
        return 130
    except Exception as error:
        if debug:
            traceback.print_exc()
        code, message = _told(error)
        print(f"byzsim: {message}", file=sys.stderr)
        return code


def _told(error: Exception) -> tuple[int, str]:
    """(exit code, message)"""
    if isinstance(error, UserError | Incomplete):
        return 1 if isinstance(error, Incomplete) else 2, str(error)
    first = str(error).strip().partition("\n")[0]
    if isinstance(error, MemoryError) or "RESOURCE_EXHAUSTED" in first:
        return 2, f"out of memory ({first}). Try fewer workers, smaller batches or a smaller model."
    return 70, (
        f"{type(error).__name__}: {first}. This is an error in byzsim or in a plugin, if one was named; recorded cells "
        "are safe. Please report it with the command and the traceback, which --debug shows."
    )


def script() -> None:
    """The process `byzsim`: ends with the exit code, after Ctrl-C at once, without waiting for what XLA computes."""
    stop.ours = True
    code = main()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # all is done; Python's way out would be killed, as if it were not
    if code == 130:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)


def _command(args: list[str]) -> int | None:
    if not args or args[0] in ("-h", "--help", "help"):
        print(USAGE)
        return None
    if "" in args:
        raise UserError("an argument is empty: was a variable of the shell not set?")
    name, *rest = args
    if name not in COMMANDS:
        raise unknown("command", name, COMMANDS)
    return (_list if name == "list" else _loaded(name))(rest)


def _loaded(name: str) -> Callable[[list[str]], int | None]:
    with stop.at_once():
        from experiments import commands  # with JAX and all else, which takes seconds

    return getattr(commands, name)


def _list(args: list[str]) -> None:
    if args and args[0] != "--plugins":
        raise UserError(f"byzsim list takes nothing but --plugins MODULE ..., got {' '.join(args)}")
    for kind, members in [*listing.everything().items(), *_own(args[1:])]:
        print(kind)
        for name, summary, source in members:
            print(f"  {name:<27}{summary.rstrip('.')}  [{source}]")


def _own(modules: list[str]) -> list[tuple[str, list[listing.Member]]]:
    if not modules:
        return []
    with stop.at_once():
        from experiments import plugins  # with JAX

    found = plugins.load(modules)
    return [("from plugins", [listing.Member(name, e.summary, e.source) for name, e in found.items()])]
