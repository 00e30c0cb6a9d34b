"""What a table is, what a user may change about it, and the cells that follow."""

import contextlib
import dataclasses
import itertools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import pandas as pd

from experiments.errors import UserError, unknown
from experiments.report import Verdict
from sim import Cell
from sim.cell import Momentum, Sharding
from sim.names import canonical

PAPER = Path(__file__).parent / "paper"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """Everything about a table that can be changed on the command line."""

    rules: tuple[str, ...]
    """aggregation rules, the table's columns"""
    attacks: tuple[str, ...]
    """attacks, the table's rows"""
    alphas: tuple[float, ...]
    """Byzantine fractions; alpha times m has to be whole"""
    seeds: tuple[int, ...] = (0,)
    """one run per cell and seed; the same seed has the same shards, batches and initial parameters in every cell"""
    data: str = "fashion_mnist"
    """data set"""
    model: str = "lenet"
    m: int = 20
    """workers"""
    declared: Literal["known", "bounded"] = "known"
    """the f that the rule is told: n_byz itself, or at most what its guarantee covers"""
    batch: int = 8
    """samples in a worker's batch"""
    epochs: int = 1
    steps: int | None = None
    """steps in an epoch; None: the whole shard"""
    lr: float = 0.03
    """server learning rate"""
    optimizer: str = "sgd"
    """the server's, a name in optax"""
    momentum: Momentum = "none"
    """the workers': "ema" v = beta v + (1 - beta) g, "classic" v = beta v + g"""
    momentum_beta: float = 0.9
    sharding: Sharding = "iid"
    """equal disjoint shards, uniform or with Dirichlet label skew"""
    dirichlet_alpha: float = 1.0
    """the skew: small is extreme"""
    options: tuple[str, ...] = ()
    """options of a rule, an attack or the model, such as brsgd.reading=code gaussian.sigma=100 lenet.padding=0"""

    def __post_init__(self):
        for name in ("rules", "attacks"):
            object.__setattr__(self, name, tuple(map(canonical, getattr(self, name))))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Table:
    """A table of a paper, or of ours: what is run, and what it is compared with."""

    name: str
    title: str
    source: str
    """where the published numbers come from"""
    config: Config
    quick: Mapping[str, Any]
    """what `--quick` changes in the config"""
    verdict: Verdict
    """fixed before any run"""
    published: str | None = None
    """a file in experiments/paper with columns rule, attack, alpha, accuracy (percent), source"""
    labels: Mapping[str, str] = dataclasses.field(default_factory=dict)
    """how names are printed, and what the marks of `verdict` mean"""
    swap: tuple[str, str] | None = None
    """two attacks whose published rows may be exchanged"""

    def paper(self) -> pd.DataFrame | None:
        """The published numbers.

        Raises:
            UserError: for a file that is no table of these columns.
        """
        return None if self.published is None else _published(PAPER / self.published)


def _published(path: Path) -> pd.DataFrame:
    try:
        return pd.read_csv(path).astype({"rule": str, "attack": str, "alpha": float, "accuracy": float, "source": str})
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from None
    except (ValueError, KeyError) as error:
        words = str(error).strip("'\"\n ").partition("\n")[0]
        raise UserError(f"{path} is no table with columns rule, attack, alpha, accuracy, source: {words}") from None


NAMED = {"True": True, "False": False, "None": None}
SHARED = {field.name for field in dataclasses.fields(Config)} & {field.name for field in dataclasses.fields(Cell)}


def cells(config: Config, only: Sequence[str] = ()) -> list[Cell]:
    """One cell for each seed, rule, attack and alpha, seeds outermost; the same run (alpha = 0) only once.

    Args:
        only: conditions such as "rule=krum,attack=gaussian"; several values of one key are alternatives.
    Raises:
        UserError: for a name, a number or a combination that cannot be run, or conditions that no cell meets.
    """
    _refuse_twins(config)
    wanted = _conditions(only, config)
    unique: dict[str, Cell] = {}
    for seed, rule, attack, alpha in itertools.product(config.seeds, config.rules, config.attacks, config.alphas):
        place = {"seed": seed, "rule": rule, "attack": attack, "alpha": alpha}
        if all(place[key] in values for key, values in wanted.items()):
            cell = _cell(config, seed=seed, rule=rule, attack=attack, alpha=alpha)
            unique.setdefault(repr(cell), cell)
    if not unique:
        raise UserError("no cell is left" + (f" that meets --only {' '.join(only)}" if only else ": a list is empty"))
    return list(unique.values())


