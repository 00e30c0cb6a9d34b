"""A rule of the user's own that takes many times as long as the median: said before a run, with what would help."""

import ast
import inspect
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import jax
import numpy as np
from byzsim import AGGREGATORS, Aggregator, RunConfig, oneshot
from byzsim.experiments import plugins
from byzsim.names import BUILT_IN

MANY = 20.0  # times the median; `ops.sorted_rows` takes about 6, and up to 16 on a busy machine
ENTRIES = 2**21  # of the largest matrix that is tried
ENOUGH = 0.3  # seconds in calls of one rule
SLOW = frozenset({"argsort", "median", "nanmedian", "nanpercentile", "nanquantile", "percentile", "quantile", "sort"})


def warn(runs: Iterable[RunConfig], d: int, say: Callable[[str], object]) -> None:
    """One line for each rule from outside that is slow on (m, d) rows; rules of ours are not timed."""
    own = {name: run_config for run_config in runs if (name := run_config.rule.rpartition("+")[2]) not in BUILT_IN}
    for name, run_config in own.items():
        m, width = run_config.m, max(min(d, ENTRIES // run_config.m), 1)
        try:
            seconds = _seconds(_made(name, run_config), m, width)
        except Exception:  # it is the user's code: its runs will fail, and say so
            continue
        times = seconds / _seconds(AGGREGATORS["median"].factory(), m, width)
        if times > MANY:
            say(
                f"warning: {name} takes about {times:.0f} times as long as median at ({m}, {width}). "
                f"{_help('; '.join(_lines(AGGREGATORS[name].factory)))} See docs/fast-rules.md."
            )


def _help(found: str) -> str:
    if not found:
        return "Where it sorts, sums or compares workers, byzsim.ops may have the same in less time."
    return (
        f"On a CPU this is slow: {found}. Use byzsim.ops.median, byzsim.ops.order_statistics or byzsim.ops.sorted_rows."
    )


def _made(name: str, run_config: RunConfig) -> Aggregator:
    make = AGGREGATORS[name].factory
    return make(
        **{key: value for key, value in run_config.rule_args.items() if key in inspect.signature(make).parameters}
    )


def _seconds(made: Aggregator, m: int, d: int) -> float:
    """The shortest of up to three calls."""
    rows = np.random.default_rng(0).normal(size=(m, d)).astype(np.float32)

    def once(rows: Any, key: Any) -> Any:
        return oneshot.aggregate(made, rows, oneshot.make_context(key, 1, d, server_loss=oneshot.summed))[0]

    given = jax.device_put(rows), jax.random.key(0)
    compiled, seconds = jax.jit(once).lower(*given).compile(), []
    while len(seconds) < 3 and sum(seconds) < ENOUGH:
        began = time.perf_counter()
        jax.block_until_ready(compiled(*given))
        seconds.append(time.perf_counter() - began)
    return min(seconds)


def _lines(make: Callable[..., Any]) -> Iterator[str]:
    """Where a plugin's own sources sort along the first axis."""
    for module, source in plugins.sources(inspect.unwrap(make).__module__).items():
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.Call) and _called(node) in SLOW and _along_workers(node):
                yield f"{module}, line {node.lineno}: {ast.unparse(node)}"


def _called(call: ast.Call) -> str:
    return getattr(call.func, "attr", getattr(call.func, "id", ""))


def _along_workers(call: ast.Call) -> bool:
    axes = [*call.args[1:], *(each.value for each in call.keywords if each.arg == "axis")]
    return any(isinstance(axis, ast.Constant) and axis.value == 0 for axis in axes)
