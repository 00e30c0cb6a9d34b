"""Warns before a run about a plugin's rule that takes many times as long as the median, and names what would help."""

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

SLOW_RATIO = 20.0  # times the median; `ops.sorted_rows` takes about 6, and up to 16 on a busy machine
MAX_ENTRIES = 2**21  # of the timed matrix
MAX_SECONDS = 0.3  # in the timed calls of one rule
SORTING = frozenset(
    {"argsort", "median", "nanmedian", "nanpercentile", "nanquantile", "percentile", "quantile", "sort"}
)


def warn(runs: Iterable[RunConfig], d: int, log: Callable[[str], object]) -> None:
    """Log one line for each plugin's rule that is slow on (m, d) rows; built-in rules are not timed."""
    own = {name: run_config for run_config in runs if (name := run_config.rule.rpartition("+")[2]) not in BUILT_IN}
    for name, run_config in own.items():
        m, width = run_config.m, max(min(d, MAX_ENTRIES // run_config.m), 1)
        try:
            seconds = _seconds(_made(name, run_config), m, width)
        except Exception:  # the user's code: its runs will fail with this error
            continue
        times = seconds / _seconds(AGGREGATORS["median"].factory(), m, width)
        if times > SLOW_RATIO:
            advice = "Where it sorts, sums or compares workers, byzsim.ops may have a faster function."
            if found := "; ".join(_lines(AGGREGATORS[name].factory)):
                functions = "byzsim.ops.median, byzsim.ops.order_statistics or byzsim.ops.sorted_rows"
                advice = f"Slow on a CPU: {found}. Use {functions}."
            ratio = f"{name} takes about {times:.0f} times as long as median at ({m}, {width})"
            log(f"warning: {ratio}. {advice} See docs/fast-rules.md.")


def _made(name: str, run_config: RunConfig) -> Aggregator:
    make = AGGREGATORS[name].factory
    return make(
        **{key: value for key, value in run_config.rule_args.items() if key in inspect.signature(make).parameters}
    )


def _seconds(made: Aggregator, m: int, d: int) -> float:
    """Seconds of the shortest of up to three calls."""
    rows = np.random.default_rng(0).normal(size=(m, d)).astype(np.float32)

    def once(rows: Any, key: Any) -> Any:
        return oneshot.aggregate(made, rows, oneshot.make_context(key, 1, d, server_loss=oneshot.summed))[0]

    inputs = jax.device_put(rows), jax.random.key(0)
    compiled, seconds = jax.jit(once).lower(*inputs).compile(), []
    while len(seconds) < 3 and sum(seconds) < MAX_SECONDS:
        began = time.perf_counter()
        jax.block_until_ready(compiled(*inputs))
        seconds.append(time.perf_counter() - began)
    return min(seconds)


def _lines(make: Callable[..., Any]) -> Iterator[str]:
    """The lines of a plugin's sources that sort along the first axis."""
    for module, source in plugins.sources(inspect.unwrap(make).__module__).items():
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.Call) and _sorts_workers(node):
                yield f"{module}, line {node.lineno}: {ast.unparse(node)}"


def _sorts_workers(call: ast.Call) -> bool:
    if getattr(call.func, "attr", getattr(call.func, "id", "")) not in SORTING:
        return False
    axes = [*call.args[1:], *(each.value for each in call.keywords if each.arg == "axis")]
    return any(isinstance(axis, ast.Constant) and axis.value == 0 for axis in axes)
