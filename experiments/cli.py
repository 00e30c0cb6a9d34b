"""The command `byzsim`: run a table, report it, list what there is, get the data.

Nothing slow is imported here: help, the listing and slips of the pen are answered without JAX.
"""

import os
import sys
from collections.abc import Callable, Sequence

from experiments import listing, stop
from experiments.errors import Incomplete, UserError, unknown

USAGE = """\
byzsim: Byzantine-robust distributed training, and the papers' tables.

  byzsim run TABLE [options]      run what has no record yet, then report; stop and start again at will
  byzsim report TABLE [options]   make the table and the figures from the records
  byzsim status [TABLE] [options] what is done, failed, stale and missing, and why; nothing is run
  byzsim diff A B [--csv FILE]    two folders of results, cell by cell; ends with 1 if they differ
  byzsim verify TABLE [--sample N] run recorded cells again and compare; ends with 1 if one differs
  byzsim list                     rules, attacks, models, data sets and tables, with their sources
  byzsim zoo [options]            measure every rule: kappa found by attacks, what becomes of NaN; all sources
  byzsim definitions [FILE]       names that stand for several definitions, side by side
  byzsim bench [--quick]          speed of ours and of the peers, in one run on this machine
  byzsim bench scaling            time and memory of rules against m and d; byzsim bench accelerator: all GPU aims
  byzsim data [NAME ...]          get data sets into the cache and say where they come from

  byzsim run TABLE --help         everything that can be changed about a table

A first look, without any network:    byzsim run smoke
One cell of a table, one epoch:       byzsim run brsgd_table1 --only rule=krum,attack=gaussian --epochs 1

Results go to results/TABLE. A run with overrides goes to a folder of its own, results/TABLE+what=value, so it never
mixes with the table's own results; more seeds, and parts of the table (--only), do go to results/TABLE.
"""


COMMANDS = ("run", "report", "status", "diff", "verify", "list", "zoo", "definitions", "bench", "data")


def main(argv: Sequence[str] | None = None) -> int:
    """Returns the exit code: 0, 1 for what differs or failed, 2 for what the user can mend, 130 for Ctrl-C."""
    args = list(sys.argv[1:] if argv is None else argv)
    try:
        return _command(args) or 0
    except (UserError, Incomplete) as error:
        print(f"byzsim: {error}", file=sys.stderr)
        return 1 if isinstance(error, Incomplete) else 2
    except KeyboardInterrupt as interrupt:
        print(f"\n{str(interrupt) or stop.WORDS}", file=sys.stderr)
        return 130


def script() -> None:
    """The process `byzsim`: ends with the exit code, after Ctrl-C at once, without waiting for what XLA computes."""
    stop.ours = True
    code = main()
    if code == 130:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)


def _command(args: list[str]) -> int | None:
    if not args or args[0] in ("-h", "--help", "help"):
        print(USAGE)
        return None
    name, *rest = args
    if name not in COMMANDS:
        raise unknown("command", name, COMMANDS)
    return (_list if name == "list" else _loaded(name))(rest)


def _loaded(name: str) -> Callable[[list[str]], int | None]:
    with stop.at_once():
        from experiments import commands  # with JAX and all else, which takes seconds

    return getattr(commands, name)


def _list(args: list[str]) -> None:
    if args:
        raise UserError(f"byzsim list takes nothing, got {' '.join(args)}")
    for kind, members in listing.everything().items():
        print(kind)
        for name, summary, source in members:
            print(f"  {name:<27}{summary.rstrip('.')}  [{source}]")
