"""Tables: a base configuration, named axes, and the runs that follow from both."""

import dataclasses
import itertools
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, NamedTuple

import pandas as pd
from byzsim import RunConfig
from byzsim.experiments.errors import UserError
from matplotlib.figure import Figure

Label = str | int | float
Fields = Mapping[str, Any]
"""fields of `RunConfig`, or those below, or an option such as "krum.variant" -> value"""
Position = Mapping[str, Label]
"""axis -> label of one of its settings"""
OWN_FIELDS = {
    "data": "data set; none for a task that makes its own examples",
    "alpha": "Byzantine fraction, which sets n_byz: a number (0.2) or a count of m workers (2/11), whole of m",
    "held_out": "share of the training examples that are held out of training and measured in place of the test set",
    "declared_f": "the f of the rule: true: n_byz; capped: at most its guarantee; a number: that share of m",
}
"""what a table can set beside the fields of `RunConfig`"""
FIELDS = (*OWN_FIELDS, *(field.name for field in dataclasses.fields(RunConfig)))
NAMED = ("rule", "attack", "task", "model", "partition", "schedule", "optimizer", "local_optimizer")
"""fields whose values have options, in the field NAME_args"""
SEEDS = frozenset({"seed", "data_seed", "init_seed", "attack_seed"})
DEFAULT_DATA = "fashion_mnist"
WORST = "worst"
"""label of the cells that are the worst over an axis"""
HELD_OUT = 0.2
"""share of the training examples on which settings are compared"""


@dataclasses.dataclass(frozen=True)
class Axis:
    """A list of labelled settings, of which each sets any number of fields that move together."""

    name: str
    settings: Mapping[Label, Fields]

    @property
    def fields(self) -> set[str]:
        """What the settings set."""
        return {name for fields in self.settings.values() for name in fields}


def axis(name: str, settings: Iterable[Any] | Mapping[Label, Fields]) -> Axis:
    """An axis; of a list of values, the axis of the field with that name.

    >>> axis("lr", [0.1, 0.2]).settings
    {0.1: {'lr': 0.1}, 0.2: {'lr': 0.2}}
    """
    if isinstance(settings, Mapping) and all(isinstance(fields, Mapping) for fields in settings.values()):
        return Axis(name, {key: dict(fields) for key, fields in settings.items()})
    values = list(settings)
    labels = [label_of(value) for value in values]
    if twice := [each for i, each in enumerate(labels) if each in labels[:i]]:
        raise UserError(f"axis {name} has {twice[0]} twice")
    return Axis(name, {key: {name: value} for key, value in zip(labels, values, strict=True)})


def label_of(value: Any) -> Label:
    """The label of a setting that is one value: a number or text is its own."""
    return value if isinstance(value, str | int | float) and not isinstance(value, bool) else str(value)


class Ours(NamedTuple):
    """The runs of one cell, in the table's number; accuracies in percent."""

    mean: float
    """over the runs that did not diverge; NaN if all did"""
    sd: float
    """sample standard deviation; NaN for fewer than two"""
    n: int
    n_diverged: int


class Published(NamedTuple):
    """What a source says of one cell; NaN where it does not say it."""

    mean: float
    sd: float
    n: float


class Picture(NamedTuple):
    """A figure of the report."""

    figure: Figure
    title: str
    text: str
    """what it shows, in Markdown"""


class Claim(NamedTuple):
    """What a table claims, before it is run, of every row of results that `of` selects."""

    says: str
    of: Callable[[pd.DataFrame], pd.Series]
    """rows -> those of which it speaks"""
    true: Callable[[pd.DataFrame], pd.Series]
    """rows -> whether each does what it says"""


Verdict = Callable[[Ours, Published], str]
"""the printed mark of a cell"""
Labels = Mapping[str, str]
"""name of a rule, attack, setting, axis or verdict -> printed text"""
NO_LABELS: Labels = MappingProxyType({})
VIEW = ("metric", "better", "number", "rows", "columns", "panels", "worst_over")
"""what of a table changes how its runs are shown, and none of the runs"""
NUMBER = re.compile(r"last|best|mean_last_([1-9][0-9]*)")


def in_percent(metric: str) -> bool:
    """Whether a metric is a fraction that is printed in percent."""
    return metric.endswith("accuracy")


