"""Whole training steps and per-worker gradients, as `byzsim run` makes them, against byzfl and torch."""

import dataclasses
import functools
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from byzsim import Data, RunConfig, engine, grid
from byzsim.engine import DynamicConfig, StaticConfig, TrainState
from byzsim.experiments.bench.environment import Peer
from byzsim.experiments.bench.findings import Finding
from byzsim.experiments.bench.timing import Effort, Side, interleaved, local
from byzsim.experiments.errors import UserError
from byzsim.grid import programs
from flax.traverse_util import flatten_dict, unflatten_dict
from jax.flatten_util import ravel_pytree

M, F, CLASSES, LR = 20, 5, 10, 0.03
TOLERANCE = 1e-4  # of the largest entry
STEP_TARGETS = {8: 8.0, 32: 4.0}  # b -> times as fast as byzfl
GRADIENT_TARGET = 2.0


@dataclasses.dataclass(frozen=True)
class Setting:
    """The same rule and attack for ours and for byzfl."""

    title: str
    rule: str
    rule_args: Mapping[str, Any]
    attack: str
    attack_args: Mapping[str, Any]
    byzfl_rule: str
    byzfl_attack: Mapping[str, Any]
    with_f: bool = True
    """byzfl's rule takes f"""

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
        {"definition": "byzfl"},
        "sign_flip",
        {"of": "mean"},
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
# The same numbers on both sides
# ---------------------------------------------------------------------------------------------------------

MODELS = {"lenet": "LeNet", "resnet20": "ResNet20"}  # ours -> the peers', whose layers have our names
FLATTENED = (5, 5, 16)  # rows, columns, channels where LeNet's dense layers begin; torch counts channels first


def to_torch(tree: Any) -> dict[str, np.ndarray]:
    """Our parameters under torch's names and in its layouts."""
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
    """Refuse to time two sides that compute different things.

    Raises:
        UserError: if they differ by more than `tolerance` times the largest entry of theirs anywhere.
    """
    ours, theirs = np.asarray(ours, float), np.asarray(theirs, float)
    if ours.shape != theirs.shape:
        raise UserError(f"not the same work, nothing timed: {what}: shapes {ours.shape} and {theirs.shape}")
    largest = np.abs(theirs).max()
    apart = np.abs(ours - theirs).max() / (largest if largest > 0 else 1.0)
    if not apart <= tolerance:
        raise UserError(
            f"not the same work, nothing timed: {what}: ours and the peer's result differ by {apart:.3g} of the "
            f"largest entry; allowed are {tolerance:g}"
        )


class Images:
    """Random images for some steps of all workers, for both sides."""

    def __init__(self, batch: int, steps: int, m: int = M, shape: tuple[int, ...] = (28, 28)):
        draw = np.random.default_rng(0)
        n = m * batch * steps
        images, labels = draw.integers(0, 256, (n, *shape), np.uint8), draw.integers(0, CLASSES, n, np.uint8)
        self.train = Data(jnp.asarray(images), jnp.asarray(labels))
        self.test = Data(self.train.images[:m], self.train.labels[:m])
        self.index = jnp.arange(n).reshape(steps, m, batch)
        unit = np.moveaxis(images.astype(np.float32).reshape(n, *shape[:2], -1) / 255, -1, 1)  # channels first
        self.unit = unit.reshape(steps, m, batch, *unit.shape[1:]).swapaxes(0, 1)
        self.classes = labels.astype(np.int64).reshape(steps, m, batch).swapaxes(0, 1)

    def honest(self, n_byz: int) -> dict[str, np.ndarray]:
        """What byzfl's honest clients see: the workers behind the first n_byz, (workers, steps, b, ...)."""
        return {"images": self.unit[n_byz:], "labels": self.classes[n_byz:]}

    def first(self) -> dict[str, np.ndarray]:
        """Everybody's first batch, (workers, b, ...)."""
        return {"images": self.unit[:, 0], "labels": self.classes[:, 0]}


# ---------------------------------------------------------------------------------------------------------
# Per-worker gradients
# ---------------------------------------------------------------------------------------------------------


