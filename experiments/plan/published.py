"""Numbers of papers, matched with the cells of a table."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
from byzsim.experiments.errors import UserError
from byzsim.experiments.plan.settings import changed
from byzsim.experiments.plan.table import WORST, Label, Published, Table, positions

FOLDER = Path(__file__).parents[1] / "tables" / "published"
Numbers = Mapping[tuple[Label, ...], Published]
"""settings of the shown axes, in the table's order -> what the source says"""


def read(table: Table) -> pd.DataFrame | None:
    """The published numbers: a column of text for each shown axis, and mean, sd, n as numbers.

    Raises:
        UserError: there is no such file, or it has other columns or other things than numbers.
    """
    where = table.published
    if where is None:
        return None
    name = f"the published numbers of {table.name}" if isinstance(where, pd.DataFrame) else str(where)
    try:
        frame = where if isinstance(where, pd.DataFrame) else _csv(where)
    except OSError as error:
        raise UserError(f"cannot read {name}: {error.strerror}") from None
    except ValueError as error:
        raise UserError(f"{name} is not a table: {str(error).strip().splitlines()[0]}") from None
    frame = frame.rename(columns={table.metric: "mean"})
    needed = [each for each in table.shown if _varies(table, each)]
    if missing := [column for column in (*needed, "mean") if column not in frame]:
        axes = ", ".join(table.shown)
        raise UserError(
            f"{name} has no column {missing[0]!r}: expected {axes}, {table.metric}, and optionally sd, n, source"
        )
    try:
        numbers = {column: pd.to_numeric(frame[column]) for column in ("mean", "sd", "n") if column in frame}
    except (ValueError, TypeError) as error:
        raise UserError(f"{name} is not a table of numbers: {error}") from None
    return frame.assign(**{each: frame[each].map(str) for each in table.shown if each in frame}, **numbers)


def _csv(where: str | Path) -> pd.DataFrame:
    path = FOLDER / where if (FOLDER / where).is_file() else Path(where)
    return pd.read_csv(path, dtype=str, keep_default_na=False)  # "nan" is an attack


def _varies(table: Table, name: str) -> bool:
    return len(table.by_name[name].settings) > 1


def match(table: Table, frame: pd.DataFrame | None, *, strict: bool) -> Numbers:
    """The published number of each cell that has one.

    Args:
        strict: whether a row without a cell is an error.
    Raises:
        UserError: for such a row; for two rows of one cell.
    """
    if frame is None:
        return {}
    known = {_key(cell): tuple(cell.values()) for cell in cells(table)}
    columns = [name for name in table.shown if name in frame]
    found: dict[tuple[Label, ...], Published] = {}
    for row in frame.to_dict("records"):
        position = {
            name: row[name] if name in columns else next(iter(table.by_name[name].settings)) for name in table.shown
        }
        cell = known.get(_key(position))
        if cell is None and strict:
            words = ", ".join(f"{name} {row[name]}" for name in columns)
            raise UserError(f"table {table.name}: the published number of {words} matches no cell")
        if cell in found:
            raise UserError(f"table {table.name}: two published numbers of {', '.join(map(str, cell))}")
        if cell is not None:
            found[cell] = Published(*(float(row.get(name, math.nan)) for name in ("mean", "sd", "n")))
    return found


def cells(table: Table) -> list[dict[str, Label]]:
    """The positions of the shown axes, and those of the worst over one of them."""
    every = list(positions(table, table.shown))
    if table.worst_over not in table.shown:
        return every
    return every + list({_key(each): each for each in ({**each, table.worst_over: WORST} for each in every)}.values())


def _key(position: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(_printed(each) for each in position.values())


def _printed(each: Any) -> str:
    """With four digits of a number: 0.1818 is 2 / 11."""
    try:
        return f"{float(each):.4g}"
    except ValueError:
        return str(each)


def check(table: Table) -> None:
    """Check that every published number of a table, as its file has it, has a cell.

    Raises:
        UserError: if one has not.
    """
    match(table, read(table), strict=True)


def numbers(original: Table, table: Table, *, quick: bool) -> Numbers:
    """The published numbers of a table's cells, if nothing but seeds, and which settings there are, was changed.

    A part of the table, and more settings, keep the numbers; a quick run has none.
    """
    same = (
        not quick
        and not changed(original, table)
        and all(
            fields == known.settings.get(label, fields)
            for each in table.axes
            if (known := original.by_name.get(each.name))
            for label, fields in each.settings.items()
        )
    )
    return match(table, read(table), strict=False) if same else {}
