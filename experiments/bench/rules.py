"""Every rule and attack against the time to read its matrix, and against the same rule in byzfl and torch."""

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from byzsim import AGGREGATORS, ATTACKS, PREAGGREGATORS, Aggregator, Context, Info, oneshot
from byzsim.experiments.bench.environment import Peer
from byzsim.experiments.bench.findings import Finding
from byzsim.experiments.bench.steps import check_same
from byzsim.experiments.bench.timing import Effort, Failed, Side, interleaved, local
from byzsim.ops.rows import HIGHEST
from byzsim.options import options

Shape = tuple[int, int]
SHAPES: tuple[Shape, ...] = ((20, 61_706), (10, 272_474), (25, 1_000_000), (100, 1_000_000))
READS = {"median": 3.0, "trimmed_mean": 3.0}  # target in reads of the matrix, by rule; others of O(m d): 4
DISTANT = {"fang_krum", "min_max", "min_sum"}  # attacks that are not of O(m d)
PRODUCTS = {"krum": 2.0, "multi_krum": 2.0, "medoid": 2.0, "nnm": 3.0}  # target in times of G @ G.T


class Twin(NamedTuple):
    """The same rule elsewhere."""

    where: str
    name: str
    options: Mapping[str, Any]
    """ours that give the same definition"""
    with_f: bool = True
    args: Mapping[str, Any] = {}
    tolerance: float | None = 1e-4
    """of the largest entry; None: it does not compute the same numbers, which the note says"""
    note: str = ""


COPIED = "byzfl writes into its input; a copy of that counts, as in its own pipeline"
POWER = "byzfl: one power step from a random vector, ours exact"
TWINS: dict[str, tuple[Twin, ...]] = {
    "mean": (Twin("byzfl", "Average", {}, False),),
    "median": (
        Twin("byzfl", "Median", {}, False),
        Twin("torch.median", "torch.median", {"middle": "lower"}, False),
    ),
    "trimmed_mean": (Twin("byzfl", "TrMean", {}),),
    "geometric_median": (Twin("byzfl", "GeometricMedian", {}, False),),
    "krum": (Twin("byzfl", "Krum", {"variant": "byzfl"}),),
    "multi_krum": (Twin("byzfl", "MultiKrum", {"variant": "byzfl"}),),
    "centered_clipping": (Twin("byzfl", "CenteredClipping", {}, False),),
    "mda": (Twin("byzfl", "MDA", {}),),
    "monna": (Twin("byzfl", "MoNNA", {"trusted": 0}, True, {"idx": 0}),),
    "meamed": (Twin("byzfl", "Meamed", {}),),
    "caf": (Twin("byzfl", "CAF", {}, tolerance=None, note=POWER),),
    "smea": (Twin("byzfl", "SMEA", {}, tolerance=None, note=POWER),),
    "nnm": (Twin("byzfl", "NNM", {}),),
    "clipping": (Twin("byzfl", "Clipping", {"clip_at": 2.0}, False, {"c": 2.0}, note=COPIED),),
    "arc": (Twin("byzfl", "ARC", {}, note=COPIED),),
}


def rules(shapes: Sequence[Shape], peer: Peer | None, folder: Path, effort: Effort, limit: float) -> Iterator[Finding]:
    """Every rule and preaggregator at every shape."""
    for shape in shapes:
        path, grads = folder / "matrix.npy", matrix(shape)
        np.save(path, grads)
        for name in (*AGGREGATORS, *PREAGGREGATORS):
            for twin in TWINS.get(name, (None,)):
                yield from _rule(name, twin, grads, path, peer, effort, limit)
            jax.clear_caches()  # hundreds of small programs; a process may map only so much code


def attacks(shapes: Sequence[Shape], effort: Effort) -> Iterator[Finding]:
    """Every attack that only looks at the rows: the whole matrix that the rule will see, from the honest work."""
    for shape in shapes:
        grads = matrix(shape)
        for name, spec in ATTACKS.items():
            if not spec.traits & {"data", "rule"} and name != "none":
                times, _ = interleaved({"ours": _attack_side(name, grads), "read": _read_side(grads)}, effort)
                yield Finding(
                    part="attacks",
                    what=name,
                    shape=_text(shape),
                    sense="<=",
                    other="one read",
                    ours=times["ours"],
                    theirs=times["read"],
                    target=None if name in DISTANT else 4.0,
                    note="it takes all distances: O(m² d)" if name in DISTANT else "",
                )
                jax.clear_caches()


