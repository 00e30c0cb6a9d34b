"""Training steps and per-worker gradients, as in `byzsim run`, compared with byzfl and torch."""

import dataclasses
import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from byzsim import Data, RunConfig, engine, grid
from byzsim.convolutions import by_platform
from byzsim.engine import DynamicConfig, StaticConfig, TrainState
from byzsim.engine.workers import Point, Work, one_example, unraveller, updates
from byzsim.experiments.bench.environment import Peer
from byzsim.experiments.bench.measure import Budget, Candidate, Comparison, interleaved, local
from byzsim.experiments.errors import UserError
from byzsim.experiments.run import devices
from byzsim.grid import placement, programs
from flax.traverse_util import flatten_dict, unflatten_dict
from jax.flatten_util import ravel_pytree

M, F, CLASSES, LR = 20, 5, 10, 0.03
TOLERANCE = 1e-4  # of the largest entry
LANE_TARGETS = {8: 8.0, 32: 4.5}  # b -> times as fast as byzfl, each of the runs that train at the same time
ALONE_TARGETS = {8: 6.0, 32: 3.5}  # the same of one run that has all cores to itself
GRADIENT_TARGETS = {8: 3.0, 32: 2.5}  # b -> times as fast as torch


@dataclasses.dataclass(frozen=True)
class Setting:
    """The same rule and attack in byzsim and in byzfl."""

    title: str
    rule: str
    rule_args: Mapping[str, Any]
    attack: str
    attack_args: Mapping[str, Any]
    byzfl_rule: str
    byzfl_attack: Mapping[str, Any]
    with_f: bool = True
    """whether byzfl's rule takes f"""

    def run_config(self, batch: int, *, m: int = M, n_byz: int = F, model: str = "lenet") -> RunConfig:
        rule: dict[str, Any] = {"rule": self.rule, "rule_args": self.rule_args}
        attack: dict[str, Any] = {"attack": self.attack, "attack_args": self.attack_args}
        return RunConfig(**rule, **attack, model=model, m=m, n_byz=n_byz, batch=batch, lr=LR)


SETTINGS = (
    Setting(
        "median, Gaussian",
        "median",
        {},
        "gaussian",
        {"sigma": 1.0},
        "Median",
        {"name": "Gaussian", "parameters": {"sigma": 1.0}},
        with_f=False,
    ),
    Setting(
        "Krum, sign flip",
        "krum",
        {"variant": "byzfl"},
        "sign_flip",
        {"gradient": "mean"},
        "Krum",
        {"name": "SignFlipping", "parameters": {}},
    ),
    Setting(
        "trimmed mean, ALIE",
        "trimmed_mean",
        {},
        "alie",
        {"z": 1.5, "ddof": 1, "sign": "plus"},
        "TrMean",
        {"name": "ALittleIsEnough", "parameters": {"tau": 1.5}},
    ),
)


# ---------------------------------------------------------------------------------------------------------
# The same numbers on both candidates
# ---------------------------------------------------------------------------------------------------------

MODELS = {"lenet": "LeNet", "resnet20": "ResNet20"}  # ours -> the peers', whose layers have our names
FLATTENED = (5, 5, 16)  # rows, columns, channels where LeNet's dense layers begin; torch counts channels first


def to_torch(tree: Any) -> dict[str, np.ndarray]:
    """Our parameters with torch's names and layouts."""
    theirs = {}
    for (*layer, leaf), value in flatten_dict(jax.device_get(tree)["params"]).items():
        name = "bias" if leaf == "bias" else "weight"
        theirs[".".join([*layer, name])] = np.ascontiguousarray(_weight(value) if leaf == "kernel" else value)
    return theirs


def from_torch(theirs: Mapping[str, np.ndarray]) -> Any:
    """The reverse of `to_torch`."""
    ours: dict[tuple[str, ...], np.ndarray] = {}
    for name, value in theirs.items():
        *layer, leaf = name.split(".")
        kind = leaf if leaf == "bias" else "scale" if value.ndim == 1 else "kernel"
        ours[*layer, kind] = _kernel(value) if kind == "kernel" else value
    return {"params": unflatten_dict(ours)}


