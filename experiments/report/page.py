"""The report of a table: README.md, table.md, table.csv, table.tex and figures, and a table within another page.

Every number comes from the given records, so two reports of the same records have the same bytes.
"""

import math
import re
from collections.abc import Callable, Sequence
from pathlib import Path

import pandas as pd
from byzsim.experiments.errors import UserError, counted
from byzsim.experiments.files import markdown_table, write_whole
from byzsim.experiments.plan import WORST, Labels, Picture, Table
from byzsim.experiments.plan.published import Numbers
from byzsim.experiments.report import choice, plot
from byzsim.experiments.report.figures import accuracy_curves, accuracy_map, difference_map, mark_quick, save
from byzsim.experiments.report.latex import to_tex
from byzsim.experiments.report.summary import Record, compared, provenance, summarise
from byzsim.experiments.report.text import (
    BEYOND,
    IDLE,
    NEVER,
    Wording,
    axis_text,
    printed_grids,
    setting_text,
    to_csv,
    to_markdown,
)

MAX_PANELS = 60  # of the figure of curves; more would be unreadable


def build(
    records: Sequence[Record],
    folder: Path,
    table: Table,
    wording: Wording,
    published: Numbers | None = None,
    *,
    every_seed: bool = True,
) -> tuple[str, pd.DataFrame]:
    """Write README.md, table.md, table.csv, table.tex and the figures (png, svg) into `folder`.

    Records of other runs are left out. Where no cell has a published number, the report does not mention a paper: no
    source, column, mark, difference or appendix.

    Args:
        published: the numbers to compare with.
        every_seed: whether all recorded seeds count, and not those of the table alone.
    Returns:
        The text of table.md, which fits into another page, and the summary.
    Raises:
        UserError: quick and full runs are mixed.
    """
    chosen = choice.choose(table, records) if table.choose else None
    summary, labels = summarise(records, table, published, every_seed=every_seed, chosen=chosen), wording.labels
    if summary.empty:
        raise UserError("nothing is chosen yet: the runs on held-out examples are not all recorded")
    used = _used(records, summary)
    _refuse_mixed(used, wording.quick)
    origin = provenance(used)
    body = to_markdown(summary, table, wording, origin)
    text = f"**{wording.title}**\n\n{body}"
    extra = table.appendix(summary, labels) if table.appendix and compared(summary) else ""
    extra += choice.section(table, records, labels) if table.choose else ""
    pictures = _pictures(used, summary, table, wording)
    shown = "\n".join(f"## {p.title}\n\n![{p.title}]({stem}.png)\n\n{p.text}\n" for stem, p in pictures.items())
    failed = _failed_within_bound(summary, table, labels) + _never_acted(summary, table, labels)
    files = {
        "table.md": text,
        "table.csv": to_csv(summary, table, origin=origin, quick=wording.quick),
        "table.tex": to_tex(summary, table, wording, origin),
        "README.md": f"# {wording.title}\n\n{body}\n{failed}\n\n{shown}\n{extra}",
    }
    folder.mkdir(parents=True, exist_ok=True)
    for stem in {*PICTURES, *OLD_PICTURES, *pictures}:
        if stem in pictures:
            save(pictures[stem].figure, folder / stem)
        else:  # an earlier report may have made it
            for kind in ("png", "svg"):
                (folder / f"{stem}.{kind}").unlink(missing_ok=True)
    for name, content in files.items():
        write_whole(folder / name, content.encode())
    return text, summary


PICTURES = ("curves", "differences", "accuracies")
OLD_PICTURES = ("figure3",)  # the name of "curves" in earlier versions


def _pictures(records: Sequence[Record], summary: pd.DataFrame, table: Table, wording: Wording) -> dict[str, Picture]:
    if table.pictures:
        found = table.pictures(records, summary, wording.labels)
        for picture in found.values():
            mark_quick(picture.figure, wording.quick)
        return found
    if {*table.shown} != {"rule", "attack", "alpha"} or table.metric != "accuracy":
        return _curves(records, summary, table, wording)
    quick, labels, summary = wording.quick, wording.labels, summary[summary["attack"] != WORST]
    rules, attacks, alphas = (list(summary[key].unique()) for key in ("rule", "attack", "alpha"))
    found = {}
    if len(rules) * len(attacks) <= MAX_PANELS:
        curves = accuracy_curves(records, rules=rules, attacks=attacks, alphas=alphas, quick=quick, labels=labels)
        found["curves"] = Picture(
            curves,
            "Test accuracy over epochs",
            "One row for each attack, one column for each rule, one curve for each α. Curves are means over seeds, "
            "bands their range; a cross marks the end of a diverged run.",
        )
    if compared(summary):
        differences = difference_map(summary, quick=quick, labels=labels)
        text = "In points of test accuracy, for each attack, rule and α."
        found["differences"] = Picture(differences, "Ours minus the paper's", text)
    else:
        text = f"One row for each attack, one column for each rule. {BEYOND}: beyond the rule's guarantee."
        text += f" {IDLE}: {NEVER}." * bool(summary["idle"].any())
        found["accuracies"] = Picture(
            accuracy_map(summary, quick=quick, labels=labels), "Test accuracy at the final epoch", text
        )
    return found


