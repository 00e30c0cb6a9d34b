"""Recorded runs as cells: for each setting, such as a table at one share of attackers, rules under attacks."""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import pandas as pd
from byzsim.experiments.report.summary import percent
from byzsim.experiments.site.facts import Facts
from byzsim.experiments.tables import TABLES

DIVERGED = -1.0  # ranks below every accuracy


class Cell(NamedTuple):
    """The runs of one rule under one attack that differ in their seed alone."""

    ids: tuple[str, ...]
    seeds: tuple[int, ...]
    mean: float
    """accuracy in percent at the end, over the runs that did not diverge; NaN if all did"""
    sd: float
    """sample standard deviation; NaN for one run"""
    n_diverged: int
    beyond: bool
    """more Byzantine workers than the rule's guarantee covers"""

    @property
    def rank(self) -> float:
        """By this cells are ordered: one run that diverged is worse than any accuracy."""
        return DIVERGED if self.n_diverged else self.mean

    @property
    def text(self) -> str:
        """As in the reports."""
        mark = "†" if self.beyond else ""
        if math.isnan(self.mean):
            return f"diverged{mark}"
        doubt = "" if math.isnan(self.sd) else f" ± {self.sd:.1f}"
        lost = f" ({self.n_diverged} of {len(self.ids)} diverged)" if self.n_diverged else ""
        return f"{self.mean:.1f}{doubt}{lost}{mark}"


@dataclasses.dataclass(frozen=True)
class Setting:
    """Rules under attacks, with all else the same."""

    folder: str
    """of `results/`"""
    values: Mapping[str, Any]
    """alpha, partition and so on"""
    about: Mapping[str, Any]
    """what all its runs share, from a record"""
    cells: Mapping[tuple[str, str], Cell]
    """(rule, attack) -> its runs"""

    @property
    def name(self) -> str:
        """A name that serves as an anchor."""
        return "-".join([self.folder, *(f"{key}-{_plain(value)}" for key, value in self.values.items())])

    @property
    def title(self) -> str:
        """For headings."""
        share = f"α = {percent(self.about['alpha'])} ({int(self.about['n_byz'])} of {int(self.about['m'])})"
        usual = {"alpha": self.values.get("alpha"), "partition": "iid"}
        words = [f"{key} = {_plain(value)}" for key, value in self.values.items() if usual.get(key) != value]
        return f"{self.table}: {', '.join([share, *words])}"

    @property
    def table(self) -> str:
        """The title of the table, if it is known."""
        return TABLES[self.folder].title if self.folder in TABLES else self.folder

    @property
    def rules(self) -> list[str]:
        """In alphabetical order."""
        return sorted({rule for rule, _ in self.cells})

    @property
    def attacks(self) -> list[str]:
        """In alphabetical order, without the honest run."""
        return sorted({attack for _, attack in self.cells} - {"none"})

    @property
    def seeds(self) -> int:
        """The number of seeds of most cells."""
        return int(pd.Series([len(cell.ids) for cell in self.cells.values()]).mode().max())

    @property
    def amount(self) -> str:
        """How long its runs train, and how many there are of each."""
        steps = self.about.get("steps")
        length = f"{int(self.about['epochs'])} epochs" if steps is None or pd.isna(steps) else f"{int(steps)} steps"
        return f"{length}, {'one seed' if self.seeds == 1 else f'{self.seeds} seeds'}"

    def worst(self, rule: str) -> tuple[str, Cell] | None:
        """(attack, its cell) of the lowest accuracy of a rule; None if it was not run under every attack."""
        mine = {attack: self.cells[rule, attack] for attack in self.attacks if (rule, attack) in self.cells}
        return min(mine.items(), key=lambda item: item[1].rank) if len(mine) == len(self.attacks) else None

    def ranked(self) -> list[tuple[str, str, Cell]]:
        """(rule, its worst attack, that cell), the best worst case first."""
        found = [(rule, *worst) for rule in self.rules if (worst := self.worst(rule))]
        return sorted(found, key=lambda item: -item[2].rank)


def settings(facts: Facts) -> list[Setting]:
    """All settings with at least one attack, in the order of their folders."""
    return [each for folder, frame in facts.runs.items() for each in of_folder(folder, frame) if each.attacks]


def of_folder(folder: str, frame: pd.DataFrame) -> list[Setting]:
    """All settings of a folder, also those without an attack."""
    frame = frame.assign(**{axis: frame[axis].map(_hashable) for axis in frame.attrs["axes"]})
    rules = _rule_axis(frame)
    axes = [name for name in frame.attrs["axes"] if name not in (rules, "attack", "seed")]
    further = [name for name in ("partition",) if name in frame and name not in axes]
    keys = axes + further
    found = []
    for _, part in frame.groupby(keys, sort=True, dropna=False):
        shared = part.iloc[0].to_dict()
        cells = {_names(runs, rules): _cell(runs) for _, runs in part.groupby([rules, "attack"], sort=True)}
        found.append(Setting(folder, {key: shared[key] for key in keys}, shared, cells))
    return found


def _rule_axis(frame: pd.DataFrame) -> str:
    """The axis that says what defends: `rule`, or another one of whose settings each has one rule."""
    axes = frame.attrs["axes"]
    ones = [name for name in axes if name != "attack" and frame.groupby(name)["rule"].nunique().max() == 1]
    return "rule" if "rule" in axes or not ones else ones[0]


def _hashable(value: Any) -> Any:
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)


def _names(runs: pd.DataFrame, rules: str) -> tuple[str, str]:
    first = runs.iloc[0]
    return str(first[rules]), str(first["attack"])


def _cell(runs: pd.DataFrame) -> Cell:
    runs = runs.sort_values("seed")
    done = 100 * runs.loc[~runs["diverged"].astype(bool), "final_accuracy"].astype(float)
    sd = float(done.std(ddof=1)) if len(done) > 1 else math.nan
    mean = float(done.mean()) if len(done) else math.nan
    seeds = tuple(int(seed) for seed in runs["seed"])
    return Cell(tuple(runs["id"]), seeds, mean, sd, len(runs) - len(done), bool(runs["beyond_bound"].any()))


def _plain(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
