"""A table from Python or in a notebook, as `byzsim run` carries it out."""

import contextlib
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import pandas as pd
from byzsim.experiments.cli import options as table_options
from byzsim.experiments.cli.commands import report, run
from byzsim.experiments.errors import Incomplete, UserError
from byzsim.experiments.plan import Table
from byzsim.experiments.results import Per, load_results
from byzsim.experiments.run import devices
from byzsim.experiments.run.distributed import SINGLE
from byzsim.experiments.tables import TABLES

OURS = frozenset(TABLES)


def run_table(
    table: str | os.PathLike[str] | Table,
    *,
    quick: bool = False,
    strict: bool = False,
    trace: bool = False,
    per: Per = "run",
    log: Callable[[str], object] = print,
    **options: Any,
) -> pd.DataFrame:
    """Carry out every run of a table that has no record yet, as `byzsim run` does, and return the results.

    run_table("smoke", rules=["krum", "median"], seeds=range(3), options={"krum.variant": ["blanchard2017", "byzfl"]})

    Ctrl-C, or the stop button of a notebook, keeps what is recorded and the checkpoints of unfinished runs: the same
    call continues from there.

    Args:
        table: the name of a table, a `Table`, or the path of a results folder.
        quick, strict, trace: as on the command line.
        per: as in `load_results`.
        log: is told of each finished run.
        options: all other options of `byzsim run`, with underscores: settings such as rules, m or lr, of which several
            values make an axis, results, name, only, plugins, data_dir, checkpoint and so on.
    Returns:
        `load_results(folder)` of the table's results folder, `frame.attrs["folder"]`.
    Raises:
        UserError: something cannot be run; nothing has begun.
        Incomplete: some runs failed; all others are recorded.
        KeyboardInterrupt: with what is recorded and saved.
    """
    with contextlib.suppress(RuntimeError):  # JAX has started: with the devices that it has
        devices.use_all_cores()
    flags = {"quick": quick, "strict": strict, "trace": trace}
    words = [f"--{name}" for name, wanted in flags.items() if wanted] + list(_words(options))
    if isinstance(table, Table):
        _register(table)
        request = table_options.of_table(table, run.Run, words, f"run_table {table.name}")
    else:
        request = table_options.read("run", run.Run, [os.fspath(table), *words])
    captions = report.captions(request)
    devices.keep_compiled()
    if jax.default_backend() == "cpu" and jax.device_count() < min(2, devices.cores()):
        log("JAX has started with one device, so runs go one by one: call run_table before anything else uses JAX.")
    try:
        failures = run.carry_out(request, captions, SINGLE, log)
    except KeyboardInterrupt as stopped:
        raise KeyboardInterrupt(str(stopped).replace("same command", "same call")) from None
    if failures:
        raise Incomplete(run.failed(request, failures))
    frame = load_results(request.folder, per=per, log=log)
    frame.attrs["folder"] = str(request.folder)
    return frame


def _register(table: Table) -> None:
    """A folder finds its table by name.

    Raises:
        UserError: the name is that of one of ours.
    """
    if table.name in OURS and TABLES[table.name] is not table:
        raise UserError(f"{table.name} is a table of byzsim: give yours another name")
    TABLES[table.name] = table


def _words(options: Mapping[str, Any]) -> list[str]:
    """Options as on the command line."""
    words = []
    for name, value in options.items():
        if isinstance(value, Mapping):
            joined = (f"{key}={','.join(map(str, _several(each)))}" for key, each in value.items())
            words += [f"--{name.replace('_', '-')}", *joined]
        else:
            words += [f"--{name.replace('_', '-')}", *map(str, _several(value))]
    return words


def _several(value: Any) -> Sequence[Any]:
    return [value] if isinstance(value, str | Path) or not hasattr(value, "__iter__") else list(value)