def gradients(batches: tuple[int, ...], peer: Peer | None, folder: Path, effort: Effort) -> Iterator[Finding]:
    """(m, d) gradients at the Table 1 setting, on one device and on all of them at once, against torch."""
    for batch in batches:
        static, dynamic, images = _prepared(SETTINGS[0], batch, steps=1)
        params = jax.jit(engine.start, static_argnums=0)(static, dynamic, images.train).params
        devices = jax.devices()
        sides = {str(len(devices)): _gradient_side(static, params, images, len(devices))}
        if peer is not None:
            job = _gradient_job(static, params, images, folder)
            _check_gradients(peer, job, static, params, images, folder)
            sides["torch"] = peer.side(job)
        times, failures = interleaved(sides, effort)
        for where, ours in _readings(times[str(len(devices))], len(devices)):
            yield Finding(
                part="gradients",
                what=where,
                shape=f"b = {batch}",
                sense=">=",
                other="torch.func.vmap(grad)",
                ours=ours,
                theirs=times.get("torch"),
                target=GRADIENT_TARGET,
                note=failures.get("torch", ""),
            )


def _gradient_side(static: StaticConfig, params: jax.Array, images: Images, n: int) -> Side:
    """`n` runs, one on each device, as `grid.run` spreads them."""
    mesh, spec = jax.sharding.Mesh(np.array(jax.devices()[:n]), ("runs",)), jax.sharding.PartitionSpec("runs")

    def one(params, x, y):
        return engine.worker_gradients(static, params[0], images.train, x[0], y[0], jnp.ones(M, bool))[1][None]

    spread = jax.jit(jax.shard_map(one, mesh=mesh, in_specs=spec, out_specs=spec, check_vma=False))
    x, y = images.train.images[images.index[0]], images.train.labels[images.index[0]].astype(jnp.int32)
    place = jax.sharding.NamedSharding(mesh, spec)
    given = jax.device_put([jnp.stack([each] * n) for each in (params, x, y)], place)
    return local(functools.partial(spread, *given))


def _gradient_job(static: StaticConfig, params: jax.Array, images: Images, folder: Path) -> dict[str, Any]:
    path = folder / "gradients.npz"
    _save(path, to_torch(_tree(static, params, images)) | images.first())
    return {"kind": "gradients", "arrays": str(path), "model": "LeNet", "batch": images.index.shape[-1]}


def _check_gradients(
    peer: Peer, job: Any, static: StaticConfig, params: jax.Array, images: Images, folder: Path
) -> None:
    out = folder / "gradients_of_peer.npz"
    peer.run(job, out=out)
    theirs = dict(np.load(out))
    flat = [ravel_pytree(from_torch({k: v[i] for k, v in theirs.items()}))[0] for i in range(M)]
    x, y = images.train.images[images.index[0]], images.train.labels[images.index[0]].astype(jnp.int32)
    ours = jax.jit(engine.worker_gradients, static_argnums=0)(static, params, images.train, x, y, jnp.ones(M, bool))[1]
    check_same("per-worker gradients of LeNet", ours, np.stack(flat))


def _save(path: Path, arrays: dict[str, Any]) -> None:
    np.savez(path, **arrays)


def _tree(static: StaticConfig, params: jax.Array, images: Images) -> Any:
    return {"params": engine.unraveller(static, images.train)(params)}


# ---------------------------------------------------------------------------------------------------------
# Whole steps
# ---------------------------------------------------------------------------------------------------------


def steps(
    batches: tuple[int, ...], settings: tuple[Setting, ...], peer: Peer | None, folder: Path, effort: Effort, n: int
) -> Iterator[Finding]:
    """Steps of a whole epoch of `n` steps, divided by n: what `byzsim run` does, against byzfl's training loop."""
    for setting in settings:
        for batch in batches:
            static, dynamic, images = _prepared(setting, batch, steps=n)
            counts = dict.fromkeys((1, len(jax.devices())))
            sides = {str(k): _epoch_side(static, dynamic, images, k) for k in counts}
            if peer is not None:
                job, run_config = (
                    step_job(setting, setting.run_config(batch), images, folder),
                    setting.run_config(batch),
                )
                check_step(peer, setting, run_config, Images(batch, 1), folder)
                sides["byzfl"] = _many(peer.side(job), n)
            times, failures = interleaved(sides, effort)
            times = {name: _share(timing, n) for name, timing in times.items()}
            yield from _step_findings(setting, batch, times, failures.get("byzfl", ""))


