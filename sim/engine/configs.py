"""What of a run shapes its program, and what may vary inside one program."""

import enum
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, NamedTuple

import jax
import optax
from byzsim.partitions import Partition
from byzsim.schedules import Schedule
from byzsim.servers import for_each
from byzsim.task import Task
from byzsim.types import Aggregator, Attack, Traced
from jaxtyping import Array, Bool, Float, Int, Key, UInt32

NUMERICS = 3  # raised when the same run may give other numbers than before


class Stream(enum.IntEnum):
    """Who draws from a run's seeds, each a stream of its own: a new reader never shifts the numbers of another."""

    INIT = 0
    SHARDS = 1
    BATCHES = 2
    LABELS = 3
    ATTACK = 4
    RULE = 5
    SERVER = 6
    MODEL = 7
    PARTICIPANTS = 8
    DATA = 9
    EXAMPLES = 10
    NOISE = 11
    EXCHANGE = 12


class DynamicConfig(NamedTuple):
    """All of a run that may vary inside one program."""

    seeds: UInt32[Array, " streams"]
    """of each `Stream`"""
    f: Int[Array, ""]
    byz: Bool[Array, " m"]
    lr: Float[Array, ""]
    beta: Float[Array, ""]
    """of the worker momentum"""
    weight_decay: Float[Array, ""]
    clip: Float[Array, ""]
    """the norm to which workers shorten their gradients"""
    local_lr: Float[Array, ""]
    server_noise: Float[Array, ""]
    """standard deviation of what the server adds to every coordinate of the aggregate"""
    rule_args: dict[str, Float[Array, ""]]
    attack_args: dict[str, Float[Array, ""]]
    partition_args: dict[str, Float[Array, ""]]


class Local(NamedTuple):
    """Steps that a worker makes by itself before it sends."""

    steps: int
    optimizer: Callable[[Traced], optax.GradientTransformation]
    sends: Literal["gradient", "difference"]
    """the mean of its gradients, or the parameters that it was given less those that it has arrived at"""
    keeps_state: bool
    """the state of its optimizer lasts from one round to the next"""


@dataclass(frozen=True)
class StaticConfig:
    """All of a run that shapes its program; equal programs are compiled once."""

    rule: Callable[..., Aggregator]
    """called inside the program, with the traced options in `DynamicConfig`; so are `attack` and `partition`"""
    attack: Callable[..., Attack]
    task: Callable[[], Task]
    optimizer: Callable[[Traced], optax.GradientTransformation]
    m: int
    batch: int | None
    """None: the whole shard"""
    momentum: str
    partition: Callable[..., Partition]
    steps: int | None = None
    """in an epoch; None: as many as the shards give"""
    eval_every: int | None = None
    """steps between measurements; None: an epoch"""
    sampling: str = "shuffle"
    schedule: Callable[[], Schedule] | None = None
    decays: bool = False
    clips: bool = False
    perturbs: bool = False
    """the server adds noise to the aggregate"""
    byzantine_momentum: bool = True
    honest_data: int | None = None
    """how many honest workers the data are dealt to; None: to all workers"""
    participants: int | None = None
    """workers in a round, drawn anew; None: all"""
    local: Local | None = None
    n_test: int | None = None
    """the first test examples that are measured; None: all"""
    trace: bool = False
    """measure every worker at every step"""
    repetitions: int = 1
    """of the run with other seeds, side by side"""


def members(static: StaticConfig, dynamic: DynamicConfig) -> tuple[Aggregator, Attack]:
    """The rule and the attack, with their traced options; of several servers each has the rule for itself."""
    rule, servers = static.rule(**dynamic.rule_args), static.task().servers
    return for_each(rule, servers) if servers else rule, static.attack(**dynamic.attack_args)


def stream_key(dynamic: DynamicConfig, stream: Stream) -> Key[Array, ""]:
    """The key that a stream starts from."""
    return jax.random.fold_in(jax.random.key(dynamic.seeds[stream], impl="threefry2x32"), stream)


def step_key(dynamic: DynamicConfig, stream: Stream, step: Int[Array, ""]) -> Key[Array, ""]:
    """The key of a stream for one step."""
    return jax.random.fold_in(stream_key(dynamic, stream), step)