def _curves(records: Sequence[Record], summary: pd.DataFrame, table: Table, wording: Wording) -> dict[str, Picture]:
    """The metric over measurements, for a table of any axes; none where over three of them have several settings."""
    frame = _measurements(records, summary, table)
    column = next(iter(table.places[1]), None)
    others = [name for name in table.shown if name != column and frame[name].nunique() > 1]
    rows = others[0] if len(others) > 1 else None
    sizes = [frame[name].nunique() for name in (rows, column) if name]
    if len(others) > 2 or frame.empty or math.prod(sizes) > MAX_PANELS:
        return {}
    figure = plot.curves(
        frame, table.metric, rows=rows, columns=column, lines=others[-1] if others else None, labels=wording.labels
    )
    mark_quick(figure, wording.quick)
    words = ", ".join(axis_text(name, wording.labels) for name in table.shown)
    text = f"Over all measurements, for each {words}. Curves are means over seeds, bands their range."
    return {"curves": Picture(figure, axis_text(table.metric, wording.labels), text)}


def _measurements(records: Sequence[Record], summary: pd.DataFrame, table: Table) -> pd.DataFrame:
    """A row for each cell, run and measurement; the runs of a cell are numbered, as seeds are."""
    by_id = {record["id"]: record for record in records}
    cells = [cell for _, cell in summary.iterrows() if WORST not in {*cell[table.shown]}]
    rows = [
        {**cell[table.shown], "seed": i, "measurement": k + 1, table.metric: value, "diverged": by_id[id]["diverged"]}
        for cell in cells
        for i, id in enumerate(cell["ids"].split())
        for k, value in enumerate(by_id[id][table.metric])
    ]
    frame = pd.DataFrame(rows, columns=[*table.shown, "seed", "measurement", table.metric, "diverged"])
    frame.attrs["axes"] = [*table.shown, "seed"]
    return frame.astype({table.metric: float})


def _failed_within_bound(summary: pd.DataFrame, table: Table, labels: Labels) -> str:
    """A sentence about cells that diverged although the rule's guarantee covers their Byzantine workers."""
    summary = summary[summary[table.worst_over] != WORST] if table.worst_over in table.shown else summary
    inside = summary[(summary["n"] > 0) & (summary["beyond_bound"] == False)]  # noqa: E712 (missing cells have neither)
    failed = inside[inside["n_diverged"] > 0]
    names = [
        _cell_name(cell, [name for name in table.shown if name != "alpha"], labels) for _, cell in failed.iterrows()
    ]
    return f"Of {len(inside)} cells within the rule's guarantee, {len(failed)} diverged" + (
        f": {'; '.join(names)}." if names else "."
    )


def _never_acted(summary: pd.DataFrame, table: Table, labels: Labels) -> str:
    """A sentence about cells in which a filtering or clipping rule behaved as the mean."""
    names = [
        _cell_name(cell, table.shown, labels)
        for _, cell in summary[summary["idle"]].iterrows()
        if WORST not in {*cell[table.shown]}
    ]
    return f" In {counted(len(names), 'cell')}, marked {IDLE}, {NEVER}: {'; '.join(names)}." if names else ""


def _cell_name(cell: pd.Series, axes: Sequence[str], labels: Labels) -> str:
    """Such as "Krum under ALIE (20 %)"."""
    words = {name: setting_text(name, cell[name], labels) for name in axes}
    rule, attack, alpha = (words.pop(name, "") for name in ("rule", "attack", "alpha"))
    main = " under ".join(filter(None, [rule, attack]))
    others = [f"{axis_text(name, labels)} {text}" for name, text in words.items()]
    return ", ".join(filter(None, [f"{main} ({alpha})" if alpha else main, *others]))


def _used(records: Sequence[Record], summary: pd.DataFrame) -> list[Record]:
    """The records that a cell has, each once, in their order."""
    ids = {id for cell in summary["ids"] for id in cell.split()}
    return list({record["id"]: record for record in records if record["id"] in ids}.values())


def _refuse_mixed(records: Sequence[Record], quick: bool) -> None:
    other = sum(r["quick"] != quick for r in records)
    if other:
        kind, wanted = ("full", "quick") if quick else ("quick", "full")
        raise UserError(
            f"{other} of {len(records)} records are {kind} runs, but this is a report of {wanted} runs. "
            "A report takes one kind only."
        )


def inject(text: str, name: str, block: Callable[[str], str]) -> str:
    """Replace all between `<!-- TABLE:name -->` and the next `<!-- /TABLE -->` in `text`.

    Args:
        block: what the opening marker asks for -> the new text: "" is the whole table, "alpha=0.25", in
            `<!-- TABLE:name alpha=0.25 -->`, an `excerpt`.

    Raises:
        UserError: the opening marker does not occur exactly once, or no closing marker follows it.
    """
    opening, closing = rf"<!-- TABLE:{re.escape(name)}(?: (\S+))? -->", "<!-- /TABLE -->"
    found = re.search(rf"({opening}).*?({closing})", text, re.DOTALL)
    if not found or len(re.findall(opening, text)) > 1:
        raise UserError(f"the page needs one <!-- TABLE:{name} --> and a {closing} after it. Add both there.")
    new = f"{found[1]}\n{block(found[2] or '').strip()}\n{found[3]}"
    return text[: found.start()] + new + text[found.end() :]


def excerpt(summary: pd.DataFrame, table: Table, labels: Labels, only: str) -> str:
    """The part of a table where an axis has one setting, such as "alpha=0.25", as markdown without its legend.

    Raises:
        UserError: there is no such axis or setting.
    """
    name, _, setting = only.partition("=")
    settings = {str(value): value for value in summary[name].unique()} if name in table.shown else {}
    if setting not in settings:
        known = f"{name}={', '.join(settings)}" if settings else f"the axes {', '.join(table.shown)}"
        raise UserError(f"the page asks for {only!r} of {table.name}, which has {known}")
    grids = printed_grids(summary[summary[name] == settings[setting]], table, labels)
    return "\n\n".join(markdown_table([*grid.columns], grid.to_numpy()) for grid in grids.values())
