"""Configurations resolved to functions, and grouped by the program that executes them."""

import inspect
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from byzsim.engine import DynamicConfig, Local, StaticConfig, Stream
from byzsim.models import MODELS, as_model
from byzsim.names import attack_spec, rule_spec
from byzsim.options import Args, varying
from byzsim.partitions import PARTITIONS
from byzsim.run_config import RunConfig
from byzsim.schedules import schedule
from byzsim.task import Data, Task, n_examples
from byzsim.tasks import TASKS
from byzsim.types import Spec


class Call(NamedTuple):
    """A factory with its static options: equal by value, so that equal programs are found in the cache."""

    factory: Callable[..., Any]
    static: tuple[tuple[str, Any], ...]

    def __call__(self, *args: Any, **traced: Any) -> Any:
        return self.factory(*args, **dict(self.static), **traced)


def call(
    factory: Callable[..., Any], options: Args, dtype: Any = jnp.float32, array: Callable[..., Any] = jnp.asarray
) -> tuple[Call, dict[str, Any]]:
    """(factory with its static options, its traced ones as arrays), as its annotations have them."""
    traced = varying(factory, options)
    static = tuple((key, value) for key, value in sorted(options.items()) if key not in traced)
    return Call(factory, static), {key: array(value, dtype) for key, value in traced.items()}


class TaskCall(NamedTuple):
    """A task's factory with its options and its model, equal by value."""

    factory: Callable[..., Task]
    static: tuple[tuple[str, Any], ...]
    model: Call | None

    def __call__(self) -> Task:
        return self.factory(**dict(self.static), **({} if self.model is None else {"model": as_model(self.model())}))


def task_call(run_config: RunConfig, n_outputs: int | None) -> TaskCall:
    """The task of a run.

    Args:
        n_outputs: classes of the data set, or targets; None: the task has no data set.
    """
    factory = TASKS[run_config.task].factory
    args: dict[str, Any] = dict(run_config.task_args)
    if "n_classes" in inspect.signature(factory).parameters:
        args["n_classes"] = n_outputs
    model = None
    if run_config.model is not None:
        model = Call(MODELS[run_config.model].factory, _sorted({"n_classes": n_outputs, **run_config.model_args}))
    return TaskCall(factory, _sorted(args), model)


class Source(NamedTuple):
    """What of a data set shapes a program."""

    n_outputs: int | None = None
    """classes of the labels, or targets of an example"""
    n_train: int | None = None
    """training examples"""


NO_SOURCE = Source()
"""for a task that makes its own examples"""


def source_of(train: Data, n_classes: int | None) -> Source:
    """The `Source` of a training set; without classes the number of targets is that of the labels."""
    targets = 1 if train.labels is None or train.labels.ndim == 1 else train.labels.shape[1]
    return Source(targets if n_classes is None else n_classes, n_examples(train))


class Run(NamedTuple):
    """A configuration with its names resolved to functions, once; everything after takes this."""

    config: RunConfig
    rule: Spec
    attack: Spec
    task: TaskCall
    static: StaticConfig
    dynamic: DynamicConfig
    measurements: int


