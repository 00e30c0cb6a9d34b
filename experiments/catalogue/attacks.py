"""The learned attack compared with the papers' attacks: the error of each rule under each, as table and figure."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from byzsim import AGGREGATORS, ATTACKS, oneshot
from byzsim.experiments import files
from byzsim.experiments.catalogue.rules import Size, provenance_line
from byzsim.experiments.files import markdown_table, write_whole
from byzsim.experiments.report.figures import save
from matplotlib.figure import Figure

# The compared attacks: those of fixed strength, then those that search along a line, then gradient ascent.
ATTACKS_COMPARED: dict[str, tuple[str, Mapping[str, Any]]] = {
    "ALIE (z = 1.5)": ("alie", {"z": 1.5}),
    "inner product (0.1)": ("inner_product", {}),
    "min-max": ("min_max", {}),
    "min-sum": ("min_sum", {}),
    "optimal ALIE": ("optimal_alie", {}),
    "optimal inner product": ("optimal_inner_product", {}),
    "learned": ("learned", {"steps": 40, "restarts": 4}),
}
DRAWS = 20


def compare(size: Size, log: Callable[[str], object]) -> pd.DataFrame:
    """Error of each rule under each attack: median over draws of ||aggregate - h|| / sd, h the mean of honest rows.

    Honest rows are drawn from N(0.3, I); sd is the root of their mean squared distance to h. Rules are those that are
    functions of the rows of one step, with f within their guarantee, at most the given f and at least 1.
    """
    rows = []
    for name, spec in AGGREGATORS.items():
        if spec.traits & {"stateful", "server"} or spec.factory().redundancy > 1:
            continue
        f = max(min(size.f, spec.max_f(size.m)), 1)
        errors = {label: _error(name, attack, args, f, size) for label, (attack, args) in ATTACKS_COMPARED.items()}
        jax.clear_caches()  # hundreds of small programs would exhaust the memory maps of a process
        log(f"{name}: " + ", ".join(f"{label} {error:.2f}" for label, error in errors.items()))
        rows.append({"rule": name, "f": f} | errors)
    return pd.DataFrame(rows)


def _error(rule: str, attack: str, args: Mapping[str, Any], f: int, size: Size) -> float:
    made, forge = AGGREGATORS[rule].factory(), ATTACKS[attack].factory(**args)
    byz = jnp.arange(size.m) < f

    def one(key: jax.Array) -> jax.Array:
        sent = 0.3 + jax.random.normal(key, (size.m, size.d))
        honest = sent[f:]
        mean = honest.mean(axis=0)
        ctx = oneshot.make_context(key, f, size.d, sent.dtype)
        rows, _ = oneshot.forged_rows(forge, sent, byz, oneshot.against(made, ctx))
        out, _ = oneshot.aggregate(made, rows, ctx)
        return jnp.linalg.norm(out - mean) / jnp.sqrt(jnp.square(honest - mean[None]).sum(axis=1).mean())

    keys = jax.random.split(jax.random.key(size.seed), DRAWS)
    return float(np.median(jax.jit(lambda keys: jax.lax.map(one, keys))(keys)))


def write(errors: pd.DataFrame, size: Size, folder: Path) -> None:
    """learned.md, learned.csv, learned.png and .svg in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    save(picture(errors), folder / "learned")
    write_whole(folder / "learned.csv", files.csv(errors, float_format="%.4f").encode())
    best = errors[list(ATTACKS_COMPARED)].drop(columns="learned").max(axis=1)
    wins = int((errors["learned"] > best).sum())
    alie = int((errors["learned"] > errors["ALIE (z = 1.5)"]).sum())
    shown = [[f"{x:.2f}" if isinstance(x, float) else x for x in row] for row in errors.to_numpy()]
    text = (
        f"# How far attacks move rules\n\n{(compare.__doc__ or '').partition('Rules are')[0].strip()}\n\n"
        f"m = {size.m}, d = {size.d}, {DRAWS} draws. {provenance_line(size)}\n\n"
        f"The learned attack exceeds ALIE in {alie} of {len(errors)} rules, and every other attack "
        f"in {wins}.\n\n"
        f"{markdown_table(errors.columns, shown)}\n\n![Error by rule and attack](learned.png)\n"
    )
    write_whole(folder / "learned.md", "\n".join(line.strip() for line in text.split("\n")).encode())


def picture(errors: pd.DataFrame) -> Figure:
    """One row of dots for each rule, sorted by the learned attack's error; logarithmic, since the mean is unbounded."""
    ordered = errors.sort_values("learned", ascending=True)
    figure = Figure(figsize=(7.5, 1.6 + 0.27 * len(ordered)), layout="constrained")
    axis = figure.subplots()
    markers = dict(zip(ATTACKS_COMPARED, ("o", "v", "s", "D", "^", "P", "*"), strict=True))
    for i, (label, marker) in enumerate(markers.items()):
        learned = label == "learned"
        axis.plot(
            ordered[label].clip(lower=1e-3),
            range(len(ordered)),
            linestyle="none",
            marker=marker,
            markersize=11 if learned else 6,
            color="#D55E00" if learned else f"C{i}",
            label=label,
            zorder=3 if learned else 2,
        )
    axis.set_yticks(range(len(ordered)), list(ordered["rule"]))
    axis.set_xscale("log")
    axis.set_xlabel("error: ||aggregate − h|| in standard deviations of honest rows")
    axis.grid(axis="both", color="0.9")
    axis.set_axisbelow(True)
    figure.legend(loc="outside lower center", ncols=4, frameon=False)
    return figure
