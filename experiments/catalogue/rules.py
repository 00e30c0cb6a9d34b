"""The catalogue, measured: every rule with its facts, and the definitions that differ between sources, side by side."""

import dataclasses
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import byzsim
import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from byzsim import AGGREGATORS, ATTACKS, MODIFIERS, PRE_RULES, Entry, Round, grid, trial
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
    trial.fits(f"m={size.m} candidates of m rows", 4 * size.m**2 * size.d)


def measure(size: Size, say: Callable[[str], object]) -> pd.DataFrame:
    """One row for each aggregation rule: what the registry says of it, and what is measured."""
    rows = []
    for count, (name, entry) in enumerate(AGGREGATORS.items(), 1):
        facts = _facts(name, entry, size)
        rows.append(facts)
        jax.clear_caches()  # hundreds of small programs; a process may map only so much code
        say(
            f"[{count}/{len(AGGREGATORS)}] {name}: kappa at least {facts['kappa']}, found by {facts['found by'] or '-'}"
        )
    return pd.DataFrame(rows)


def _facts(name: str, entry: Entry, size: Size) -> dict[str, Any]:
    bound = entry.max_f(size.m)
    f = max(min(size.f, bound), 1)
    found = _robustness(name, f, size)
    return {
        "rule": name,
        "source": entry.source,
        "max_f": bound,
        "traits": " ".join(sorted(entry.traits)),
        "state": "yes" if "stateful" in entry.traits else "",
        "cost": f"O({entry.cost})",
        "f": f,
        "kappa": found and (f"{found.kappa:.3g}" if found.kappa < UNBOUNDED else "unbounded"),
        "published": found and found.bound and f"{found.bound:.3g}",
        "found by": found and f"{found.attack}, honest: {found.honest}",
        "non-finite rows": non_finite(entry, size),
    }


def _robustness(name: str, f: int, size: Size) -> byzsim.Robustness | None:
    try:
        return byzsim.robustness(name, size.m, f, size.d, seed=size.seed)
    except ValueError:
        return None  # not a function of one step's rows


@grid.non_finite()
def non_finite(entry: Entry, size: Size) -> str:
    """What becomes of max_f rows (at least one) of NaN or infinity: left out, bounded, or passed on."""
    bad = jnp.arange(size.m) < max(entry.max_f(size.m), 1)
    normal = jax.random.normal(jax.random.key(size.seed), (size.m, size.d))
    what: dict[str, list[str]] = {}
    for text, value in BAD.items():
        out, weight = _once(entry, jnp.where(bad[:, None], value, normal), int(bad.sum()))
        outcome = "left out" if float(weight[bad].sum()) == 0 else "bounded"
        what.setdefault(outcome if bool(jnp.isfinite(out).all()) else "passed on", []).append(text)
    return next(iter(what)) if len(what) == 1 else "; ".join(f"{', '.join(v)}: {k}" for k, v in what.items())


def _once(entry: Entry, rows: jax.Array, f: int) -> tuple[jax.Array, jax.Array]:
    zero = jnp.zeros(rows.shape[1])
    rnd = Round(jax.random.key(0), jnp.int32(0), jnp.int32(f), 1.0, zero, zero, lambda n: lambda params: params.sum())
    made = entry.make()
    out, _, info = made.apply(rows, made.init(*rows.shape), rnd)
    return out, info.weight


def write(facts: pd.DataFrame, size: Size, folder: Path) -> None:
    """README.md and rules.csv in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    write_whole(folder / "rules.csv", files.csv(facts).encode())
    write_whole(folder / "README.md", _page(facts, size).encode())


def _page(facts: pd.DataFrame, size: Size) -> str:
    listed = [("Pre-rules", PRE_RULES), ("Attacks", ATTACKS), ("Modifiers of attacks", MODIFIERS)]
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
        rows = [(name, entry.summary, entry.source, " ".join(sorted(entry.traits))) for name, entry in zoo.items()]
        parts += [f"## {title}", markdown_table(("name", "what", "source", "traits"), rows)]
    return "\n\n".join(parts) + "\n"


def made_by(size: Size) -> str:
    """How a page of the catalogue was made."""
    return records.made_by(f"byzsim zoo --m {size.m} --f {size.f} --d {size.d} --seed {size.seed}", records.origin())


# Of 20,000 drawn matrices the one on which most readings of the rules differ.
EXAMPLE = [[12, 7], [2, 6], [12, 1], [-4, 6], [0, -4], [4, 9], [1, -2], [-2, -1]]
EXAMPLE_F = 1


def several() -> list[str]:
    """The names that stand for several definitions."""
    return [name for zoo in (AGGREGATORS, PRE_RULES, ATTACKS, MODIFIERS) for name, e in zoo.items() if e.readings]


def definitions(names: Sequence[str] = ()) -> str:
    """The page of these of the names that stand for `several` definitions, or all; what each gives on a small input."""
    parts = [
        "# Definitions that differ",
        "One name, several definitions: each is an option here. The first is the default, and the original paper's "
        "unless the member's docstring says why it is not. Made from the registry by `byzsim definitions`. "
        "The last column is what each gives on the matrix below.",
        f"Rules see these {len(EXAMPLE)} rows with f = {EXAMPLE_F}, and (1, 1) as the server's own gradient:",
        "```\n" + "\n".join(" ".join(f"{x:3g}" for x in row) for row in EXAMPLE) + "\n```",
        f"Attacks see the first {len(EXAMPLE) - 2} of them as honest work, and the last two as what honest work of the "
        "two Byzantine workers would have been, and (1, 1) as the full gradient; shown "
        "is what the first sends, in the first step, to `median`. "
        "Pre-rules stand before `median`.",
    ]
    zoos = {"Aggregation rules": AGGREGATORS, "Pre-rules": PRE_RULES, "Attacks": ATTACKS, "Modifiers": MODIFIERS}
    for title, zoo in zoos.items():
        shown = {name: zoo[name] for name in names or several() if name in zoo}
        parts += [f"## {title}"] * bool(shown)
        for name, entry in shown.items():
            rows = [
                (r.name, _options(r.options), r.formula, r.source, _shown(title, name, r.options))
                for r in entry.readings
            ]
            header = ("reading", "options", "what it computes", "who", "on the example")
            parts += [f"### {name}", f"{entry.summary} Source: {entry.source}.", markdown_table(header, rows)]
    return "\n\n".join(parts) + "\n"


def _options(given: Mapping[str, Any]) -> str:
    return "`" + ", ".join(f"{key}={value!r}" for key, value in given.items()) + "`" if given else "default"


def _shown(title: str, name: str, given: Mapping[str, Any]) -> str:
    if title == "Attacks":
        if "data" in ATTACKS[name].traits:
            return "labels"
        vector = byzsim.attack(
            name, EXAMPLE[:-2], n_byz=2, own=EXAMPLE[-2:], full_gradient=[1.0, 1.0], rule="median", **given
        )[0]
    else:
        rule = f"{name}+median" if title == "Pre-rules" else name
        with warnings.catch_warnings(action="ignore", category=UserWarning):  # a pre-rule may leave too few rows for f
            vector = byzsim.aggregate(rule, EXAMPLE, f=EXAMPLE_F, server_gradient=[1.0, 1.0], **given)
    return "(" + ", ".join(f"{float(x):.3g}" for x in vector) + ")"