def _refuse_twins(config: Config) -> None:
    for name in ("rules", "attacks", "alphas", "seeds"):
        values = getattr(config, name)
        twins = [value for i, value in enumerate(values) if value in values[:i]]
        if twins:
            raise UserError(f"--{name} has {twins[0]} twice")


def _cell(config: Config, *, seed: int, rule: str, attack: str, alpha: float) -> Cell:
    n_byz = workers(alpha, config.m)
    fields: dict[str, Any] = {name: getattr(config, name) for name in SHARED}
    fields |= {"rule": rule, "attack": attack if n_byz else "none", "n_byz": n_byz, "seed": seed}
    given = parse_options(config)
    for kind in ("rule", "attack", "model"):
        name = fields[kind]
        fields[f"{kind}_args"] = {k: v for part in {*name.split("+"), name} for k, v in given.get(part, {}).items()}
    try:
        cell = Cell(**fields)
        return cell if config.declared == "known" else dataclasses.replace(cell, f=min(n_byz, cell.max_f))
    except ValueError as error:
        raise UserError(str(error)) from None


def workers(alpha: float, m: int) -> int:
    """alpha times m, which has to be a whole number of workers.

    Raises:
        UserError: if it is not, with the nearest fractions that are.
    """
    if not 0 <= alpha <= 1:
        raise UserError(f"alpha={alpha:g} is not a fraction from 0 to 1")
    n_byz = round(alpha * m)
    if abs(alpha * m - n_byz) > 1e-6:
        low = int(alpha * m)
        raise UserError(
            f"alpha={alpha:g} of m={m} is {alpha * m:g} workers, not a whole number. "
            f"Try {low / m:g} ({low}) or {(low + 1) / m:g} ({low + 1})."
        )
    return n_byz


def parse_options(config: Config) -> dict[str, dict[str, Any]]:
    """{"gaussian": {"sigma": 100.0}} from ("gaussian.sigma=100",), for names that the config uses.

    Raises:
        UserError: for text of another form, or a name that nothing in the table has.
    """
    members = {*config.rules, *config.attacks, config.model}
    used = members | {part for name in members for part in name.split("+")}
    given: dict[str, dict[str, Any]] = {}
    for text in config.options:
        target, equals, value = text.partition("=")
        name, dot, option = target.partition(".")
        name = canonical(name)
        if not (equals and dot and option and value):
            raise UserError(f"--options {text!r} is not of the form NAME.OPTION=VALUE, such as gaussian.sigma=100")
        if name not in used:
            raise unknown("rule, attack or model of this table in --options", name, used)
        if option in given.setdefault(name, {}):
            raise UserError(f"--options has {name}.{option} twice")
        given[name][option] = _literal(value)
    return given


def _literal(text: str) -> Any:
    """A number, True, False or None where `text` is one; nothing else is read as Python."""
    if text in NAMED:
        return NAMED[text]
    for kind in (int, float):
        with contextlib.suppress(ValueError):
            return kind(text)
    return text


def _conditions(only: Sequence[str], config: Config) -> dict[str, set[Any]]:
    axes: dict[str, tuple[tuple[Any, ...], Callable[[str], Any]]] = {
        "rule": (config.rules, canonical),
        "attack": (config.attacks, canonical),
        "alpha": (config.alphas, float),
        "seed": (config.seeds, int),
    }
    wanted: dict[str, set[Any]] = {}
    for text in itertools.chain.from_iterable(part.split(",") for part in only):
        key, equals, value = text.partition("=")
        if not equals:
            raise UserError(f"--only {text!r} is not of the form KEY=VALUE, such as rule=krum,attack=gaussian")
        if key not in axes:
            raise unknown("key in --only", key, axes)
        values, kind = axes[key]
        if value not in map(str, values) and not _number(value, kind, values):
            raise unknown(f"{key} in --only", value, map(str, values))
        wanted.setdefault(key, set()).add(kind(value))
    return wanted


def _number(text: str, kind: Callable[[str], Any], values: Sequence[Any]) -> bool:
    try:
        return kind(text) in values
    except ValueError:
        return False
