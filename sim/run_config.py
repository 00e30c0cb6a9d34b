"""One training run with every hyperparameter spelled out. What a run gives is a pure function of this and of data."""

import dataclasses
import inspect
import json
from collections.abc import Collection, Iterator
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
from byzsim import names
from byzsim.engine.batches import whole_steps
from byzsim.models import MODELS, Model
from byzsim.nearest import unknown
from byzsim.optimizers import optimizer_args
from byzsim.options import FLOAT32_MAX, Args, options, plain
from byzsim.partitions import PARTITIONS
from byzsim.schedules import schedule_args
from byzsim.tasks import TASKS
from byzsim.types import Spec

FLOAT32_TINY = float(np.finfo(np.float32).tiny)
NO_MODEL = Model(lambda key, inputs: ((), ()), lambda params, constants, inputs, key: inputs)
LARGEST_SEED = 2**32 - 1
LIMITS = {
    "m": (1, 10**6),  # more could not be held
    "n_byz": (0, None),
    "f": (0, None),
    "batch": (1, None),
    "epochs": (1, 10**6),  # more would not end
    "steps": (1, None),
    "total_steps": (1, 10**9),
    "eval_every": (1, None),
    "local_steps": (1, None),
    "n_test": (1, None),
    "repetitions": (1, 10**4),
    "seed": (0, LARGEST_SEED),  # more could not be told apart
    "data_seed": (0, LARGEST_SEED),
    "init_seed": (0, LARGEST_SEED),
    "attack_seed": (0, LARGEST_SEED),
}
"""of whole numbers: the smallest and the largest"""
NUMBERS = ("lr", "momentum_beta", "weight_decay", "clip", "local_lr", "participation", "server_noise")
OPTIONAL = frozenset(
    ("f", "batch", "steps", "total_steps", "eval_every", "n_test", "data_seed", "init_seed", "attack_seed", "clip")
) | {"local_lr"}

Momentum = Literal["none", "ema", "classic"]
Sampling = Literal["shuffle", "keep_last", "replacement"]
Data = Literal["own", "none"]
Sends = Literal["gradient", "difference"]
LocalState = Literal["reset", "keep"]
CHOICES = {
    "momentum": Momentum,
    "sampling": Sampling,
    "byzantine_data": Data,
    "sends": Sends,
    "local_state": LocalState,
}


class Length(NamedTuple):
    """How long a run is."""

    measurements: int
    steps_per_epoch: int
    eval_every: int | None
    """steps between measurements; None: an epoch"""

    @property
    def steps(self) -> int:
        """Of the whole run."""
        return self.measurements * (self.eval_every or self.steps_per_epoch)


