"""Two results folders compared run by run: equal and different runs, the first difference, and what changed."""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from byzsim.engine import StepMetrics
from byzsim.experiments import records
from byzsim.experiments.errors import counted
from byzsim.experiments.records import Record

ROUNDING = 1.5e-6  # records have 6 digits after the decimal point; float32 has 7 significant digits
BITS, ROUNDED, DIFFERENT = "same bits", "same as rounded", "different"
ONLY = ("only in A", "only in B")


class Difference(NamedTuple):
    """The first epoch in which the recorded numbers of two runs differ."""

    epoch: int
    fields: tuple[str, ...]


def first_difference(a: Record, b: Record) -> Difference | None:
    """The first epoch, from 1, with a difference beyond the records' rounding, and the fields; None without one."""
    names = [*a.get("metrics", ("accuracy", "loss")), *StepMetrics._fields]
    fields = [name for name in names if isinstance(a.get(name), list) and isinstance(b.get(name), list)]
    for epoch in range(max((len(each[name]) for each in (a, b) for name in fields), default=0)):
        differ = tuple(name for name in fields if not _close(a[name][epoch : epoch + 1], b[name][epoch : epoch + 1]))
        if differ:
            return Difference(epoch + 1, differ)
    return None


def _close(a: list[float | None], b: list[float | None]) -> bool:
    x, y = np.array(a, float), np.array(b, float)
    return len(x) == len(y) and bool(np.isclose(x, y, rtol=ROUNDING, atol=ROUNDING, equal_nan=True).all())


def verdict(a: Record, b: Record) -> str:
    """Compare by the digests if they are equal, otherwise by the recorded numbers."""
    if "digest" in a and a["digest"] == b.get("digest"):
        return BITS
    return DIFFERENT if first_difference(a, b) or a["diverged_epoch"] != b["diverged_epoch"] else ROUNDED


def compare(a: Sequence[Record], b: Sequence[Record], further: Sequence[str] = ()) -> pd.DataFrame:
    """One row for each run with its last record; the largest differences first.

    A, B: final accuracies in percent, or final losses of what has no accuracy, NaN where the run diverged. difference:
    B - A. noise: the sample standard deviation of A over its seeds, the scale for a difference.

    Args:
        further: the fields by which runs differ, beside rule, attack, alpha and seed.
    """
    keys = (*records.AXES, *further)
    ours, theirs = ({records.key_of(each, further): each for each in side} for side in (a, b))
    rows = [_row(dict(zip(keys, key, strict=True)), ours.get(key), theirs.get(key)) for key in {**ours, **theirs}]
    table = pd.DataFrame(rows, columns=[*_row(dict.fromkeys(keys), None, None)])
    cells = [name for name in keys if name != "seed"]
    table["noise"] = table.groupby(cells, dropna=False)["A"].transform("std")
    order = table["difference"].abs().where(table["verdict"] != DIFFERENT, table["difference"].abs().fillna(np.inf))
    return table.assign(order=order).sort_values("order", ascending=False, kind="stable").drop(columns="order")


def _row(key: dict[str, Any], a: Record | None, b: Record | None) -> dict[str, object]:
    finals = {name: final(each) for name, each in (("A", a), ("B", b))}
    row = key | finals | {"difference": finals["B"] - finals["A"]}
    if a is None or b is None:
        return row | {"verdict": ONLY[a is None], "epoch": None, "fields": "", "changed": ""}
    first = first_difference(a, b)
    return row | {
        "verdict": verdict(a, b),
        "epoch": first and first.epoch,
        "fields": ", ".join(first.fields) if first else "",
        "changed": ", ".join(records.changes(a, b)),
    }


def final(found: Record | None) -> float:
    """The accuracy at the end in percent, or the loss of what has none; NaN if the run diverged."""
    if found is None or found["diverged"]:
        return np.nan
    return 100 * found["accuracy"][-1] if "accuracy" in found else found.get("loss", [np.nan])[-1]


def lines(table: pd.DataFrame, further: Sequence[str] = ()) -> Iterable[str]:
    """The lines that `byzsim diff` prints."""
    keys = [*records.AXES, *further]
    count = Counter(table["verdict"])
    kinds = (BITS, ROUNDED, DIFFERENT, *ONLY)
    yield f"{counted(len(table), 'run')}: " + ", ".join(f"{count[kind]} {kind}" for kind in kinds)
    for changed, n in Counter(filter(None, table["changed"])).most_common():
        yield f"changed in {counted(n, 'run')}: {changed}"
    for kind in ONLY:
        for key in table.loc[table["verdict"] == kind, keys].itertuples(index=False, name=None):
            yield f"{kind}: {records.label(key, further)}"
    different = table[table["verdict"] == DIFFERENT]
    if len(different):
        yield different.drop(columns=["verdict", "changed"]).round(2).to_string(index=False, na_rep="-")
        yield "A, B: final accuracy in percent, or loss, - where diverged; noise: standard deviation of A over seeds;"
        yield "epoch, fields: the first difference"


def same(table: pd.DataFrame) -> bool:
    """Whether both folders have the same runs, with the same bits or the same recorded numbers."""
    return bool(table["verdict"].isin((BITS, ROUNDED)).all())