def resolve(config: RunConfig, source: Source = NO_SOURCE) -> Run:
    """`Traced` options become part of the dynamic configuration; all other options shape the program.

    Args:
        source: of the data set; default: there is none.
    Raises:
        ValueError: if the length of the run does not fit the training examples.
    """
    rule, attack = rule_spec(config.rule), attack_spec(config.attack)
    rule_call, rule_args = call(rule.factory, config.rule_args)
    attack_call, attack_args = call(attack.factory, config.attack_args)
    partition_call, partition_args = call(PARTITIONS[config.partition].factory, config.partition_args)
    task = task_call(config, source.n_outputs)
    length = config.length(training_examples(config, task(), source.n_train))
    static = StaticConfig(
        rule=rule_call,
        attack=attack_call,
        task=task,
        optimizer=_optimizer(config.optimizer, config.optimizer_args),
        m=config.m,
        batch=config.batch,
        momentum=config.momentum,
        partition=partition_call,
        steps=length.steps_per_epoch if task().sample else config.steps,
        eval_every=length.eval_every,
        sampling=config.sampling,
        schedule=_schedule(config),
        decays=config.weight_decay > 0,
        clips=config.clip is not None,
        perturbs=config.server_noise > 0,
        byzantine_momentum=config.byzantine_momentum,
        honest_data=config.m - config.n_byz if config.byzantine_data == "none" else None,
        participants=config.participants if config.participants < config.m else None,
        local=_local(config),
        n_test=config.n_test,
        repetitions=config.repetitions,
    )
    dynamic = DynamicConfig(
        seeds=_seeds(config),
        f=jnp.int32(config.f or 0),
        byz=jnp.isin(jnp.arange(config.m), jnp.array(config.byzantine or (), int)),
        lr=jnp.float32(config.lr),
        beta=jnp.float32(config.momentum_beta),
        weight_decay=jnp.float32(config.weight_decay),
        clip=jnp.float32(config.clip or 0),
        local_lr=jnp.float32(config.lr if config.local_lr is None else config.local_lr),
        server_noise=jnp.float32(config.server_noise),
        rule_args=rule_args,
        attack_args=attack_args,
        partition_args=partition_args,
    )
    return Run(config, rule, attack, task, static, dynamic, length.measurements)


def training_examples(config: RunConfig, task: Task, n_train: int | None) -> int | None:
    """How many there are, of the data set or of what the task generates; None: batches are sampled."""
    if task.sample:
        return None
    if task.generate:
        generate = task.generate
        return n_examples(jax.eval_shape(lambda: generate(jax.random.key(0), config.m)).train)
    return n_train


def _seeds(config: RunConfig) -> jax.Array:
    """One for each stream; those that the configuration does not name are the run's."""
    own = dict.fromkeys((Stream.SHARDS, Stream.BATCHES, Stream.DATA, Stream.EXAMPLES), config.data_seed)
    own |= dict.fromkeys((Stream.LABELS, Stream.ATTACK), config.attack_seed) | {Stream.INIT: config.init_seed}
    seeds = [config.seed if own.get(stream) is None else own[stream] for stream in Stream]
    return jnp.asarray(np.array(seeds, np.uint32))


def _schedule(config: RunConfig) -> Call | None:
    if config.schedule == "constant":
        return None
    return Call(schedule, (("name", config.schedule), *_sorted(config.schedule_args)))


def _local(config: RunConfig) -> Local | None:
    if config.local_steps == 1 and config.sends == "gradient":
        return None
    optimizer = _optimizer(config.local_optimizer, config.local_optimizer_args)
    return Local(config.local_steps, optimizer, config.sends, config.local_state == "keep")


def _optimizer(name: str, args: Args) -> Call:
    return Call(getattr(optax, name), _sorted(args))


def _sorted(args: Args) -> tuple[tuple[str, Any], ...]:
    return tuple(sorted(args.items()))


class Group(NamedTuple):
    """Runs that one program executes."""

    static: StaticConfig
    runs: tuple[Run, ...]

    @property
    def dynamic(self) -> tuple[DynamicConfig, ...]:
        """What varies between the runs."""
        return tuple(run.dynamic for run in self.runs)

    @property
    def measurements(self) -> int:
        """Of every run."""
        return self.runs[0].measurements


def grouped(runs: Iterable[Run]) -> list[Group]:
    """Runs by program and number of measurements, in the order of their first member."""
    groups: dict[Any, list[Run]] = {}
    for run in runs:
        groups.setdefault((run.static, run.measurements), []).append(run)
    return [Group(static, tuple(group)) for (static, _), group in groups.items()]


def plan(configs: Iterable[RunConfig], source: Source = NO_SOURCE) -> list[Group]:
    """Resolve configurations and group them by program."""
    return grouped(resolve(config, source) for config in configs)