def memory(shapes: Sequence[Shape]) -> Iterator[Finding]:
    """Bytes that a rule's program needs beyond its input, in copies of the matrix; nothing is run."""
    for shape in shapes:
        for name in (*AGGREGATORS, *PREAGGREGATORS):
            try:
                used = copies(name, shape)
            except ValueError:
                continue  # not for so many workers; `rules` says so
            yield Finding(
                part="memory",
                what=name,
                shape=_text(shape),
                sense="<=",
                other="the matrix",
                measured=used,
                target=2.0,
                note="with its memory" if "stateful" in _spec(name).traits else "",
            )


def copies(name: str, shape: Shape) -> float | None:
    """Temporary and output bytes of the compiled rule over those of the matrix; None where XLA does not say.

    What a rule remembers counts once: the new state takes the place of the old one.
    """
    program, args = _program(name, {}, jax.ShapeDtypeStruct(shape, jnp.float32))
    found = program.lower(*args).compile().memory_analysis()
    if found is None:
        return None
    return round((found.temp_size_in_bytes + found.output_size_in_bytes) / (4 * shape[0] * shape[1]), 2)


def matrix(shape: Shape) -> jax.Array:
    """Normal rows around a common mean; the first m // 4 are shifted, so that there is something to leave out."""
    draw = np.random.default_rng(0)
    rows = draw.standard_normal(shape, np.float32)
    rows += draw.standard_normal(shape[1], np.float32)
    rows[: byzantine(shape)] += 2
    return jnp.asarray(rows)


def byzantine(shape: Sequence[int]) -> int:
    return shape[0] // 4


def is_linear(cost: str) -> bool:
    """O(m d), as the registry writes it: nothing of m^2 d and no sort along d."""
    return "m^2 d" not in cost and "log d" not in cost


def _rule(
    name: str, twin: Twin | None, grads: jax.Array, path: Path, peer: Peer | None, effort: Effort, limit: float
) -> Iterator[Finding]:
    given = dict(twin.options) if twin else {}
    job = _job(twin, grads, path) if twin else None
    try:
        program, args = _program(name, given, grads)
    except ValueError as reason:
        yield Finding(part="rules", what=name, shape=_text(grads.shape), sense="<=", other="-", note=str(reason))
        return
    note = twin.note if twin else ""
    if peer and twin and job and twin.tolerance:
        note = _check(name, twin, program(*args)[0], job, peer, path.parent, limit)
        program, args = _program(name, given, grads)  # the first state was given away
    sides = {"ours": _carried(program, args), "read": _read_side(grads)}
    if name in PRODUCTS or not is_linear(_spec(name).cost):
        sides["product"] = _product_side(grads)
    if peer and job:
        sides["twin"] = peer.side(job, limit=limit)
    times, failures = interleaved(sides, effort)
    what = name + (f"({', '.join(f'{k}={v!r}' for k, v in given.items())})" if given else "")
    yield from _rule_findings(what, name, twin, grads.shape, times, failures.get("twin", note))


def _rule_findings(
    what: str, name: str, twin: Twin | None, shape: Any, times: Mapping[str, Any], note: str
) -> Iterator[Finding]:
    common: dict[str, Any] = {"part": "rules", "what": what, "shape": _text(shape), "ours": times["ours"]}
    linear = is_linear(_spec(name).cost)
    target = READS.get(name, 4.0) if linear else None
    if twin is None or twin is TWINS[name][0]:
        yield Finding(**common, sense="<=", other="one read", theirs=times["read"], target=target)
        if "product" in times:
            aim = PRODUCTS.get(name)
            yield Finding(**common, sense="<=", other="G @ G.T", theirs=times["product"], target=aim)
    if twin is not None:
        yield Finding(**common, sense=">=", other=twin.where, theirs=times.get("twin"), target=1.0, note=note)


