"""Every rule compared with the time to read its matrix, and with the same rule in byzfl and torch."""

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from byzsim import AGGREGATORS, PREAGGREGATORS, Aggregator, Context, Info, oneshot
from byzsim.experiments.bench.environment import Peer
from byzsim.experiments.bench.measure import Budget, Candidate, Comparison, Failed, interleaved, local
from byzsim.experiments.bench.steps import check_same
from byzsim.ops.rows import HIGHEST
from byzsim.options import options

Shape = tuple[int, int]
SHAPES: tuple[Shape, ...] = ((20, 61_706), (10, 272_474), (25, 1_000_000), (100, 1_000_000))
READS = {"median": 3.0, "trimmed_mean": 3.0}  # target in reads of the matrix; for other rules of O(m d): 4
PRODUCTS = {"krum": 2.0, "multi_krum": 2.0, "medoid": 2.0, "nnm": 3.0}  # target in times of G @ G.T


class PeerImplementation(NamedTuple):
    """The same rule in a peer's library."""

    library: str
    name: str
    options: Mapping[str, Any]
    """our options for the same definition"""
    with_f: bool = True
    args: Mapping[str, Any] = {}
    tolerance: float | None = 1e-4
    """of the largest entry; None: the definitions differ, as the note explains"""
    note: str = ""


COPIED = "byzfl writes into its input, so a copy of the input counts, as in byzfl's own pipeline"
POWER = "byzfl: one power iteration from a random vector; ours: exact"
PEER_IMPLEMENTATIONS: dict[str, tuple[PeerImplementation, ...]] = {
    "mean": (PeerImplementation("byzfl", "Average", {}, False),),
    "median": (
        PeerImplementation("byzfl", "Median", {}, False),
        PeerImplementation("torch.median", "torch.median", {"middle": "lower"}, False),
    ),
    "trimmed_mean": (PeerImplementation("byzfl", "TrMean", {}),),
    "geometric_median": (PeerImplementation("byzfl", "GeometricMedian", {}, False),),
    "krum": (PeerImplementation("byzfl", "Krum", {"variant": "byzfl"}),),
    "multi_krum": (PeerImplementation("byzfl", "MultiKrum", {"variant": "byzfl"}),),
    "centered_clipping": (PeerImplementation("byzfl", "CenteredClipping", {"variant": "karimireddy2021"}, False),),
    "mda": (PeerImplementation("byzfl", "MDA", {}),),
    "monna": (PeerImplementation("byzfl", "MoNNA", {"trusted": 0}, True, {"idx": 0}),),
    "meamed": (PeerImplementation("byzfl", "Meamed", {}),),
    "caf": (PeerImplementation("byzfl", "CAF", {}, tolerance=None, note=POWER),),
    "smea": (PeerImplementation("byzfl", "SMEA", {}, tolerance=None, note=POWER),),
    "nnm": (PeerImplementation("byzfl", "NNM", {}),),
    "clipping": (PeerImplementation("byzfl", "Clipping", {"clip_at": 2.0}, False, {"c": 2.0}, note=COPIED),),
    "arc": (PeerImplementation("byzfl", "ARC", {}, note=COPIED),),
}


def rules(
    shapes: Sequence[Shape], peer: Peer | None, folder: Path, budget: Budget, limit: float
) -> Iterator[Comparison]:
    """Every rule and preaggregator at every shape."""
    for shape in shapes:
        path, grads = folder / "matrix.npy", matrix(shape)
        np.save(path, grads)
        for name in (*AGGREGATORS, *PREAGGREGATORS):
            for peer_rule in PEER_IMPLEMENTATIONS.get(name, (None,)):
                yield from _rule(name, peer_rule, grads, path, peer, budget, limit)
            jax.clear_caches()  # hundreds of small programs would exhaust the memory maps of a process


def matrix(shape: Shape) -> jax.Array:
    """Normal rows around a common mean; the first m // 4 are shifted, so that a filter has work to do."""
    draw = np.random.default_rng(0)
    rows = draw.standard_normal(shape, np.float32)
    rows += draw.standard_normal(shape[1], np.float32)
    rows[: byzantine(shape)] += 2
    return jnp.asarray(rows)


def byzantine(shape: Sequence[int]) -> int:
    return shape[0] // 4


def is_linear(cost: str) -> bool:
    """Whether a cost of the registry is O(m d): without m^2 d and without a sort along d."""
    return "m^2 d" not in cost and "log d" not in cost


def _rule(
    name: str,
    peer_rule: PeerImplementation | None,
    grads: jax.Array,
    path: Path,
    peer: Peer | None,
    budget: Budget,
    limit: float,
) -> Iterator[Comparison]:
    chosen = dict(peer_rule.options) if peer_rule else {}
    job = _job(peer_rule, grads, path) if peer_rule else None
    try:
        program, args = _program(name, chosen, grads)
    except ValueError as reason:
        yield Comparison(part="rules", what=name, shape=_text(grads.shape), sense="<=", other="-", note=str(reason))
        return
    note = peer_rule.note if peer_rule else ""
    if peer and peer_rule and job and peer_rule.tolerance:
        note = _check(name, peer_rule, program(*args)[0], job, peer, path.parent, limit)
        program, args = _program(name, chosen, grads)  # the first state was donated
    candidates = {"ours": _carried(program, args), "read": _read_candidate(grads)}
    if name in PRODUCTS or not is_linear(_spec(name).cost):
        candidates["product"] = _product_candidate(grads)
    if peer and job:
        candidates["peer_rule"] = peer.candidate(job, limit=limit)
    times, failures = interleaved(candidates, budget)
    what = name + (f"({', '.join(f'{k}={v!r}' for k, v in chosen.items())})" if chosen else "")
    yield from _rule_findings(what, name, peer_rule, grads.shape, times, failures.get("peer_rule", note))