def label(name: Label, labels: Labels = NO_LABELS) -> str:
    """The printed text of a name: its label, or the name with spaces for underscores."""
    return labels.get(str(name), f"{name:.4g}" if isinstance(name, float) else str(name).replace("_", " "))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Table:
    """A table of a paper or of this project: its runs, and the numbers that they are compared with."""

    name: str
    title: str
    source: str
    """source of the published numbers"""
    base: Fields = dataclasses.field(default_factory=dict)
    """what all runs share"""
    axes: Sequence[Axis] = ()
    where: Callable[[Position], bool] = lambda position: True
    """which positions of the axes have a run; default: all"""
    rows: Sequence[str] | None = None
    """names of axes; default: those that are neither columns nor panels, and set more than seeds"""
    columns: Sequence[str] | None = None
    """default: the axis "rule", if there is one"""
    panels: Sequence[str] = ()
    """axes with a table of its own for each of their settings"""
    quick: Fields = dataclasses.field(default_factory=dict)
    """what `--quick` changes of `base`"""
    published: str | Path | pd.DataFrame | None = None
    """numbers to compare with, accuracies in percent: a column for each axis, one for the metric, and optionally sd, n,
    source; or a CSV file of that, by its path or its name in experiments/tables/published"""
    verdict: Verdict = lambda ours, published: ""
    """fixed before any run"""
    metric: str = "accuracy"
    """what of the task's metrics the table shows"""
    better: Literal["higher", "lower"] | None = None
    """default: higher for accuracies, lower for all else"""
    number: str = "last"
    """last, best or mean_last_K: which of a run's measurements"""
    worst_over: str | None = None
    """an axis, such as attack: the table gets a row with the worst of its settings"""
    choose: str | None = None
    """an axis whose best setting is chosen for each cell, but one for all settings of `worst_over`: by the worst of
    those on examples held out of training. The chosen setting is then trained on all examples"""
    labels: Labels = dataclasses.field(default_factory=dict)
    """the printed text of names, and the meaning of the marks of `verdict`"""
    appendix: Callable[[pd.DataFrame, Labels], str] | None = None
    """makes an additional section of the report from the summary; "" for no section"""
    pictures: Callable[[Sequence[Mapping[str, Any]], pd.DataFrame, Labels], dict[str, Picture]] | None = None
    """makes {name of the file: picture} from the records and the summary, in place of the usual figures"""

    @property
    def lower_is_better(self) -> bool:
        """Of the table's number."""
        return self.better == "lower" if self.better else not in_percent(self.metric)

    @property
    def by_name(self) -> dict[str, Axis]:
        """The axes by their names."""
        return {each.name: each for each in self.axes}

    @property
    def places(self) -> tuple[Sequence[str], Sequence[str], Sequence[str]]:
        """The axes that are rows, columns and panels. The others are averaged over."""
        rows, columns, panels = self.rows, self.columns, self.panels
        if columns is None:
            columns = [each.name for each in self.axes if each.name == "rule" and "rule" not in panels]
        if rows is None:
            taken = {*columns, *panels, self.choose}
            rows = [each.name for each in self.axes if each.name not in taken and not each.fields <= SEEDS]
        return rows, columns, panels

    @property
    def shown(self) -> list[str]:
        """The axes that tell cells apart, in order."""
        placed = {*itertools.chain(*self.places)}
        return [each.name for each in self.axes if each.name in placed]

    @property
    def averaged(self) -> list[str]:
        """The axes whose settings are the runs of one cell, such as the seed."""
        return [each.name for each in self.axes if each.name not in (*self.shown, self.choose)]

    def without(self, *names: str) -> "Table":
        """The table without these axes."""
        return dataclasses.replace(self, axes=tuple(each for each in self.axes if each.name not in names))

    def validation(self) -> "Table":
        """The table by which the settings of `choose` are compared."""
        rows, columns, panels = self.places
        placed = {"rows": [*rows, *filter(None, [self.choose])], "columns": columns, "panels": panels}
        base = {**self.base, "held_out": HELD_OUT}
        return dataclasses.replace(self, **placed, base=base, choose=None, worst_over=None, published=None)


def positions(table: Table, names: Sequence[str]) -> Iterator[dict[str, Label]]:
    """Every combination of the settings of these axes, the first outermost."""
    axes = [table.by_name[name] for name in names]
    for labels in itertools.product(*(each.settings for each in axes)):
        yield dict(zip((each.name for each in axes), labels, strict=True))