def _check(name: str, twin: Twin, ours: Any, job: Any, peer: Peer, folder: Path, limit: float) -> str:
    """Compare the aggregates; what the peer cannot do at this shape will be said by its timing too."""
    out = folder / "aggregate_of_peer.npy"
    try:
        peer.run(job, out=out, limit=limit)
    except Failed as reason:
        return str(reason)
    check_same(f"{name} against {twin.where} {twin.name}", ours, np.load(out), twin.tolerance or 0.0)
    return twin.note


def _job(twin: Twin, grads: jax.Array, path: Path) -> dict[str, Any]:
    args = {**twin.args, **({"f": byzantine(grads.shape)} if twin.with_f else {})}
    return {"kind": "rule", "name": twin.name, "args": args, "matrix": str(path), "shape": list(grads.shape)}


def _spec(name: str) -> Any:
    return AGGREGATORS[name] if name in AGGREGATORS else PREAGGREGATORS[name]


def _rows_only() -> Aggregator:
    """Behind a preaggregator: gives its rows as they are."""
    return Aggregator(lambda m, d: (), lambda rows, state, ctx: (rows, state, Info(jnp.zeros(len(rows)))))


def _context(f: Any, vector: Any, **known: Any) -> Context:
    return oneshot.make_context(jax.random.key(0), f, len(vector), lr=0.03, params=vector, previous=vector, **known)


def _program(name: str, given: Mapping[str, Any], grads: Any) -> tuple[Any, tuple[Any, ...]]:
    """The compiled-once function (rows, carry, f, vector) -> carry, and its first arguments.

    carry = (output, state), given away at each call, as a training step's loop does it. The server's own loss, where a
    rule asks for one, is linear.
    """
    m, d = grads.shape
    spec = _spec(name)
    made = spec.factory(**options(name, spec, given))
    rule = made if name in AGGREGATORS else made(_rows_only())

    def apply(rows, carry, f, vector):
        ctx = _context(f, vector, server_loss=lambda n: lambda params: jnp.vdot(vector, params))
        output, state, _ = rule.apply(rows, carry[1], ctx)
        return output, state

    f, vector = jnp.int32(byzantine(grads.shape)), jnp.ones(d)
    state = rule.init(m, d)
    shape = jax.eval_shape(apply, grads, (None, state), f, vector)[0]
    carry = (jnp.zeros(shape.shape), state)
    return jax.jit(apply, donate_argnums=1, keep_unused=True), (grads, carry, f, vector)


def _carried(program: Callable[..., Any], args: tuple[Any, ...]) -> Side:
    rows, first, *rest = args
    carry = [first]

    def call() -> Any:
        carry[0] = program(rows, carry[0], *rest)
        return carry[0]

    return local(call)


def _attack_side(name: str, grads: jax.Array) -> Side:
    spec = ATTACKS[name]
    made = spec.factory(**options(name, spec, {}))
    byz = jnp.arange(len(grads)) < byzantine(grads.shape)

    def forge(sent, carry, byz, vector):
        return oneshot.forged_rows(made, sent, byz, _context(byz.sum(), vector), carry[1])

    program = jax.jit(forge, donate_argnums=1, keep_unused=True)
    carry = (jnp.zeros_like(grads), made.init(*grads.shape))
    return _carried(program, (grads, carry, byz, jnp.ones(grads.shape[1])))


def _read_side(grads: jax.Array) -> Side:
    """The yardstick: a sum over the workers by a matrix product reads everything once."""
    total = jax.jit(lambda weight, rows: jnp.einsum("m,md->d", weight, rows, precision=HIGHEST))
    return local(functools.partial(total, jnp.ones(len(grads)), grads))


def _product_side(grads: jax.Array) -> Side:
    gram = jax.jit(lambda rows: jnp.einsum("id,jd->ij", rows, rows, precision=HIGHEST))
    return local(functools.partial(gram, grads))


def _text(shape: Sequence[int]) -> str:
    return f"{shape[0]} x {shape[1]:,}"