def _weight(kernel: np.ndarray) -> np.ndarray:
    if kernel.ndim == 4:
        return kernel.transpose(3, 2, 0, 1)
    if len(kernel) == np.prod(FLATTENED):
        kernel = kernel.reshape(*FLATTENED, -1).transpose(2, 0, 1, 3).reshape(kernel.shape)
    return kernel.T


def _kernel(weight: np.ndarray) -> np.ndarray:
    if weight.ndim == 4:
        return weight.transpose(2, 3, 1, 0)
    rows, columns, channels = FLATTENED
    if weight.shape[1] == np.prod(FLATTENED):
        weight = weight.reshape(-1, channels, rows, columns).transpose(0, 2, 3, 1).reshape(weight.shape)
    return weight.T


def check_same(what: str, ours: Any, theirs: Any, tolerance: float = TOLERANCE) -> None:
    """Refuse to time candidates that compute different things.

    Raises:
        UserError: an entry differs by more than `tolerance` times their largest entry.
    """
    ours, theirs = np.asarray(ours, float), np.asarray(theirs, float)
    if ours.shape != theirs.shape:
        raise UserError(f"not the same work, nothing timed: {what}: shapes {ours.shape} and {theirs.shape}")
    largest = np.abs(theirs).max()
    apart = np.abs(ours - theirs).max() / (largest if largest > 0 else 1.0)
    if not apart <= tolerance:
        raise UserError(
            f"not the same work, nothing timed: {what}: our result and the peer's differ by {apart:.3g} of the largest "
            f"entry; at most {tolerance:g} is allowed"
        )


class Images:
    """Random images for some steps of all workers, in the layouts of both candidates."""

    def __init__(self, batch: int, steps: int, m: int = M, shape: tuple[int, ...] = (28, 28)):
        draw = np.random.default_rng(0)
        n = m * batch * steps
        images, labels = draw.integers(0, 256, (n, *shape), np.uint8), draw.integers(0, CLASSES, n, np.uint8)
        self.train = Data(jnp.asarray(images), jnp.asarray(labels))
        self.test = Data(self.train.inputs[:m], self.train.labels[:m])
        self.source = grid.Source(CLASSES, n)
        self.index = jnp.arange(n).reshape(steps, m, batch)
        unit = np.moveaxis(images.astype(np.float32).reshape(n, *shape[:2], -1) / 255, -1, 1)  # channels first
        self.unit = unit.reshape(steps, m, batch, *unit.shape[1:]).swapaxes(0, 1)
        self.classes = labels.astype(np.int64).reshape(steps, m, batch).swapaxes(0, 1)

    def honest(self, n_byz: int) -> dict[str, np.ndarray]:
        """The data of byzfl's honest clients, the workers after the first n_byz: (workers, steps, b, ...)."""
        return {"images": self.unit[n_byz:], "labels": self.classes[n_byz:]}

    def first(self) -> dict[str, np.ndarray]:
        """The first batch of all workers: (workers, b, ...)."""
        return {"images": self.unit[:, 0], "labels": self.classes[:, 0]}


# ---------------------------------------------------------------------------------------------------------
# Per-worker gradients
# ---------------------------------------------------------------------------------------------------------


def gradients(batches: tuple[int, ...], peer: Peer | None, folder: Path, budget: Budget) -> Iterator[Comparison]:
    """(m, d) gradients at the Table 1 setting, of one run and of a run in each lane, against torch."""
    for batch in batches:
        static, dynamic, images = _prepared(SETTINGS[0], batch, steps=1)
        params = jax.jit(engine.start, static_argnums=0)(static, dynamic, images.train).params
        candidates = {str(n): _gradient_candidate(static, params, images, n) for n in _lane_counts()}
        if peer is not None:
            job = _gradient_job(static, params, images, folder)
            _check_gradients(peer, job, static, params, images, folder)
            candidates["torch"] = peer.candidate(job)
        times, failures = interleaved(candidates, budget)
        for n in _lane_counts():
            yield Comparison(
                part="gradients",
                what=_lanes_text(n),
                shape=f"b = {batch}",
                sense=">=",
                other="torch.func.vmap(grad)",
                ours=_share(times[str(n)], n),
                theirs=times.get("torch"),
                target=GRADIENT_TARGETS.get(batch),
                note=failures.get("torch", ""),
            )


def _lane_counts() -> list[int]:
    """One run alone, and a run for each core."""
    return sorted({1, devices.cores()})


