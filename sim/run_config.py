"""The configuration of one training run. A run is a pure function of its configuration and the data."""

import contextlib
import dataclasses
import functools
import inspect
import json
import warnings
from collections.abc import Callable, Collection, Iterator
from typing import Any, Literal, get_args

import jax
import numpy as np
import optax
from byzsim import names, partition
from byzsim.models import MODELS
from byzsim.nearest import unknown
from byzsim.options import FLOAT32_MAX, Args, options, plain

Momentum = Literal["none", "ema", "classic"]
Partition = Literal["iid", "dirichlet"]
UPPER_LIMITS = {"m": 10**6, "epochs": 10**6, "seed": 2**32 - 1}  # memory, time, and the bits of a seed
FLOAT32_TINY = float(np.finfo(np.float32).tiny)
INT_FIELDS = ("m", "n_byz", "f", "batch", "epochs", "seed", "steps")
FLOAT_FIELDS = ("lr", "momentum_beta", "dirichlet_alpha")
JSON_TYPES = bool | int | float | str | None


def later(default: bool | int | float | str | None) -> Any:
    """A field that `RunConfig` did not have from the first.

    It decides a run only where it differs from its default, with which a run is as it was before there was the field:
    so records of earlier versions stay valid.
    """
    return dataclasses.field(default=default, metadata={"later": True})


