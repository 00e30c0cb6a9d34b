"""The catalogue, measured: every rule with its facts."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import byzsim
import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from byzsim import AGGREGATORS, ATTACKS, MODIFIERS, PREAGGREGATORS, Spec, check_shapes, oneshot, process
from byzsim.experiments import files, records
from byzsim.experiments.files import markdown_table, write_whole

UNBOUNDED = 1e6  # a larger ratio grows with the strength of the attack
BAD = {"NaN": np.nan, "inf": np.inf, "-inf": -np.inf}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Size:
    """Where the facts are measured."""

    m: int = 11
    """workers"""
    f: int = 2
    """Byzantine workers; where a rule's bound is lower, that bound, but at least 1"""
    d: int = 10
    """coordinates"""
    seed: int = 0


def check(size: Size) -> None:
    """Raises ValueError for sizes that make no sense, or more than memory holds."""
    if not (size.m >= 3 and 1 <= size.f <= (size.m - 1) // 2 and size.d >= 1 and 0 <= size.seed < 2**32):
        raise ValueError(
            f"m={size.m}, f={size.f}, d={size.d}, seed={size.seed}: expected 1 <= f <= (m - 1) // 2, d >= 1 and "
            "a seed from 0 to 2**32 - 1"
        )
    check_shapes.fits(f"m={size.m} candidates of m rows", 4 * size.m**2 * size.d)


def measure(size: Size, say: Callable[[str], object]) -> pd.DataFrame:
    """One row for each aggregation rule: what the registry says of it, and what is measured."""
    rows = []
    for count, (name, spec) in enumerate(AGGREGATORS.items(), 1):
        facts = _facts(name, spec, size)
        rows.append(facts)
        jax.clear_caches()  # hundreds of small programs; a process may map only so much code
        say(
            f"[{count}/{len(AGGREGATORS)}] {name}: kappa at least {facts['kappa']}, found by {facts['found by'] or '-'}"
        )
    return pd.DataFrame(rows)


def _facts(name: str, spec: Spec, size: Size) -> dict[str, Any]:
    bound = spec.max_f(size.m)
    f = max(min(size.f, bound), 1)
    found = _robustness(name, f, size)
    return {
        "rule": name,
        "source": spec.source,
        "max_f": bound,
        "traits": " ".join(sorted(spec.traits)),
        "state": "yes" if "stateful" in spec.traits else "",
        "cost": f"O({spec.cost})",
        "f": f,
        "kappa": found and (f"{found.kappa:.3g}" if found.kappa < UNBOUNDED else "unbounded"),
        "published": found and found.bound and f"{found.bound:.3g}",
        "found by": found and f"{found.attack}, honest: {found.honest}",
        "non-finite rows": non_finite(spec, size),
    }


def _robustness(name: str, f: int, size: Size) -> byzsim.Robustness | None:
    try:
        return byzsim.robustness(name, size.m, f, size.d, seed=size.seed)
    except ValueError:
        return None  # not a function of one step's rows


@process.non_finite()
def non_finite(spec: Spec, size: Size) -> str:
    """What becomes of max_f rows (at least one) of NaN or infinity: left out, bounded, or passed on."""
    bad = jnp.arange(size.m) < max(spec.max_f(size.m), 1)
    normal = jax.random.normal(jax.random.key(size.seed), (size.m, size.d))
    ctx = oneshot.make_context(jax.random.key(0), int(bad.sum()), size.d, normal.dtype, server_loss=oneshot.summed)
    what: dict[str, list[str]] = {}
    for text, value in BAD.items():
        out, info = oneshot.aggregate(spec.factory(), jnp.where(bad[:, None], value, normal), ctx)
        outcome = "left out" if float(info.weight[bad].sum()) == 0 else "bounded"
        what.setdefault(outcome if bool(jnp.isfinite(out).all()) else "passed on", []).append(text)
    return next(iter(what)) if len(what) == 1 else "; ".join(f"{', '.join(v)}: {k}" for k, v in what.items())


def write(facts: pd.DataFrame, size: Size, folder: Path) -> None:
    """README.md and rules.csv in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    write_whole(folder / "rules.csv", files.csv(facts).encode())
    write_whole(folder / "README.md", _page(facts, size).encode())


def _page(facts: pd.DataFrame, size: Size) -> str:
    listed = [("Preaggregators", PREAGGREGATORS), ("Attacks", ATTACKS), ("Modifiers of attacks", MODIFIERS)]
    parts = [
        "# The zoo",
        made_by(size),
        "## Aggregation rules",
        "max_f: the largest f with a guarantee at this m. kappa: the worst ratio of `byzsim.robustness` with the f "
        "beside it, a lower bound on the rule's coefficient; empty for rules with memory, with data of the server's "
        "own or with redundant work, to which it does not apply. published: the upper bound in the literature, from "
        "memory where the rule's docstring says so. non-finite rows: what becomes of max_f of them (at least one).",
        markdown_table(facts.columns, facts.fillna("").astype(str).to_numpy()),
    ]
    for title, zoo in listed:
        rows = [(name, spec.summary, spec.source, " ".join(sorted(spec.traits))) for name, spec in zoo.items()]
        parts += [f"## {title}", markdown_table(("name", "what", "source", "traits"), rows)]
    return "\n\n".join(parts) + "\n"


def made_by(size: Size) -> str:
    """How a page of the catalogue was made."""
    return records.made_by(f"byzsim zoo --m {size.m} --f {size.f} --d {size.d} --seed {size.seed}", records.origin())