def _rule_findings(
    what: str, name: str, peer_rule: PeerImplementation | None, shape: Any, times: Mapping[str, Any], note: str
) -> Iterator[Comparison]:
    common: dict[str, Any] = {"part": "rules", "what": what, "shape": _text(shape), "ours": times["ours"]}
    linear = is_linear(_spec(name).cost)
    target = READS.get(name, 4.0) if linear else None
    if peer_rule is None or peer_rule is PEER_IMPLEMENTATIONS[name][0]:
        yield Comparison(**common, sense="<=", other="one read", theirs=times["read"], target=target)
        if "product" in times:
            aim = PRODUCTS.get(name)
            yield Comparison(**common, sense="<=", other="G @ G.T", theirs=times["product"], target=aim)
    if peer_rule is not None:
        yield Comparison(
            **common, sense=">=", other=peer_rule.library, theirs=times.get("peer_rule"), target=1.0, note=note
        )


def _check(
    name: str, peer_rule: PeerImplementation, ours: Any, job: Any, peer: Peer, folder: Path, limit: float
) -> str:
    """Check that both aggregates agree. Return a note; a failure of the peer is also reported by its timing."""
    out = folder / "aggregate_of_peer.npy"
    try:
        peer.run(job, out=out, limit=limit)
    except Failed as reason:
        return str(reason)
    check_same(f"{name} against {peer_rule.library} {peer_rule.name}", ours, np.load(out), peer_rule.tolerance or 0.0)
    return peer_rule.note


def _job(peer_rule: PeerImplementation, grads: jax.Array, path: Path) -> dict[str, Any]:
    args = {**peer_rule.args, **({"f": byzantine(grads.shape)} if peer_rule.with_f else {})}
    return {"kind": "rule", "name": peer_rule.name, "args": args, "matrix": str(path), "shape": list(grads.shape)}


def _spec(name: str) -> Any:
    return AGGREGATORS[name] if name in AGGREGATORS else PREAGGREGATORS[name]


def _rows_only() -> Aggregator:
    """The rule behind a preaggregator whose rows are measured."""
    return Aggregator(lambda m, d: (), lambda rows, state, ctx: (rows, state, Info(jnp.zeros(len(rows)))))


def _context(f: Any, vector: Any, **known: Any) -> Context:
    return oneshot.make_context(jax.random.key(0), f, len(vector), lr=0.03, params=vector, previous=vector, **known)


def _program(name: str, chosen: Mapping[str, Any], grads: Any) -> tuple[Any, tuple[Any, ...]]:
    """A jitted function (rows, carry, f, vector) -> carry, and its first arguments.

    carry = (output, state) is donated at each call, as in a training loop. The server's loss, for rules that use it, is
    linear.
    """
    m, d = grads.shape
    spec = _spec(name)
    made = spec.factory(**options(name, spec, chosen))
    rule = made if name in AGGREGATORS else made(_rows_only())

    def apply(rows: Any, carry: Any, f: Any, vector: Any) -> Any:
        ctx = _context(f, vector, server_loss=lambda n: lambda params: jnp.vdot(vector, params))
        output, state, _ = rule.apply(rows, carry[1], ctx)
        return output, state

    f, vector = jnp.int32(byzantine(grads.shape)), jnp.ones(d)
    state = rule.init(m, d)
    shape = jax.eval_shape(apply, grads, (None, state), f, vector)[0]
    carry = (jnp.zeros(shape.shape), state)
    return jax.jit(apply, donate_argnums=1, keep_unused=True), (grads, carry, f, vector)


def _carried(program: Callable[..., Any], args: tuple[Any, ...]) -> Candidate:
    rows, first, *rest = args
    carry = [first]

    def call() -> Any:
        carry[0] = program(rows, carry[0], *rest)
        return carry[0]

    return local(call)


def _read_candidate(grads: jax.Array) -> Candidate:
    """The unit of cost: a sum over the workers by a matrix product reads the matrix once."""
    total = jax.jit(lambda weight, rows: jnp.einsum("m,md->d", weight, rows, precision=HIGHEST))
    return local(functools.partial(total, jnp.ones(len(grads)), grads))


def _product_candidate(grads: jax.Array) -> Candidate:
    gram = jax.jit(lambda rows: jnp.einsum("id,jd->ij", rows, rows, precision=HIGHEST))
    return local(functools.partial(gram, grads))


def _text(shape: Sequence[int]) -> str:
    return f"{shape[0]} x {shape[1]:,}"
