"""Measurements in a process of their own, which may run out of time or memory, or crash, and takes nothing with it."""

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
from byzsim.names import known
from byzsim.options import options

Facts = dict[str, Any]


class Rule(NamedTuple):
    """A rule with options, as in `safeguard:thresholds=theory`; several are separated by commas."""

    spec: Spec
    args: Mapping[str, Any]


def parsed(text: str) -> Rule:
    """The rule that a text names.

    Raises:
        ValueError: for a rule or an option that does not exist.
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

    Rows are N(0.3, I) / sqrt(d), so of deviations of norm 1, to which SafeguardSGD's theory normalises them; those of
    the f declared Byzantine workers N(3.3, I) / sqrt(d), so that filters have something to do. f is m // 10, or the
    rule's bound where that is lower. The server's own loss, for rules that ask, is the sum of all parameters: next to
    nothing.

    Returns:
        f; ms: median of at most `repeats` calls after one that does not count, of fewer if they take more than three
        seconds together; spread: their interquartile range over the median; calls; compile_s; working: bytes of
        temporaries and results (state among them) by XLA's plan; seconds: all of it.
    """
    began = time.perf_counter()
    spec, args = parsed(text)
    f = min(m // 10, byzsim.names.max_f(spec, m, args))
    rows, made = _rows(m, d, f), spec.factory(**args)

    def once(rows, state, key, f):
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
    def drawn(key):
        return (0.3 + jax.random.normal(key, (m, d)) + 3.0 * (jnp.arange(m) < f)[:, None]) / jnp.sqrt(d)

    return jax.block_until_ready(jax.jit(drawn)(jax.random.key(0)))


def repeated(call: Callable[[], Any], repeats: int, *, seconds: float = 3.0) -> Facts:
    """ms (median), spread (interquartile range over the median) and number of calls, the first of all left out."""
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

    Random images of `side` x `side` pixels; a tenth of the workers sends Gaussian noise. Three epochs of `steps` steps,
    of which the first, with compilation, does not count; measuring the test set (100 images) does.

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
    """Bytes of memory that this process has held at most, since it began.

    From VmHWM, where there is one: `ru_maxrss` begins with what the parent held when it started this process.
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


class Failed(Exception):
    """A measurement that came to nothing, and why."""


class Child:
    """A process that answers one question after another, and is replaced when it dies or takes too long.

    Args:
        memory: GB of data that the process may hold.
    """

    def __init__(self, memory: float):
        self._memory = memory
        self._process: Any = None

    def ask(self, what: str, *args: Any, limit: float) -> Facts:
        """What a function of `MEASURES` returns.

        Raises:
            Failed: if it raises, dies, or takes longer than `limit` seconds.
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
            raise Failed(f"the process died, of too little memory ({self._memory:g} GB) or a crash") from None
        if kind == "late":
            self.end()
            raise Failed(f"not done after {limit:g} s")
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
        """Nothing of the process is left; the next question starts a new one."""
        if self._process is not None:
            self._process.kill()
            self._process.join()
            self._pipe.close()
            self._process = None


def _serve(pipe: Any, memory: float) -> None:
    most = int(memory * 1e9)
    resource.setrlimit(resource.RLIMIT_DATA, (most, most))
    with suppress(EOFError, KeyboardInterrupt):
        while True:
            what, args = pipe.recv()
            pipe.send(_answer(what, args))


def _answer(what: str, args: tuple[Any, ...]) -> tuple[str, Any]:
    try:
        return "answer", MEASURES[what](*args)
    except (ValueError, MemoryError, jax.errors.JaxRuntimeError) as error:
        return "error", (str(error).strip().splitlines() or [type(error).__name__])[0]
