"""What a call of `byzsim.aggregate` costs beside the compiled rule, and whether it compiles again."""

import contextlib
import dataclasses
import os
import statistics
import time
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import byzsim
import jax
import numpy as np
import pandas as pd
from byzsim import AGGREGATORS, oneshot
from byzsim.experiments import arguments, records
from byzsim.experiments.bench.scaling import command_line
from byzsim.experiments.files import markdown_table, write_whole
from byzsim.names import max_f, rule_spec
from byzsim.options import options

MOST = 1.0  # ms that a call may take above the compiled rule; fixed before anything was measured
CHAIN = "nnm+krum"
COLUMNS = ("rule", "gradients", "calls", "compiled_ms", "call_ms", "above_ms", "compilations")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Calls:
    """Call `byzsim.aggregate` many times in a loop, in turns with the compiled rule."""

    rules: tuple[str, ...] = (*AGGREGATORS, CHAIN)
    calls: int = 1000
    m: int = 10
    d: int = 1000
    quick: bool = False
    """few calls of two rules, in a folder of its own"""
    results: Path = Path("results")
    """the folder that holds all results folders"""


QUICK: dict[str, Any] = {"rules": ("median", CHAIN), "calls": 20, "d": 10}


def command(args: list[str], log: Callable[[str], object]) -> None:
    """`byzsim bench calls`."""
    default = Calls(**QUICK, quick=True) if "--quick" in args else Calls()
    given = arguments.parse_args(Calls, args, default=default, prog="byzsim bench calls")
    folder = given.results / ("bench+quick" if given.quick else "bench")
    records.check_writable(folder)
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for rule, kind in [*((rule, "JAX") for rule in given.rules), *((CHAIN, kind) for kind in KINDS if kind != "JAX")]:
        rows.append(measured(rule, kind, given))
        log(f"{rule}, {kind}: {rows[-1]['above_ms']:.2f} ms above {rows[-1]['compiled_ms']:.2f} ms")
    found = pd.DataFrame(rows, columns=COLUMNS)
    write_whole(folder / "calls.csv", found.to_csv(index=False, float_format="%.4g").encode())
    write_whole(folder / "calls.md", page(found, given, records.origin()).encode())
    log(f"written: {folder}/calls.md, .csv")


def tree(rows: np.ndarray) -> dict[str, np.ndarray]:
    """The columns as four arrays."""
    return dict(zip("abcd", np.array_split(rows, 4, axis=1), strict=True))


KINDS: dict[str, Callable[[np.ndarray], Any]] = {
    "JAX": jax.numpy.asarray,
    "NumPy": lambda rows: rows,
    "lists of numbers": lambda rows: rows.tolist(),
    "DataFrame": pd.DataFrame,
    "dict of 4 arrays": tree,
    "one dict for each worker": lambda rows: [
        {name: leaf[i] for name, leaf in tree(rows).items()} for i in range(len(rows))
    ],
    "the rule itself": jax.numpy.asarray,
}
"""how gradients are given; the last one gives the rule as an object"""


def measured(rule: str, kind: str, given: Calls) -> dict[str, Any]:
    """Medians over the calls, the two in turns; and how often XLA compiled in the second and later calls."""
    spec = rule_spec(rule)
    f = min(given.m // 10, max_f(spec, given.m, options(rule, spec, {})))
    rows = np.random.default_rng(0).normal(size=(given.m, given.d)).astype(np.float32)
    made, matrix, gradients = spec.factory(), jax.numpy.asarray(rows), KINDS[kind](rows)
    slope = rows[0] if "server" in spec.traits else None

    def alone(rows: jax.Array) -> jax.Array:
        loss = {} if slope is None else {"server_loss": lambda n: lambda params: jax.numpy.vdot(slope, params)}
        return oneshot.aggregate(made, rows, oneshot.make_context(jax.random.key(0), f, given.d, **loss))[0]

    def whole(step: int) -> Any:
        name = spec.factory() if kind == "the rule itself" else rule
        return byzsim.aggregate(name, gradients, f=f, seed=step, server_gradient=slope)

    compiled, times = jax.jit(alone), ([], [])
    jax.block_until_ready((compiled(matrix), whole(0)))
    with _compilations() as compilations:
        for step in range(given.calls):
            for taken, call in zip(times, (lambda: compiled(matrix), lambda step=step: whole(step)), strict=True):
                start = time.perf_counter()
                jax.block_until_ready(call())
                taken.append(1000 * (time.perf_counter() - start))
    below, above = map(statistics.median, times)
    return dict(zip(COLUMNS, (rule, kind, given.calls, below, above, above - below, len(compilations)), strict=True))


@contextlib.contextmanager
def _compilations() -> Generator[list[str]]:
    """A list that grows by one with each compilation of XLA."""
    found: list[str] = []

    def listen(event: str, *_: Any, **__: Any) -> None:
        if "backend_compile" in event:
            found.append(event)

    jax.monitoring.register_event_duration_secs_listener(listen)
    yield found
    jax.monitoring.unregister_event_duration_listener(listen)


def page(found: pd.DataFrame, given: Calls, origin: dict[str, Any]) -> str:
    """calls.md."""
    worst, again = found["above_ms"].max(), found["compilations"].sum()
    verdict = "kept" if worst <= MOST and not again else "not kept"
    versions = ", ".join(f"{name} {number}" for name, number in origin["versions"].items())
    rows = [
        (row["rule"], row["gradients"], *(f"{row[each]:.3f}" for each in COLUMNS[3:6]), row["compilations"])
        for row in found.to_dict("records")
    ]
    head = ("rule", "gradients", "compiled rule, ms", "call, ms", "above, ms", "compilations after the first call")
    parts = [
        "# A call of byzsim.aggregate" + " (QUICK RUN, NOT A RESULT)" * given.quick,
        f"Made by `{command_line('calls', given)}` at commit {origin['commit']}, on {origin['device']}, with "
        f"{versions}; the machine had a load of {os.getloadavg()[0]:.1f} at the end.",
        f"m = {given.m}, d = {given.d:,}; medians of {given.calls:,} calls, each in turns with the compiled rule, and "
        "each with another seed. What is above the compiled rule: the checks of arguments, the conversion of gradients "
        "and of the answer, and the dispatch.",
        f"Promised: at most {MOST:g} ms above the compiled rule, and no compilation after the first call. "
        f"**{verdict.capitalize()}**: at most {worst:.2f} ms, {again} compilations.",
        markdown_table(head, rows),
    ]
    return "\n\n".join(parts) + "\n"