LATER = {"later": True}
"""marks a field that `RunConfig` did not have from the first. It is part of a run's identity only where it differs from
its default, with which a run is as it was before there was the field: so records of earlier versions stay valid."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class RunConfig:
    """The configuration of one run, with every hyperparameter spelled out.

    Options that are left out of `rule_args`, `attack_args` and others get the factory's defaults, and numbers become
    plain Python numbers. So two ways of writing the same run give equal configurations.

    Raises:
        ValueError: on construction, if a value cannot be used. The message has the value and what was expected.
    """

    rule: str = "mean"
    """aggregation rule: a name in `byzsim.AGGREGATORS`, behind preaggregators if wanted, as in nnm+krum"""
    rule_args: Args = dataclasses.field(default_factory=dict)
    """its options; variant=NAME becomes the options that the rule's variant stands for"""
    attack: str = "none"
    """a name in `byzsim.ATTACKS`, behind modifiers if wanted, as in burst+alie"""
    attack_args: Args = dataclasses.field(default_factory=dict)
    """the options of the attack"""
    m: int = 20
    """workers"""
    n_byz: int = 0
    """workers that really attack"""
    f: int | None = None
    """Byzantine workers that the defender declares; None: n_byz"""
    byzantine: tuple[int, ...] | None = None
    """which workers attack, by index; None: the first n_byz"""
    task: str = dataclasses.field(default="classification", metadata=LATER)
    """what is trained, a name in `byzsim.TASKS`"""
    task_args: Args = dataclasses.field(default_factory=dict, metadata=LATER)
    """the options of the task"""
    model: str | None = None
    """a name in `byzsim.MODELS`, for tasks that train a model; None: lenet"""
    model_args: Args = dataclasses.field(default_factory=dict)
    """the options of the model"""
    batch: int | None = 8
    """examples in the batch of a worker; None: its whole shard"""
    sampling: Sampling = dataclasses.field(default="shuffle", metadata=LATER)
    """how batches are drawn: "shuffle" goes through the shard in a new order in each epoch and leaves out what does not
    fill a batch, "keep_last" keeps it as a short batch, "replacement" draws each example anew"""
    epochs: int = 1
    """passes over the shards; the test set is measured after each"""
    steps: int | None = None
    """steps in an epoch; None: as many whole batches as a shard holds"""
    total_steps: int | None = dataclasses.field(default=None, metadata=LATER)
    """steps of the whole run, instead of epochs"""
    eval_every: int | None = dataclasses.field(default=None, metadata=LATER)
    """steps between measurements; None: an epoch"""
    optimizer: str = "sgd"
    """the server's, a name in `optax` whose first argument is the learning rate"""
    optimizer_args: Args = dataclasses.field(default_factory=dict)
    """the options of the server's optimizer"""
    lr: float = 0.03
    """learning rate of the server"""
    schedule: str = dataclasses.field(default="constant", metadata=LATER)
    """what the learning rate is multiplied with over steps: step_decay, piecewise, or a schedule of optax by name"""
    schedule_args: Args = dataclasses.field(default_factory=dict, metadata=LATER)
    """the options of the schedule"""
    weight_decay: float = dataclasses.field(default=0.0, metadata=LATER)
    """every worker adds this times the parameters to its gradient"""
    clip: float | None = dataclasses.field(default=None, metadata=LATER)
    """every worker shortens its gradient to this norm"""
    server_noise: float = dataclasses.field(default=0.0, metadata=LATER)
    """nu: the server adds normal noise of this standard deviation to each coordinate of the aggregate, the same for all
    rules: x - lr (aggregate + xi)"""
    momentum: Momentum = "none"
    """the workers': "ema" v = beta v + (1 - beta) g, "classic" v = beta v + g"""
    momentum_beta: float = 0.9
    """beta of the workers' momentum"""
    byzantine_momentum: bool = dataclasses.field(default=True, metadata=LATER)
    """the attack starts from the momentum of Byzantine workers; False: from their gradients"""
    local_steps: int = dataclasses.field(default=1, metadata=LATER)
    """steps that a worker makes by itself before it sends"""
    local_optimizer: str = dataclasses.field(default="sgd", metadata=LATER)
    """of the worker's own steps, a name in `optax`"""
    local_optimizer_args: Args = dataclasses.field(default_factory=dict, metadata=LATER)
    """the options of the local optimizer"""
    local_lr: float | None = dataclasses.field(default=None, metadata=LATER)
    """learning rate of the worker's own steps; None: lr"""
    local_state: LocalState = dataclasses.field(default="reset", metadata=LATER)
    """whether the state of a worker's own optimizer begins anew in each round"""
    sends: Sends = dataclasses.field(default="gradient", metadata=LATER)
    """what a worker sends after its own steps: the mean of its gradients, or the difference of its parameters (FedAvg,
    for which the server's rate is usually 1)"""
    participation: float = dataclasses.field(default=1.0, metadata=LATER)
    """share of the workers that take part in a round, drawn anew for each"""
    partition: str = "iid"
    """how training data are dealt out, a name in `byzsim.PARTITIONS`"""
    partition_args: Args = dataclasses.field(default_factory=dict, metadata=LATER)
    """the options of the partition"""
    byzantine_data: Data = dataclasses.field(default="own", metadata=LATER)
    """"none": data are dealt to honest workers only, and each Byzantine worker sees the shard of one of them"""
    n_test: int | None = dataclasses.field(default=None, metadata=LATER)
    """how many examples of the test set are measured, from the first on; None: all"""
    repetitions: int = dataclasses.field(default=1, metadata=LATER)
    """the run with the seeds seed, seed + 1, ... side by side in one program; what is measured is their mean, and as
    NAME_sd their standard deviation"""
    seed: int = 0
    """of all that is drawn at random, unless it has a seed of its own"""
    data_seed: int | None = dataclasses.field(default=None, metadata=LATER)
    """of shards, batches and generated data; None: seed"""
    init_seed: int | None = dataclasses.field(default=None, metadata=LATER)
    """of initial parameters; None: seed"""
    attack_seed: int | None = dataclasses.field(default=None, metadata=LATER)
    """of attacks; None: seed"""

    def __post_init__(self) -> None:
        for name in (*LIMITS, *NUMBERS):
            object.__setattr__(self, name, plain(getattr(self, name)))
        _check_types(self)
        _check_counts(self)
        self._fill()
        _check_byzantine(self)
        _check_ranges(self)
        _check_together(self)
        self._normalise()

    def _fill(self) -> None:
        for field in ("rule", "attack"):
            given = getattr(self, field)
            object.__setattr__(self, field, names.canonical(given) if isinstance(given, str) else given)
        self._fill_model()
        for field, spec in self._specs():
            given, stand_ins = getattr(self, f"{field}_args"), {"model": NO_MODEL}
            filled = options(getattr(self, field), spec, given, stand_ins=stand_ins)
            object.__setattr__(self, f"{field}_args", filled)
        for prefix in ("", "local_"):
            filled = optimizer_args(getattr(self, f"{prefix}optimizer"), getattr(self, f"{prefix}optimizer_args"))
            object.__setattr__(self, f"{prefix}optimizer_args", filled)
        object.__setattr__(self, "schedule_args", schedule_args(self.schedule, self.schedule_args))
        object.__setattr__(self, "f", self.n_byz if self.f is None else self.f)
        chosen = range(self.n_byz) if self.byzantine is None else self.byzantine
        object.__setattr__(self, "byzantine", tuple(chosen))

    def _fill_model(self) -> None:
        if takes_model(self.task):
            object.__setattr__(self, "model", "lenet" if self.model is None else self.model)
        elif self.model is not None or self.model_args:
            raise ValueError(f"task {self.task} trains no model, got model={self.model!r}, {dict(self.model_args)}")

    def _normalise(self) -> None:
        for kind, fields in ((int, LIMITS), (float, NUMBERS)):
            for name in fields:
                value = getattr(self, name)
                object.__setattr__(self, name, None if value is None else kind(value))
        object.__setattr__(self, "byzantine", tuple(sorted(map(int, self.byzantine or ()))))
        for name in ("data_seed", "init_seed", "attack_seed"):
            object.__setattr__(self, name, None if getattr(self, name) == self.seed else getattr(self, name))

    def _specs(self) -> Iterator[tuple[str, Spec]]:
        yield "rule", names.rule_spec(self.rule)
        yield "attack", names.attack_spec(self.attack)
        yield "task", names.known("task", self.task, TASKS)
        yield "partition", names.known("partition", self.partition, PARTITIONS)
        if self.model is not None:
            yield "model", names.known("model", self.model, MODELS)

    def __hash__(self) -> int:
        return hash(json.dumps(self.as_dict(), sort_keys=True, default=str))

    @property
    def alpha(self) -> float:
        """Fraction of Byzantine workers."""
        return self.n_byz / self.m

    @property
    def members(self) -> tuple[str, ...]:
        """The names of all that is registered and takes part in the run."""
        named = (self.rule, self.attack, self.task, self.partition, self.model)
        return tuple(name for name in named if name is not None)

    @property
    def participants(self) -> int:
        """Workers that take part in a round."""
        return max(round(self.participation * self.m), 1)

    @property
    def max_f(self) -> int:
        """The largest number of Byzantine workers that the rule is guaranteed to withstand."""
        return names.max_f(names.rule_spec(self.rule), self.participants, self.rule_args)

    @property
    def beyond_bound(self) -> bool:
        """Whether there are more Byzantine workers, real or declared, than the rule's guarantee covers."""
        return max(self.n_byz, self.f or 0) > self.max_f

    def as_dict(self) -> dict[str, Any]:
        """Everything that determines the result of the run, as plain JSON values.

        `sources` is there only if a member is a user's own, and has the SHA-256 of its source code. `revisions` is
        there only for members that gave other numbers in an earlier version with the same options. A field that is
        marked `LATER` is there only if it differs from its default.
        """
        left_out = [name for name, default in later_fields(type(self)).items() if getattr(self, name) in (default, {})]
        known = {name: value for name, value in dataclasses.asdict(self).items() if name not in left_out}
        known |= {"alpha": self.alpha, "byzantine": list(self.byzantine or ())}
        extra = {"sources": names.own(*self.members), "revisions": names.revisions(*self.members)}
        return known | {name: value for name, value in extra.items() if value}

    def length(self, n_train: int | None) -> Length:
        """How long the run is with so many training examples; None: batches are sampled.

        Raises:
            ValueError: if a shard is smaller than a batch, or steps are not those of whole epochs or measurements.
        """
        in_epoch = self.steps_per_epoch(n_train)
        if self.eval_every is None and self.total_steps is None:
            return Length(self.epochs, in_epoch, None)
        total = self.total_steps or self.epochs * in_epoch
        every = self.eval_every or min(in_epoch, total)
        if total % every:
            near = sorted({max(d, 1) for d in range(1, total + 1) if total % d == 0}, key=lambda d: abs(d - every))[:2]
            raise ValueError(
                f"eval_every={every} does not divide the run's {total} steps: take {' or '.join(map(str, near))}, or "
                "other total_steps"
            )
        return Length(total // every, in_epoch, every)

    def steps_per_epoch(self, n_train: int | None) -> int:
        """Steps in an epoch with so many training examples; None: batches are sampled.

        Raises:
            ValueError: if a shard is smaller than a batch, or too small for the local steps of one round.
        """
        if n_train is None:
            if self.steps is None and self.total_steps is None:
                raise ValueError(f"task {self.task} draws fresh examples, so an epoch has no end: give steps=...")
            return self.steps or (self.eval_every or self.total_steps or 1)
        dealt = self.m - self.n_byz if self.byzantine_data == "none" else self.m
        shard, batch = n_train // dealt, self.batch
        if shard < (batch or 1):
            raise ValueError(
                f"batch={batch} is larger than a worker's shard: {n_train} training examples over m={dealt} workers "
                f"are {shard} each. Use a batch of at most {shard}, or fewer workers."
            )
        whole = whole_steps(shard, batch, self.sampling, self.local_steps)
        if whole < 1:
            raise ValueError(
                f"local_steps={self.local_steps} batches of {batch} are more than the {shard} examples of a shard; "
                "take fewer, or a smaller batch"
            )
        if self.steps is not None and self.steps > whole and self.sampling == "shuffle" and self.batch:
            raise ValueError(
                f"steps={self.steps} is more than the {whole} whole batches in a shard; expected at most {whole}"
            )
        return whole if self.steps is None else self.steps


def later_fields(kind: type[RunConfig]) -> dict[str, Any]:
    """The `later` fields of `RunConfig`, with their defaults."""
    return {field.name: _default(field) for field in dataclasses.fields(kind) if field.metadata.get("later")}


def _default(field: dataclasses.Field) -> Any:
    if field.name == "local_optimizer_args":
        return optimizer_args("sgd", {})
    return {} if field.default is dataclasses.MISSING else field.default


def takes_model(task: str) -> bool:
    """Whether the task trains a model.

    Raises:
        ValueError: for an unknown task.
    """
    return "model" in inspect.signature(names.known("task", task, TASKS).factory).parameters


def _check_types(run: RunConfig) -> None:
    for name in LIMITS:
        value = getattr(run, name)
        absent = value is None and name in OPTIONAL
        if not absent and (isinstance(value, bool) or not isinstance(value, int | np.integer)):
            raise ValueError(f"{name}={value!r} is not a whole number")
    for name in NUMBERS:
        value = getattr(run, name)
        absent = value is None and name in OPTIONAL
        if not absent and (isinstance(value, bool) or not isinstance(value, int | float | np.number)):
            raise ValueError(f"{name}={value!r} is not a number")
    if not (run.byzantine is None or _whole_numbers(run.byzantine)):
        raise ValueError(f"byzantine={run.byzantine!r} is not a list of workers; expected indices such as (0, 3)")
    if not isinstance(run.byzantine_momentum, bool):
        raise ValueError(f"byzantine_momentum={run.byzantine_momentum!r} is not True or False")


def _whole_numbers(values: Any) -> bool:
    return isinstance(values, Collection) and all(isinstance(each, int | np.integer) for each in values)


def _check_counts(run: RunConfig) -> None:
    for name, (low, _) in LIMITS.items():
        value = getattr(run, name)
        if value is not None and value < low:
            raise ValueError(f"{name}={value} is below {low}, the minimum")
    for name in ("n_byz", "f"):
        if (getattr(run, name) or 0) > run.m:
            raise ValueError(f"{name}={getattr(run, name)} is more than there are workers, m={run.m}")
    for name, (_, most) in LIMITS.items():
        value = getattr(run, name)
        if most is not None and value is not None and value > most:
            raise ValueError(f"{name}={value} is more than {most:,}, the maximum")


def _check_byzantine(run: RunConfig) -> None:
    ids = run.byzantine or ()
    if len(set(ids)) != run.n_byz or not set(ids) <= set(range(run.m)):
        raise ValueError(f"byzantine={ids} does not name n_byz={run.n_byz} different workers of 0 to {run.m - 1}")


def _check_ranges(run: RunConfig) -> None:
    for name in ("lr", "clip", "local_lr"):
        value = getattr(run, name)
        if value is not None and not FLOAT32_TINY <= value <= FLOAT32_MAX:
            raise ValueError(f"{name}={value!r:.40} is not a finite number above 0 (in float32)")
    if not 0 <= run.momentum_beta < 1:
        raise ValueError(f"momentum_beta={run.momentum_beta} is not in [0, 1); expected 0 <= momentum_beta < 1")
    if not 0 <= run.weight_decay <= FLOAT32_MAX:
        raise ValueError(f"weight_decay={run.weight_decay} is not a finite number of at least 0")
    if not 0 < run.participation <= 1:
        raise ValueError(f"participation={run.participation} is not a share above 0 and at most 1")
    if not 0 <= run.server_noise <= FLOAT32_MAX:
        raise ValueError(f"server_noise={run.server_noise} is not a finite number of at least 0")
    for name, kinds in CHOICES.items():
        if getattr(run, name) not in get_args(kinds):
            raise ValueError(unknown(name, getattr(run, name), get_args(kinds)))


def _check_together(run: RunConfig) -> None:
    """What fields have to agree on."""
    if (run.f or 0) > run.participants:
        raise ValueError(f"f={run.f} is more than the {run.participants} workers that take part in a round")
    if run.byzantine_data == "none" and run.n_byz == run.m:
        raise ValueError("byzantine_data='none' deals data to honest workers, and there are none: n_byz is m")
    if run.batch is None and run.sampling != "shuffle":
        raise ValueError(f"batch=None is the whole shard, so sampling={run.sampling!r} has no meaning")
    defaults = later_fields(RunConfig).items()
    local = [name for name, default in defaults if name.startswith("local_") and getattr(run, name) != default]
    if run.local_steps == 1 and run.sends == "gradient" and local:
        raise ValueError(f"{local[0]} has no meaning without local steps: give local_steps=..., or sends='difference'")
