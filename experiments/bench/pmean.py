"""What `byzsim.robust_pmean` costs beside `jax.lax.pmean`: bytes on the wire, memory of a device, operations, time."""

import dataclasses
import functools
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import byzsim
import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from byzsim.experiments import arguments, records
from byzsim.experiments.bench.measure import Budget, interleaved, local
from byzsim.experiments.bench.scaling import command_line
from byzsim.experiments.errors import UserError
from byzsim.experiments.files import markdown_table, write_whole
from jax.extend import core
from jax.sharding import Mesh, NamedSharding, PartitionSpec

MEAN = "lax.pmean"
WIRE = {"float32": jnp.float32, "bfloat16": jnp.bfloat16}
COLUMNS = ("devices", "d", "rule", "wire", "sent", "memory", "flops", "ms", "spread")
# Bytes that a device sends, for each byte that goes into a collective operation over n devices, with rings.
SENT: dict[str, Callable[[int], float]] = {
    "psum": lambda n: 2 * (n - 1) / n,
    "pmax": lambda n: 2 * (n - 1) / n,
    "all_to_all": lambda n: (n - 1) / n,
    "all_gather": lambda n: n - 1,
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Pmean:
    """Compile, measure and time `robust_pmean` with several rules beside `jax.lax.pmean`, on CPU devices."""

    rules: tuple[str, ...] = ("median", "trimmed_mean", "geometric_median", "krum", "multi_krum", "nnm+krum")
    devices: tuple[int, ...] = (2, 4, 8)
    """numbers of replicas; f is 1 where a majority is left, as from 4 on, and 0 for 2"""
    timed: tuple[int, ...] = (1_000_000, 10_000_000)
    """d that are compiled and run"""
    compiled: tuple[int, ...] = (100_000_000,)
    """d that are only compiled"""
    seconds: float = 40.0
    """for all timed calls at one size, roughly"""
    quick: bool = False
    """one rule at toy sizes, in a folder of its own"""
    results: Path = Path("results")
    """the folder that holds all results folders"""


QUICK: dict[str, Any] = {"rules": ("median",), "devices": (2,), "timed": (1000,), "compiled": (2000,), "seconds": 0.2}


def command(args: list[str], log: Callable[[str], object]) -> None:
    """`byzsim bench pmean`; measures in a process of its own, with as many CPU devices as are asked for."""
    given = _parsed(args)
    if min((*given.devices, *given.timed, *given.compiled), default=0) < 2:
        raise UserError("--devices, --timed and --compiled need numbers from 2 on")
    folder = given.results / ("bench+quick" if given.quick else "bench")
    records.check_writable(folder)
    folder.mkdir(parents=True, exist_ok=True)
    environment = os.environ | {"JAX_NUM_CPU_DEVICES": str(max(given.devices)), "JAX_PLATFORMS": "cpu"}
    program, load, rows = [sys.executable, "-m", __name__, *args], os.getloadavg()[0], []
    with subprocess.Popen(program, stdout=subprocess.PIPE, encoding="utf-8", env=environment) as process:
        for line in process.stdout or ():
            rows.append(json.loads(line))
            log("{devices} devices, d = {d:,}, {rule}: {sent:,.0f} bytes sent".format(**rows[-1]))
    if process.returncode:
        raise UserError(f"the measuring process ended with status {process.returncode}; its error is above")
    found = pd.DataFrame(rows, columns=pd.Index(COLUMNS))
    write_whole(folder / "pmean.csv", found.to_csv(index=False, float_format="%.6g").encode())
    write_whole(folder / "pmean.md", page(found, given, records.origin() | {"load": load}).encode())
    log(f"written: {folder}/pmean.md, .csv")


def _parsed(args: list[str]) -> Pmean:
    default = Pmean(**QUICK, quick=True) if "--quick" in args else Pmean()
    return arguments.parse_args(Pmean, args, default=default, prog="byzsim bench pmean")


def rows_of(given: Pmean) -> Iterator[dict[str, Any]]:
    """One row for each number of devices, d and rule."""
    cases = _cases(given)
    for n in given.devices:
        mesh = Mesh(np.array(jax.devices()[:n]), "data")
        for d in (*given.timed, *given.compiled):
            shape = jax.ShapeDtypeStruct((n, d), jnp.float32, sharding=NamedSharding(mesh, PartitionSpec("data")))
            compiled, rows = {}, {}
            for case in cases:
                traced = reducing(*case, mesh).trace(shape)
                compiled[case] = traced.lower().compile()
                rows[case] = dict(zip(COLUMNS, (n, d, *case), strict=False)) | _facts(traced, compiled[case], n)
            if d in given.timed:
                draw = jax.jit(lambda shape=shape: jax.random.normal(jax.random.key(0), shape.shape))
                gradients = jax.device_put(draw(), shape.sharding)
                calls = {
                    " ".join(case): local(functools.partial(program, gradients)) for case, program in compiled.items()
                }
                times, _ = interleaved(calls, Budget(7, given.seconds))
                for case in cases:
                    time = times[" ".join(case)]
                    rows[case] |= {"ms": time.ms, "spread": time.spread}
            yield from rows.values()


def _cases(given: Pmean) -> list[tuple[str, str]]:
    """Rules, and the dtype in which their numbers travel."""
    return [(MEAN, "float32"), *((rule, "float32") for rule in given.rules), (given.rules[0], "bfloat16")]


def reducing(rule: str, wire: str, mesh: Mesh) -> Any:
    """The compiled reduction of one gradient in each replica."""
    f = int(mesh.size > 2)

    def reduced(gradient: jax.Array) -> jax.Array:
        if rule == MEAN:
            return jax.lax.pmean(gradient[0], "data")
        return byzsim.robust_pmean(gradient[0], "data", rule, f=f, wire=WIRE[wire])

    return jax.jit(jax.shard_map(reduced, mesh=mesh, in_specs=PartitionSpec("data"), out_specs=PartitionSpec()))


def _facts(traced: Any, compiled: Any, n: int) -> dict[str, float]:
    memory = compiled.memory_analysis()
    held = memory.argument_size_in_bytes + memory.output_size_in_bytes + memory.temp_size_in_bytes
    return {"sent": sent(traced.jaxpr.jaxpr, n), "memory": held, "flops": compiled.cost_analysis().get("flops", 0.0)}


def sent(jaxpr: core.Jaxpr, n: int) -> float:
    """Bytes that a device sends in one call, by the traced program; what is in a loop counts once."""
    total = 0.0
    for equation in jaxpr.eqns:
        factor = SENT.get(equation.primitive.name.removesuffix("_invariant"))
        if factor is not None:
            total += factor(n) * sum(_bytes(each.aval) for each in equation.invars)
        for inner in jax.tree.leaves(list(equation.params.values()), is_leaf=_is_jaxpr):
            if _is_jaxpr(inner):
                total += sent(getattr(inner, "jaxpr", inner), n)
    return total


def _bytes(array: Any) -> int:
    return array.size * array.dtype.itemsize


def _is_jaxpr(value: Any) -> bool:
    return isinstance(value, core.Jaxpr | core.ClosedJaxpr)


def page(found: pd.DataFrame, given: Pmean, origin: dict[str, Any]) -> str:
    """pmean.md."""
    versions = ", ".join(f"{name} {number}" for name, number in origin["versions"].items())
    parts = [
        "# robust_pmean beside lax.pmean" + " (QUICK RUN, NOT A RESULT)" * given.quick,
        f"Made by `{command_line('pmean', given)}` at commit {origin['commit']}, on {origin['device']}, with "
        f"{versions}. The machine had a load of {origin['load']:.1f} at the start, and all devices share its cores, so "
        "times are rough; bytes, memory and operations are exact. f is 1, but 0 for 2 devices.",
        "Sent: bytes that one device sends for each of the d float32 parameters, where rings carry sums (pmean: "
        "8 (n - 1) / n). They are counted in the traced program, since XLA's CPU backend sends bfloat16 as float32; "
        "what is in a loop counts once, where only sums of at most n^2 numbers travel. Memory: arguments, result and "
        "buffers of one device in the compiled program, in units of 4 d bytes; the whole matrix alone would be n. "
        "Operations: XLA's own count for one device and parameter, a loop's body once. Each of the three is the same "
        "at all d, up to sums of few numbers (pmean.csv). Spread: the interquartile range of a time over the median.",
    ]
    largest = max((*given.timed, *given.compiled))
    head = ["rule", "wire", "sent", "memory", "operations"]
    head += [word for d in given.timed for word in (f"ms, d = {d:,}", "spread", "/ pmean")]
    for n in given.devices:
        lines = _lines(found[found["devices"] == n], largest, given)
        parts += [f"## {n} devices, d = {largest:,}", markdown_table(head, lines)]
    return "\n\n".join(parts) + "\n"


def _lines(part: pd.DataFrame, largest: int, given: Pmean) -> Iterator[tuple[str, ...]]:
    rows = {(row["rule"], row["wire"], row["d"]): row for row in part.to_dict("records")}
    for case in _cases(given):
        row = rows[*case, largest]
        line = [*case, f"{row['sent'] / largest:.2f}", f"{row['memory'] / (4 * largest):.2f}"]
        line += [f"{row['flops'] / largest:.1f}"]
        for d in given.timed:
            row, mean = rows[*case, d], rows[*_cases(given)[0], d]
            line += [f"{row['ms']:.1f}", f"{row['spread']:.0%}", f"{row['ms'] / mean['ms']:.1f}"]
        yield tuple(line)


if __name__ == "__main__":
    for row in rows_of(_parsed(sys.argv[1:])):
        print(json.dumps(row), flush=True)
