"""Two folders of results, run by run: which are the same, which differ, from where on, and what has changed."""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from byzsim import History
from byzsim.experiments import records
from byzsim.experiments.records import Record

ROUNDING = 1.5e-6  # records have 6 digits after the point, and float32 has 7 in all
BITS, ROUNDED, DIFFERENT = "same bits", "same as rounded", "different"
ONLY = ("only in A", "only in B")


class Parting(NamedTuple):
    """Where two runs' recorded numbers part."""

    epoch: int
    fields: tuple[str, ...]


def parting(a: Record, b: Record) -> Parting | None:
    """The first epoch, from 1, with a difference beyond the records' rounding, and in what; None if there is none."""
    fields = [name for name in History._fields if isinstance(a.get(name), list) and isinstance(b.get(name), list)]
    for epoch in range(max(len(a["accuracy"]), len(b["accuracy"]))):
        differ = tuple(name for name in fields if not _close(a[name][epoch : epoch + 1], b[name][epoch : epoch + 1]))
        if differ:
            return Parting(epoch + 1, differ)
    return None


def _close(a: list[float | None], b: list[float | None]) -> bool:
    x, y = np.array(a, float), np.array(b, float)
    return len(x) == len(y) and bool(np.isclose(x, y, rtol=ROUNDING, atol=ROUNDING, equal_nan=True).all())


def verdict(a: Record, b: Record) -> str:
    """By digest where both have one and it is equal, else by the recorded numbers."""
    if "digest" in a and a["digest"] == b.get("digest"):
        return BITS
    return DIFFERENT if parting(a, b) or a["diverged_epoch"] != b["diverged_epoch"] else ROUNDED


def compare(a: Sequence[Record], b: Sequence[Record]) -> pd.DataFrame:
    """A row for each run, found by rule, attack, alpha and seed; of several records the last; the worst rows first.

    A, B are final accuracies in percent, NaN where the run diverged; difference is B - A in points; noise the sample
    standard deviation of A over its seeds, with which a difference is to be compared.
    """
    ours, theirs = ({records.place(each): each for each in side} for side in (a, b))
    rows = [_row(where, ours.get(where), theirs.get(where)) for where in {**ours, **theirs}]
    table = pd.DataFrame(rows, columns=[*_row(("", "", 0.0, 0), None, None)])
    table["noise"] = table.groupby(["rule", "attack", "alpha"])["A"].transform("std")
    order = table["difference"].abs().where(table["verdict"] != DIFFERENT, table["difference"].abs().fillna(np.inf))
    return table.assign(order=order).sort_values("order", ascending=False, kind="stable").drop(columns="order")


def _row(where: records.Place, a: Record | None, b: Record | None) -> dict[str, object]:
    row = dict(zip(("rule", "attack", "alpha", "seed"), where, strict=True))
    finals = {name: _percent(each) for name, each in (("A", a), ("B", b))}
    row |= finals | {"difference": finals["B"] - finals["A"]}
    if a is None or b is None:
        return row | {"verdict": ONLY[a is None], "epoch": None, "fields": "", "changed": ""}
    where_from = parting(a, b)
    return row | {
        "verdict": verdict(a, b),
        "epoch": where_from and where_from.epoch,
        "fields": ", ".join(where_from.fields) if where_from else "",
        "changed": ", ".join(records.changes(a, b)),
    }


def _percent(found: Record | None) -> float:
    return np.nan if found is None or found["final_accuracy"] is None else 100 * found["final_accuracy"]


def lines(table: pd.DataFrame) -> Iterable[str]:
    """What `byzsim diff` prints."""
    count = Counter(table["verdict"])
    yield f"{len(table)} runs: " + ", ".join(f"{count[kind]} {kind}" for kind in (BITS, ROUNDED, DIFFERENT, *ONLY))
    for changed, n in Counter(filter(None, table["changed"])).most_common():
        yield f"changed in {n} runs: {changed}"
    for kind in ONLY:
        for row in table[table["verdict"] == kind].itertuples():
            yield f"{kind}: {records.label((row.rule, row.attack, row.alpha, row.seed))}"
    different = table[table["verdict"] == DIFFERENT]
    if len(different):
        yield different.drop(columns=["verdict", "changed"]).round(2).to_string(index=False, na_rep="-")
        yield "A, B: final accuracy in percent, - where it diverged; noise: standard deviation of A over its seeds;"
        yield "epoch, fields: where the curves part"


def same(table: pd.DataFrame) -> bool:
    """Every run is on both sides, with the same bits or the same recorded numbers."""
    return bool(table["verdict"].isin((BITS, ROUNDED)).all())
