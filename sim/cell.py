"""A cell: one training run with every hyperparameter spelled out. A run is a pure function of its cell and data."""

import dataclasses
import difflib
import inspect
from collections.abc import Iterable, Mapping
from typing import Any, Literal, get_args

import numpy as np
import optax

from sim.aggregators import AGGREGATORS
from sim.attacks import ATTACKS
from sim.models import MODELS
from sim.types import Entry

Args = Mapping[str, Any]
Momentum = Literal["none", "ema", "classic"]
Sharding = Literal["iid", "dirichlet"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Cell:
    """One run. Options that are left out of `*_args` are filled in with the factory's defaults.

    Raises:
        ValueError: on construction, for anything that cannot be run, with what was given and what would do.
    """

    rule: str = "mean"
    """aggregation rule, a name in `sim.AGGREGATORS`"""
    rule_args: Args = dataclasses.field(default_factory=dict)
    attack: str = "none"
    """a name in `sim.ATTACKS`"""
    attack_args: Args = dataclasses.field(default_factory=dict)
    m: int = 20
    """workers"""
    n_byz: int = 0
    """workers that really attack"""
    f: int | None = None
    """Byzantine workers that the defender declares; None: n_byz"""
    byzantine: tuple[int, ...] | None = None
    """which workers attack, by index; None: the first n_byz"""
    model: str = "lenet"
    """a name in `sim.MODELS`"""
    model_args: Args = dataclasses.field(default_factory=dict)
    batch: int = 8
    """samples in a worker's batch"""
    epochs: int = 1
    """passes over the shards; the test set is measured after each"""
    steps: int | None = None
    """steps in an epoch; None: as many whole batches as a shard holds"""
    optimizer: str = "sgd"
    """the server's, a name in `optax` whose first argument is the learning rate"""
    optimizer_args: Args = dataclasses.field(default_factory=dict)
    lr: float = 0.03
    """learning rate"""
    momentum: Momentum = "none"
    """the workers': "ema" v = beta v + (1 - beta) g, "classic" v = beta v + g"""
    momentum_beta: float = 0.9
    sharding: Sharding = "iid"
    """equal disjoint shards: uniform, or with Dirichlet label skew"""
    dirichlet_alpha: float = 1.0
    """the skew: small is extreme, infinity is i.i.d."""
    seed: int = 0

    def __post_init__(self):
        _check_whole(self)
        self._fill()
        _check_counts(self)
        _check_ranges(self)

    def _fill(self):
        for field, zoo in (("rule", AGGREGATORS), ("attack", ATTACKS), ("model", MODELS)):
            entry = known(field, getattr(self, field), zoo)
            given = getattr(self, f"{field}_args")
            object.__setattr__(self, f"{field}_args", options(getattr(self, field), entry, given))
        _check_optimizer(self.optimizer, self.optimizer_args)
        object.__setattr__(self, "f", self.n_byz if self.f is None else self.f)
        chosen = range(self.n_byz) if self.byzantine is None else self.byzantine
        object.__setattr__(self, "byzantine", tuple(chosen))

    @property
    def alpha(self) -> float:
        """Fraction of Byzantine workers."""
        return self.n_byz / self.m

    @property
    def max_f(self) -> int:
        """The largest number of Byzantine workers that the rule is guaranteed to withstand."""
        return AGGREGATORS[self.rule].max_f(self.m)

    @property
    def beyond_bound(self) -> bool:
        """More Byzantine workers, real or declared, than the rule's guarantee covers."""
        return max(self.n_byz, self.f or 0) > self.max_f

    def as_dict(self) -> dict[str, Any]:
        """All that decides the run, as plain JSON values."""
        return dataclasses.asdict(self) | {"alpha": self.alpha, "byzantine": list(self.byzantine or ())}

    def steps_per_epoch(self, n_train: int) -> int:
        """Steps in an epoch on `n_train` images.

        Raises:
            ValueError: if a shard is smaller than a batch.
        """
        shard = n_train // self.m
        if shard < self.batch:
            raise ValueError(
                f"batch={self.batch} is larger than a worker's shard: {n_train} training images over m={self.m} "
                f"workers are {shard} each. Use a batch of at most {shard}, or fewer workers."
            )
        whole = shard // self.batch
        if self.steps is not None and self.steps > whole:
            raise ValueError(f"steps={self.steps} is more than the {whole} whole batches that a shard holds")
        return whole if self.steps is None else self.steps


def known(kind: str, name: str, zoo: Mapping[str, Entry]) -> Entry:
    """The entry called `name`.

    Raises:
        ValueError: if there is none, with the nearest names.
    """
    if name not in zoo:
        raise ValueError(_unknown(kind, name, zoo))
    return zoo[name]


def _unknown(kind: str, name: str, names: Iterable[str]) -> str:
    near = difflib.get_close_matches(name, list(names), n=3, cutoff=0.5)
    hint = f" Did you mean {' or '.join(map(repr, near))}?" if near else ""
    return f"unknown {kind} {name!r}.{hint} Known: {', '.join(sorted(names))}."


def options(name: str, entry: Entry, given: Args) -> dict[str, Any]:
    """The factory's options with `given` laid over the defaults; an int given for a float becomes one.

    Raises:
        ValueError: for an option that the factory does not have, or a value that it refuses.
    """
    defaults = {
        key: parameter.default
        for key, parameter in inspect.signature(entry.make).parameters.items()
        if parameter.default is not parameter.empty
    }
    for key in given:
        if key not in defaults:
            raise ValueError(
                _unknown(f"option of {name}", key, defaults) if defaults else f"{name} has no options, got {key!r}"
            )
    merged = {**defaults, **given}
    for key, value in merged.items():
        if isinstance(defaults[key], float) and type(value) is int:
            merged[key] = float(value)
        if isinstance(merged[key], float) and not np.isfinite(merged[key]):
            raise ValueError(f"{name}: {key}={value} is not a finite number")
    needs = [key for key in inspect.signature(entry.make).parameters if key not in defaults]
    entry.make(**merged, **dict.fromkeys(needs, 2))  # a factory checks its own options; models also need n_classes
    return merged


def _check_whole(cell: Cell) -> None:
    for name in ("m", "n_byz", "f", "batch", "epochs", "seed", "steps"):
        value = getattr(cell, name)
        optional = value is None and name in ("f", "steps")
        if not optional and (isinstance(value, bool) or not isinstance(value, int | np.integer)):
            raise ValueError(f"{name}={value!r} is not a whole number")
    for name in ("lr", "momentum_beta", "dirichlet_alpha"):
        value = getattr(cell, name)
        if isinstance(value, bool) or not isinstance(value, int | float | np.number):
            raise ValueError(f"{name}={value!r} is not a number")
    if cell.seed >= 2**32:
        raise ValueError(f"seed={cell.seed} is not below 2**32")


def _check_optimizer(name: str, args: Args) -> None:
    make = getattr(optax, name, None)
    parameters = inspect.signature(make).parameters if callable(make) else {}
    if "learning_rate" not in parameters:
        known_names = [each for each in dir(optax) if _takes_rate(getattr(optax, each))]
        raise ValueError(_unknown("optimizer", name, known_names))
    for key in args:
        if key not in parameters:
            raise ValueError(_unknown(f"option of {name}", key, parameters))


def _takes_rate(make: Any) -> bool:
    return inspect.isfunction(make) and "learning_rate" in inspect.signature(make).parameters


def _check_counts(cell: Cell) -> None:
    least = {"m": 1, "n_byz": 0, "f": 0, "batch": 1, "epochs": 1, "seed": 0}
    if cell.steps is not None:
        least["steps"] = 1
    for name, low in least.items():
        if getattr(cell, name) < low:
            raise ValueError(f"{name}={getattr(cell, name)} is below {low}")
    for name in ("n_byz", "f"):
        if getattr(cell, name) > cell.m:
            raise ValueError(f"{name}={getattr(cell, name)} is more than there are workers, m={cell.m}")
    ids = cell.byzantine or ()
    if len(set(ids)) != cell.n_byz or not set(ids) <= set(range(cell.m)):
        raise ValueError(f"byzantine={ids} does not name n_byz={cell.n_byz} different workers of 0 to {cell.m - 1}")


def _check_ranges(cell: Cell) -> None:
    for name in ("lr", "dirichlet_alpha"):
        value = getattr(cell, name)
        if not (np.isfinite(value) and value > 0):
            raise ValueError(f"{name}={value} is not a finite number above 0")
    if not 0 <= cell.momentum_beta < 1:
        raise ValueError(f"momentum_beta={cell.momentum_beta} is not in [0, 1)")
    for name, kinds in (("momentum", Momentum), ("sharding", Sharding)):
        if getattr(cell, name) not in get_args(kinds):
            raise ValueError(_unknown(name, getattr(cell, name), get_args(kinds)))
