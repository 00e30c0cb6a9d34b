"""Measurements in a separate process, which may run out of time or memory, or crash, without other harm."""

import ast
import functools
import multiprocessing
import resource
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import byzsim
import jax
import jax.numpy as jnp
import numpy as np
from byzsim import AGGREGATORS, Spec, oneshot
from byzsim.experiments import records
from byzsim.experiments.bench.measure import Failed
from byzsim.names import known
from byzsim.options import options

Facts = dict[str, Any]


class Rule(NamedTuple):
    """A rule with options, written as in `safeguard:thresholds=theory`; options are separated by commas."""

    spec: Spec
    args: Mapping[str, Any]


def parsed(text: str) -> Rule:
    """Parse a rule with options.

    Raises:
        ValueError: the rule or an option does not exist.
    """
    name, _, given = text.partition(":")
    spec = known("rule", name, AGGREGATORS)
    pairs = [pair.partition("=") for pair in given.split(",") if pair]
    return Rule(spec, options(name, spec, {key: _value(value) for key, _, value in pairs}))


def _value(text: str) -> Any:
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


def aggregation(text: str, m: int, d: int, repeats: int) -> Facts:
    """Time and memory of one call of a rule on an (m, d) matrix.

    Rows are N(0.3, I) / sqrt(d), so that deviations have norm 1, as SafeguardSGD's theory assumes; the rows of the f
    Byzantine workers are N(3.3, I) / sqrt(d), so that filters have work to do. f is m // 10, or the largest f of the
    rule's guarantee if that is lower. The server's loss, for rules that use it, is the sum of all parameters, with
    negligible cost.

    Returns:
        f; ms: median of at most `repeats` calls after an uncounted one, of fewer if they take more than three seconds
        together; spread: their interquartile range over the median; calls; compile_s; working: bytes of temporaries and
        results (including the state) by XLA's plan; seconds: total time.
    """
    began = time.perf_counter()
    spec, args = parsed(text)
    f = min(m // 10, byzsim.names.max_f(spec, m, args))
    rows, made = _rows(m, d, f), spec.factory(**args)

    def once(rows: jax.Array, state: Any, key: jax.Array, f: jax.Array) -> Any:
        return made.apply(rows, state, oneshot.make_context(key, f, d, server_loss=oneshot.summed))

    given = (rows, made.init(m, d), jax.random.key(0), jnp.int32(f))
    start = time.perf_counter()
    compiled = jax.jit(once).lower(*given).compile()
    compile_s = time.perf_counter() - start
    plan: Any = compiled.memory_analysis()
    times = repeated(lambda: compiled(*given), repeats)
    jax.clear_caches()
    return {
        "f": f,
        **times,
        "compile_s": compile_s,
        "working": plan.temp_size_in_bytes + plan.output_size_in_bytes,
        "seconds": time.perf_counter() - began,
    }


@functools.lru_cache(maxsize=1)
def _rows(m: int, d: int, f: int) -> jax.Array:
    def drawn(key: jax.Array) -> jax.Array:
        return (0.3 + jax.random.normal(key, (m, d)) + 3.0 * (jnp.arange(m) < f)[:, None]) / jnp.sqrt(d)

    return jax.block_until_ready(jax.jit(drawn)(jax.random.key(0)))


def repeated(call: Callable[[], Any], repeats: int, *, seconds: float = 3.0) -> Facts:
    """ms (median), spread (interquartile range over the median) and number of calls, without the first call."""
    jax.block_until_ready(call())
    taken: list[float] = []
    while len(taken) < repeats and sum(taken) <= seconds:
        start = time.perf_counter()
        jax.block_until_ready(call())
        taken.append(time.perf_counter() - start)
    low, middle, high = np.percentile(taken, [25, 50, 75])
    return {"ms": 1000 * float(middle), "spread": float((high - low) / middle), "calls": len(taken)}


def training(text: str, m: int, batch: int, steps: int, side: int) -> Facts:
    """A training step of the MLP through `byzsim.simulate`: seconds, and the peak of this process's memory.

    Random images of `side` x `side` pixels; a tenth of the workers sends Gaussian noise. Three epochs of `steps` steps;
    the first epoch, with compilation, does not count; the evaluation on 100 test images counts.

    Returns:
        first_s: of the first epoch; step_s: the shortest of the other epochs, for one step; peak: bytes.
    """
    name, _, _ = text.partition(":")
    draw, n = np.random.default_rng(0), m * batch * steps
    images = draw.integers(0, 256, (n, side, side), dtype=np.uint8)
    labels = (np.arange(n) % 10).astype(np.uint8)
    marks = [time.perf_counter()]
    byzsim.simulate(
        (images, labels),
        (images[:100], labels[:100]),
        on_epoch=lambda _: marks.append(time.perf_counter()),
        rule=name,
        rule_args=parsed(text).args,
        attack="gaussian",
        model="mlp",
        m=m,
        n_byz=min(m // 10, byzsim.names.max_f(parsed(text).spec, m, parsed(text).args)),
        batch=batch,
        epochs=3,
        steps=steps,
    )
    first, *later = np.diff(marks)
    return {"first_s": float(first), "step_s": float(min(later)) / steps, "peak": peak_memory()}


def peak_memory() -> int:
    """The largest number of bytes that this process has held.

    From VmHWM where it exists, because `ru_maxrss` starts with the memory of the parent process.
    """
    with suppress(OSError):
        lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
        return next(1024 * int(line.split()[1]) for line in lines if line.startswith("VmHWM"))
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


MEASURES: dict[str, Callable[..., Facts]] = {
    "aggregation": aggregation,
    "training": training,
    "origin": records.origin,
}


class WorkerProcess:
    """A process that carries out one measurement after another; a new process replaces one that dies or is too slow.

    Args:
        memory: GB of data that the process may hold.
    """

    def __init__(self, memory: float):
        self._memory = memory
        self._process: Any = None

    def ask(self, what: str, *args: Any, limit: float) -> Facts:
        """Return the result of a function of `MEASURES`.

        Raises:
            Failed: the function raises, the process dies, or it takes longer than `limit` seconds.
        """
        if self._process is None:
            self._start()
        kind, answer = "late", {}
        try:
            self._pipe.send((what, args))
            if self._pipe.poll(limit):
                kind, answer = self._pipe.recv()
        except (EOFError, OSError):
            self.end()
            raise Failed(f"the process died, from lack of memory ({self._memory:g} GB) or a crash") from None
        if kind == "late":
            self.end()
            raise Failed(f"not finished after {limit:g} s")
        if kind == "error":
            raise Failed(answer)
        return answer

    def _start(self) -> None:
        spawning = multiprocessing.get_context("spawn")
        self._pipe, theirs = spawning.Pipe()
        self._process = spawning.Process(target=_serve, args=(theirs, self._memory), daemon=True)
        self._process.start()
        theirs.close()

    def end(self) -> None:
        """End the process; the next measurement starts a new one."""
        if self._process is not None:
            self._process.kill()
            self._process.join()
            self._pipe.close()
            self._process = None


def _serve(pipe: Any, memory: float) -> None:
    limit = int(memory * 1e9)
    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
    with suppress(EOFError, KeyboardInterrupt):
        while True:
            what, args = pipe.recv()
            pipe.send(_answer(what, args))


def _answer(what: str, args: tuple[Any, ...]) -> tuple[str, Any]:
    try:
        return "answer", MEASURES[what](*args)
    except (ValueError, MemoryError, jax.errors.JaxRuntimeError) as error:
        return "error", (str(error).strip().splitlines() or [type(error).__name__])[0]