def _step_findings(setting: Setting, batch: int, times: Mapping[str, Any], note: str) -> Iterator[Finding]:
    ours = {int(name): t for name, t in times.items() if name != "byzfl"}
    most = max(ours)
    for where, timing in _readings(ours[most], most):
        yield Finding(
            part="steps",
            what=f"{setting.title}: {where}",
            shape=f"b = {batch}",
            sense=">=",
            other="byzfl",
            ours=timing,
            theirs=times.get("byzfl"),
            target=STEP_TARGETS.get(batch),
            note=note,
        )
    if most > 1:
        yield Finding(
            part="devices",
            what=f"{setting.title}: {most} CPU devices",
            shape=f"b = {batch}",
            sense=">=",
            other="1 CPU device",
            ours=_share(ours[most], most),
            theirs=ours[1],
            target=0.9 * most,
            note="time for one run of a grid",
        )


def _prepared(setting: Setting, batch: int, steps: int) -> tuple[StaticConfig, DynamicConfig, Images]:
    (group,) = grid.plan([setting.run_config(batch)], CLASSES)
    return group.static, group.dynamic[0], Images(batch, steps)


def _epoch_side(static: StaticConfig, dynamic: DynamicConfig, images: Images, n: int) -> Side:
    """An epoch of `n` runs, one on each device: the very program that `grid.run` runs; the state goes on and on."""
    mesh = jax.sharding.Mesh(np.array(jax.devices()[:n]), ("runs",))
    start, epoch = programs.compiled(static, mesh, None)
    stacked = jax.tree.map(lambda leaf: jnp.stack([leaf] * n), dynamic)
    state = [start(stacked, images.train)]

    def call() -> Any:
        state[0], measured = epoch(stacked, state[0], images.train, images.test)
        return state[0].params, measured

    return local(call)


def _begun(run_config: RunConfig, images: Images) -> tuple[StaticConfig, DynamicConfig, TrainState]:
    (group,) = grid.plan([run_config], CLASSES)
    start = jax.jit(engine.start, static_argnums=0)
    return group.static, group.dynamic[0], start(group.static, group.dynamic[0], images.train)


def step_job(
    setting: Setting, run_config: RunConfig, images: Images, folder: Path, *, device: str = "cpu", tf32: bool = False
) -> dict[str, Any]:
    """byzfl's side; its own file for each use, since a running job has read its arrays already."""
    static, _, state = _begun(run_config, images)
    path = folder / f"step_{images.index.shape[0]}.npz"
    _save(path, to_torch(_tree(static, state.params, images)) | images.honest(run_config.n_byz))
    rule = {"name": setting.byzfl_rule, "parameters": {"f": run_config.n_byz} if setting.with_f else {}}
    job = {"kind": "step", "arrays": str(path), "model": MODELS[run_config.model], "device": device, "tf32": tf32}
    attack = {**setting.byzfl_attack, "f": run_config.n_byz}
    return job | {"lr": LR, "rule": rule, "attack": attack, "title": setting.title, "batch": run_config.batch}


def check_step(
    peer: Peer, setting: Setting, run_config: RunConfig, images: Images, folder: Path, *, device: str = "cpu"
) -> None:
    """One step of both, on `images` of one step, from the same parameters; Gaussian noise has sigma 0 in it.

    Raises:
        UserError: if the parameters after it differ.
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


def _many(side: Side, n: int) -> Side:
    """A side of which one call is n of the given one's."""
    return lambda calls: side(n * calls)


def _share(timing: Any, parts: int) -> Any:
    return timing._replace(ms=timing.ms / parts)


def _readings(timing: Any, n: int) -> list[tuple[str, Any]]:
    """One call runs `n` runs on as many devices; where there is one run, the last devices repeat it (`grid.run`)."""
    alone = ("one run alone", timing)
    return [alone] if n == 1 else [alone, (f"{n} runs on {n} devices, time for each", _share(timing, n))]