def _lanes_text(n: int) -> str:
    return "one run alone" if n == 1 else f"{n} runs in {n} lanes, time for each"


def _in_lanes(calls: Sequence[Callable[[], Any]]) -> Candidate:
    """All calls at the same time, on one device, each in a thread of its own: the lanes of `byzsim run`."""
    if len(calls) == 1:
        return local(calls[0])
    pool = ThreadPoolExecutor(len(calls))
    return local(lambda: list(pool.map(lambda call: jax.block_until_ready(call()), calls)))


def _gradient_candidate(static: StaticConfig, params: jax.Array, images: Images, n: int) -> Candidate:
    """`n` runs, each in a lane."""
    x, y = images.train.inputs[images.index[0]], images.train.labels[images.index[0]].astype(jnp.int32)
    return _in_lanes([functools.partial(jax.jit(gradients_of(static, images)), params, x, y)] * n)


def _gradient_job(static: StaticConfig, params: jax.Array, images: Images, folder: Path) -> dict[str, Any]:
    path = folder / "gradients.npz"
    arrays: dict[str, Any] = to_torch(_tree(static, params, images)) | images.first()
    np.savez(path, **arrays)
    return {"kind": "gradients", "arrays": str(path), "model": "LeNet", "batch": images.index.shape[-1]}


def _check_gradients(
    peer: Peer, job: Any, static: StaticConfig, params: jax.Array, images: Images, folder: Path
) -> None:
    out = folder / "gradients_of_peer.npz"
    peer.run(job, out=out)
    theirs = dict(np.load(out))
    flat = [ravel_pytree(from_torch({k: v[i] for k, v in theirs.items()}))[0] for i in range(M)]
    x, y = images.train.inputs[images.index[0]], images.train.labels[images.index[0]].astype(jnp.int32)
    ours = jax.jit(gradients_of(static, images))(params, x, y)
    check_same("per-worker gradients of LeNet", ours, np.stack(flat))


def _tree(static: StaticConfig, params: jax.Array, images: Images) -> Any:
    task = static.task()
    return {"params": unraveller(task, one_example(task, images.train))(params)}


def gradients_of(static: StaticConfig, images: Images) -> Callable[[jax.Array, jax.Array, jax.Array], jax.Array]:
    """(parameters, images, labels) -> the gradients of all workers, as a step of training computes them."""
    task = static.task()
    example = one_example(task, images.train)
    unravel = unraveller(task, example)

    def gradients(params: jax.Array, x: jax.Array, y: jax.Array) -> jax.Array:
        given = Point(params, ()), 1.0, Work(Data(x, y), None, None), jnp.ones(len(y), bool)
        return by_platform(task, example, functools.partial(updates, static, unravel), *given)[1]

    return gradients


# ---------------------------------------------------------------------------------------------------------
# Whole steps
# ---------------------------------------------------------------------------------------------------------


def steps(
    batches: tuple[int, ...], settings: tuple[Setting, ...], peer: Peer | None, folder: Path, budget: Budget, n: int
) -> Iterator[Comparison]:
    """A step of an epoch of `n` steps in `byzsim run`, compared with a step of byzfl's training loop."""
    for setting in settings:
        for batch in batches:
            static, dynamic, images = _prepared(setting, batch, steps=n)
            candidates = {
                str(n_lanes): _epoch_candidate(static, dynamic, images, n_lanes) for n_lanes in _lane_counts()
            }
            if peer is not None:
                job, run_config = (
                    step_job(setting, setting.run_config(batch), images, folder),
                    setting.run_config(batch),
                )
                check_step(peer, setting, run_config, Images(batch, 1), folder)
                candidates["byzfl"] = _many(peer.candidate(job), n)
            times, failures = interleaved(candidates, budget)
            times = {name: _share(timing, n) for name, timing in times.items()}
            yield from _step_findings(setting, batch, times, failures.get("byzfl", ""))