@dataclasses.dataclass(frozen=True, kw_only=True)
class RunConfig:
    """The configuration of one run, with every hyperparameter spelled out.

    Options that are left out of `rule_args`, `attack_args` and `model_args` get the factory's defaults, and numbers
    become plain Python numbers. So two ways of writing the same run give equal configurations.

    Raises:
        ValueError: on construction, if a value cannot be used. The message has the value and what was expected.
    """

    rule: str = "mean"
    """aggregation rule: a name in `byzsim.AGGREGATORS`, with preaggregators before it if wanted, as in nnm+krum"""
    rule_args: Args = dataclasses.field(default_factory=dict)
    """options of the rule; variant=NAME is replaced by the options of that variant"""
    attack: str = "none"
    """a name in `byzsim.ATTACKS`, with modifiers before it if wanted, as in burst+alie"""
    attack_args: Args = dataclasses.field(default_factory=dict)
    """options of the attack, as `rule_args`"""
    m: int = 20
    """number of workers"""
    n_byz: int = 0
    """number of workers that really attack"""
    f: int | None = None
    """number of Byzantine workers that the defender declares; None: n_byz"""
    byzantine: tuple[int, ...] | None = None
    """indices of the workers that attack; None: the first n_byz"""
    model: str = "lenet"
    """a name in `byzsim.MODELS`"""
    model_args: Args = dataclasses.field(default_factory=dict)
    """options of the model"""
    batch: int = 8
    """number of samples in a worker's batch"""
    epochs: int = 1
    """number of passes over the shards; the test set is measured after each"""
    steps: int | None = None
    """number of steps in an epoch; None: as many whole batches as a shard has"""
    optimizer: str = "sgd"
    """the server's optimizer: a name in `optax` whose factory takes a learning rate"""
    optimizer_args: Args = dataclasses.field(default_factory=dict)
    """options of the optimizer, without the learning rate"""
    lr: float = 0.03
    """learning rate"""
    momentum: Momentum = "none"
    """momentum of the workers: "ema" v = beta v + (1 - beta) g, "classic" v = beta v + g"""
    momentum_beta: float = 0.9
    """beta of the workers' momentum"""
    partition: Partition = "iid"
    """how the training set is split into equal disjoint shards: at random, or with Dirichlet label skew"""
    dirichlet_alpha: float = 1.0
    """the label skew: small values are extreme, large values are close to i.i.d."""
    seed: int = 0
    """seed of all random numbers of the run"""

    def __post_init__(self) -> None:
        for name in (*INT_FIELDS, *FLOAT_FIELDS):
            object.__setattr__(self, name, plain(getattr(self, name)))
        _check_types(self)
        _check_counts(self)
        self._fill()
        _check_byzantine(self)
        _check_ranges(self)
        self._normalise()

    def _fill(self) -> None:
        """Replace aliases and variants, and fill in all defaults."""
        for field in ("rule", "attack"):
            given = getattr(self, field)
            object.__setattr__(self, field, names.canonical(given) if isinstance(given, str) else given)
        for field, spec in self._specs():
            given = getattr(self, f"{field}_args")
            object.__setattr__(self, f"{field}_args", options(getattr(self, field), spec, given))
        object.__setattr__(self, "optimizer_args", _optimizer_args(self.optimizer, self.optimizer_args))
        object.__setattr__(self, "f", self.n_byz if self.f is None else self.f)
        chosen = range(self.n_byz) if self.byzantine is None else self.byzantine
        object.__setattr__(self, "byzantine", tuple(chosen))

    def _normalise(self) -> None:
        """Convert numbers to plain int and float, and sort `byzantine`."""
        for kind, fields in ((int, INT_FIELDS), (float, FLOAT_FIELDS)):
            for name in fields:
                value = getattr(self, name)
                object.__setattr__(self, name, None if value is None else kind(value))
        object.__setattr__(self, "byzantine", tuple(sorted(map(int, self.byzantine or ()))))

    def _specs(self) -> Iterator[tuple[str, names.Spec]]:
        """(field, its member in the registries)"""
        yield "rule", names.rule_spec(self.rule)
        yield "attack", names.attack_spec(self.attack)
        yield "model", names.known("model", self.model, MODELS)

    def __hash__(self) -> int:
        return hash(json.dumps(self.as_dict(), sort_keys=True, default=str))

    @property
    def alpha(self) -> float:
        """Fraction of Byzantine workers."""
        return self.n_byz / self.m

    @property
    def max_f(self) -> int:
        """The largest number of Byzantine workers for which the rule's guarantee holds."""
        return names.max_f(names.rule_spec(self.rule), self.m, self.rule_args)

    @property
    def beyond_bound(self) -> bool:
        """Whether there are more Byzantine workers, real or declared, than the rule's guarantee covers."""
        return max(self.n_byz, self.f or 0) > self.max_f

    def as_dict(self) -> dict[str, Any]:
        """Everything that determines the result of the run, as plain JSON values.

        `sources` is there only if a rule or an attack is a user's own, and has the SHA-256 of its source code.
        `revisions` is there only for members that gave other numbers in an earlier version with the same options.
        A `later` field is there only if it is not its default.
        """
        own = names.own(self.rule, self.attack)
        left_out = [field.name for field in later_fields(type(self)) if getattr(self, field.name) == field.default]
        known = {name: value for name, value in dataclasses.asdict(self).items() if name not in left_out}
        known |= {"alpha": self.alpha, "byzantine": list(self.byzantine or ())}
        revised = names.revisions(self.rule, self.attack)
        if self.partition == "dirichlet":
            revised["dirichlet"] = partition.DIRICHLET
        return known | ({"sources": own} if own else {}) | ({"revisions": revised} if revised else {})

    def steps_per_epoch(self, n_train: int) -> int:
        """Steps in an epoch on `n_train` images.

        Raises:
            ValueError: if a shard is smaller than a batch.
        """
        shard = n_train // self.m
        if shard < self.batch:
            raise ValueError(
                f"batch={self.batch} is larger than a worker's shard: {n_train} training images split over m={self.m} "
                f"workers are {shard} each. Use a batch of at most {shard}, or fewer workers."
            )
        whole = shard // self.batch
        if self.steps is not None and self.steps > whole:
            raise ValueError(
                f"steps={self.steps} is more than the {whole} whole batches in a shard; expected at most {whole}"
            )
        return whole if self.steps is None else self.steps


def later_fields(kind: type[RunConfig]) -> list[dataclasses.Field]:
    """The `later` fields of `RunConfig`."""
    return [field for field in dataclasses.fields(kind) if field.metadata.get("later")]


def _check_types(run_config: RunConfig) -> None:
    for name in INT_FIELDS:
        value = getattr(run_config, name)
        optional = value is None and name in ("f", "steps")
        if not optional and (isinstance(value, bool) or not isinstance(value, int | np.integer)):
            raise ValueError(f"{name}={value!r} is not a whole number")
    for name in FLOAT_FIELDS:
        value = getattr(run_config, name)
        if isinstance(value, bool) or not isinstance(value, int | float | np.number):
            raise ValueError(f"{name}={value!r} is not a number")
    ids = run_config.byzantine
    is_list = isinstance(ids, Collection) and all(isinstance(each, int | np.integer) for each in ids)
    if not (ids is None or is_list):
        raise ValueError(f"byzantine={ids!r} is not a list of workers; expected indices such as (0, 3)")


