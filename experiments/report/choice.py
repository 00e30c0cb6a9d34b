"""The best setting of an axis: the largest worst case, on examples held out of training."""

from collections.abc import Iterable, Sequence

import pandas as pd
from byzsim.experiments.files import markdown_table
from byzsim.experiments.plan import Labels, Table, label
from byzsim.experiments.plan.runs import Chosen, group
from byzsim.experiments.report.summary import Record, summarise, worst_of


def choose(table: Table, found: Iterable[Record]) -> Chosen:
    """For each group of cells the setting of the axis `choose` whose worst number over `worst_over` is best.

    A group has all settings of `worst_over`, as an attacker may choose among them; it gets a setting once all of its
    held-out runs are recorded. Of equal settings the first is chosen; one that diverges anywhere is the last choice.
    """
    return {key: rows.iloc[0][str(table.choose)] for key, rows in _ranked(table, found).items()}


def _ranked(table: Table, found: Iterable[Record]) -> dict[tuple, pd.DataFrame]:
    """For each group its settings with their worst numbers, the best first."""
    held_out, over = table.validation(), str(table.choose)
    cells: dict[tuple, dict] = {}
    for row in summarise(found, held_out, every_seed=False).to_dict("records"):
        cells.setdefault(group(table, row), {}).setdefault(row[over], []).append(row)
    ranked = {}
    for key, settings in cells.items():
        worst = {setting: worst_of(rows, table) for setting, rows in settings.items()}
        if all(worst.values()):
            rows = pd.DataFrame([{over: setting, "worst": row["mean"]} for setting, row in worst.items() if row])
            ranked[key] = rows.sort_values("worst", ascending=table.lower_is_better, kind="stable", na_position="last")
    return ranked


def section(table: Table, found: Sequence[Record], labels: Labels) -> str:
    """The section of the report that says what was chosen, and by what numbers."""
    names = [name for name in table.shown if name != table.worst_over]
    head = [*(label(name, labels) for name in names), f"chosen {label(str(table.choose), labels)}", "all of them"]
    rows = []
    for key, ranked in _ranked(table, found).items():
        numbers = [
            f"{label(setting, labels)}: {worst:.4g}" for setting, worst in ranked.itertuples(index=False, name=None)
        ]
        chosen = label(ranked.iloc[0][str(table.choose)], labels)
        rows.append([*(label(each, labels) for each in key), chosen, ", ".join(numbers)])
    over = f" over the settings of {label(table.worst_over, labels)}" if table.worst_over else ""
    text = f"By the worst number{over} on examples held out of training; trained on all examples after that."
    return f"## What was chosen\n\n{text}\n\n{markdown_table(head, rows)}\n"