def _step_findings(setting: Setting, batch: int, times: Mapping[str, Any], note: str) -> Iterator[Comparison]:
    ours = {int(name): t for name, t in times.items() if name != "byzfl"}
    for n, timing in ours.items():
        targets = ALONE_TARGETS if n == 1 else LANE_TARGETS
        yield Comparison(
            part="steps",
            what=f"{setting.title}: {_lanes_text(n)}",
            shape=f"b = {batch}",
            sense=">=",
            other="byzfl",
            ours=_share(timing, n),
            theirs=times.get("byzfl"),
            target=targets.get(batch),
            note=note,
        )
    most = max(ours)
    if most > 1:
        yield Comparison(
            part="lanes",
            what=f"{setting.title}: {_lanes_text(most)}",
            shape=f"b = {batch}",
            sense=">=",
            other="one run alone",
            ours=_share(ours[most], most),
            theirs=ours[1],
        )


def _prepared(setting: Setting, batch: int, steps: int) -> tuple[StaticConfig, DynamicConfig, Images]:
    images = Images(batch, steps)
    (group,) = grid.plan([setting.run_config(batch)], images.source)
    return group.static, group.dynamic[0], images


def _epoch_candidate(static: StaticConfig, dynamic: DynamicConfig, images: Images, n: int) -> Candidate:
    """An epoch of `n` runs, each in a lane, by the program of `grid.run`; each call continues the last."""
    mesh = jax.sharding.Mesh(np.array(jax.devices()[:1]), ("runs",))
    start, epoch, _ = programs.programs(static, mesh, None)
    one = placement.place(jax.tree.map(lambda leaf: leaf[None], dynamic), mesh, "runs")
    train, test = placement.place((images.train, images.test), mesh)

    def lane() -> Callable[[], Any]:
        state = [start(one, train)]

        def call() -> Any:
            state[0], measured = epoch(one, state[0], train, test)
            return state[0].params, measured

        return call

    return _in_lanes([lane() for _ in range(n)])


def _begun(run_config: RunConfig, images: Images) -> tuple[StaticConfig, DynamicConfig, TrainState]:
    (group,) = grid.plan([run_config], images.source)
    start = jax.jit(engine.start, static_argnums=0)
    return group.static, group.dynamic[0], start(group.static, group.dynamic[0], images.train)


def step_job(
    setting: Setting, run_config: RunConfig, images: Images, folder: Path, *, device: str = "cpu", tf32: bool = False
) -> dict[str, Any]:
    """byzfl's job; jobs with different numbers of steps have different files, so that none is overwritten."""
    static, _, state = _begun(run_config, images)
    path = folder / f"step_{images.index.shape[0]}.npz"
    arrays: dict[str, Any] = to_torch(_tree(static, state.params, images)) | images.honest(run_config.n_byz)
    np.savez(path, **arrays)
    rule = {"name": setting.byzfl_rule, "parameters": {"f": run_config.n_byz} if setting.with_f else {}}
    job = {"kind": "step", "arrays": str(path), "model": MODELS[str(run_config.model)], "device": device, "tf32": tf32}
    attack = {**setting.byzfl_attack, "f": run_config.n_byz}
    return job | {"lr": LR, "rule": rule, "attack": attack, "title": setting.title, "batch": run_config.batch}


def check_step(
    peer: Peer, setting: Setting, run_config: RunConfig, images: Images, folder: Path, *, device: str = "cpu"
) -> None:
    """Compare one step of both libraries from the same parameters on the same images; Gaussian noise has sigma 0.

    Raises:
        UserError: the parameters after the step differ.
    """
    if setting.attack == "gaussian":
        attack = {**setting.byzfl_attack, "parameters": {"sigma": 0.0}}
        setting = dataclasses.replace(setting, attack_args={"sigma": 0.0}, byzfl_attack=attack)
        run_config = dataclasses.replace(run_config, attack_args=setting.attack_args)
    out = folder / "step_of_peer.npz"
    peer.run(step_job(setting, run_config, images, folder, device=device), out=out)
    theirs = ravel_pytree(from_torch(dict(np.load(out))))[0]
    static, dynamic, state = _begun(run_config, images)
    after, _ = jax.jit(engine.step, static_argnums=0)(static, dynamic, state, images.train, images.index[0])
    moved = jnp.asarray(theirs) - state.params
    check_same(
        f"one step of {setting.title}, b = {run_config.batch}", after.params - state.params, moved, 10 * TOLERANCE
    )


def _many(candidate: Candidate, n: int) -> Candidate:
    """A candidate of which one call is n calls of the given one."""
    return lambda calls: candidate(n * calls)


def _share(timing: Any, parts: int) -> Any:
    return timing._replace(ms=timing.ms / parts)