def _optimizer_args(name: str, given: Args) -> Args:
    """The optimizer's options with their defaults. Defaults that JSON cannot hold, such as functions, are left out."""
    if not isinstance(name, str):
        raise ValueError(f"optimizer={name!r} is not a name; expected a string such as 'sgd'")
    factory = getattr(optax, name, None)
    if not (callable(factory) and "learning_rate" in inspect.signature(factory).parameters):
        raise ValueError(unknown("optimizer", name, _optimizers()))
    filled = options(name, names.Spec(factory, source="optax"), given)
    plain_defaults = {key for key, value in filled.items() if key != "learning_rate" and isinstance(value, JSON_TYPES)}
    filled = {key: value for key, value in filled.items() if key in given or key in plain_defaults}
    try:
        _one_update(factory, tuple(sorted(filled.items())))
    except Exception as error:  # optax does not say which exceptions it raises
        raise ValueError(f"optimizer {name} cannot be used with options {dict(given)}: {error}") from error
    return filled


@functools.lru_cache
def _one_update(factory: Callable[..., Any], args: tuple[tuple[str, Any], ...]) -> None:
    """Trace one update with shapes only. Raises what the optimizer raises for unsuitable options."""

    def update(params: Any) -> Any:
        transformation = factory(0.1, **dict(args))
        return transformation.update(params, transformation.init(params), params)

    jax.eval_shape(update, jax.ShapeDtypeStruct((1,), np.float32))


def _optimizers() -> list[str]:
    """The names in optax that work with their defaults."""

    def usable(factory: Any) -> bool:
        if not (inspect.isfunction(factory) and "learning_rate" in inspect.signature(factory).parameters):
            return False
        with contextlib.suppress(Exception), warnings.catch_warnings(action="error"):
            _one_update(factory, ())
            return True
        return False

    return [name for name in dir(optax) if not name.startswith(("_", "scale_by_")) and usable(getattr(optax, name))]


def _check_counts(run_config: RunConfig) -> None:
    least = {"m": 1, "n_byz": 0, "f": 0, "batch": 1, "epochs": 1, "seed": 0}
    if run_config.steps is not None:
        least["steps"] = 1
    for name, low in least.items():
        if (getattr(run_config, name) or 0) < low:
            raise ValueError(f"{name}={getattr(run_config, name)} is below {low}, the minimum")
    for name in ("n_byz", "f"):
        if (getattr(run_config, name) or 0) > run_config.m:
            raise ValueError(f"{name}={getattr(run_config, name)} is more than there are workers, m={run_config.m}")
    for name, most in UPPER_LIMITS.items():
        if getattr(run_config, name) > most:
            raise ValueError(f"{name}={getattr(run_config, name)} is more than {most:,}, the maximum")


def _check_byzantine(run_config: RunConfig) -> None:
    ids = run_config.byzantine or ()
    if len(set(ids)) != run_config.n_byz or not set(ids) <= set(range(run_config.m)):
        raise ValueError(
            f"byzantine={ids} does not name n_byz={run_config.n_byz} different workers of 0 to {run_config.m - 1}"
        )


def _check_ranges(run_config: RunConfig) -> None:
    for name in ("lr", "dirichlet_alpha"):
        value = getattr(run_config, name)
        if not FLOAT32_TINY <= value <= FLOAT32_MAX:
            raise ValueError(f"{name}={value!r:.40} is not a finite number above 0 (in float32)")
    if not 0 <= run_config.momentum_beta < 1:
        raise ValueError(f"momentum_beta={run_config.momentum_beta} is not in [0, 1)")
    for name, kinds in (("momentum", Momentum), ("partition", Partition)):
        if getattr(run_config, name) not in get_args(kinds):
            raise ValueError(unknown(name, getattr(run_config, name), get_args(kinds)))
