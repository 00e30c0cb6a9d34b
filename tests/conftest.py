"""What several test files share: devices, fixtures made from the registries, and a tiny world to train in."""

import dataclasses
import gc
import os
from pathlib import Path

import jax
import jax.numpy as jnp
import jaxtyping
import numpy as np
import pytest

gc.set_threshold(200_000, 20, 20)  # tracing makes and drops many small objects, none in cycles worth a search
# What compiles for long is kept between runs of the tests; CI starts without, unless it names a folder that it keeps.
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(Path(__file__).parent.parent / ".pytest_cache" / "compiled"))
jax.config.update("jax_compilation_cache_dir", os.environ["JAX_COMPILATION_CACHE_DIR"])
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.1)
# Programs of tests run a few times, so they are made to compile fast: in a fifth of the time, to slower code.
FAST = ["--xla_cpu_parallel_codegen_split_count=1", "--xla_backend_optimization_level=0"]
FAST += ["--xla_llvm_disable_expensive_passes=true"]
if jax.__version_info__ < (0, 11):  # later ones do not know it, and end at an unknown flag
    FAST += ["--xla_cpu_use_fusion_emitters=false"]
os.environ["XLA_FLAGS"] = " ".join([os.environ.get("XLA_FLAGS", ""), *FAST])
jax.config.update("jax_numpy_rank_promotion", "raise")  # shapes that do not match are written out, not guessed
jax.config.update("jax_num_cpu_devices", 2)  # before jax starts, so that a grid can be spread
os.environ["JAX_NUM_CPU_DEVICES"] = "2"  # for `devices.use_all_cores`, here and in processes that tests start

# With BYZSIM_TYPES=1, as in `make check`, shapes and dtypes are checked by the annotations of all that is traced.
TYPED = (
    "aggregators", "attacks", "modifiers", "preaggregators", "models", "ops", "engine", "partitions", "tasks",
    "worker_sharding",
)  # fmt: skip
if os.environ.get("BYZSIM_TYPES"):
    jaxtyping.install_import_hook([f"byzsim.{module}" for module in TYPED], "typecheck.arrays")

from byzsim import AGGREGATORS, ATTACKS, MODELS, Aggregator, Info, RunConfig, engine, grid  # noqa: E402
from byzsim.engine import batches  # noqa: E402
from hypothesis import settings  # noqa: E402

# By the clock nothing is too slow: other processes may have the machine. Hangs are found by CPU time, in test_fuzz.
settings.register_profile("byzsim", deadline=None, database=None)
settings.register_profile("long", deadline=None, max_examples=20_000)
settings.load_profile("byzsim")

EIGHT = pytest.param(8, marks=pytest.mark.slow)  # an even number of workers, beside the odd one of `make test-fast`
TINY = {"model": "softmax", "m": 4, "batch": 4}


LONGEST = (
    "attacks",
    "aggregator_values",
    "aggregators",
    "worker_sharding",
    "cli",
    "notebooks",
    "faults",
    "robustness",
    "engine",
)


def pytest_collection_modifyitems(items):
    """The longest files first, so that no worker is left alone with one of them at the end."""
    place = {f"test_{name}.py": i for i, name in enumerate(LONGEST)}
    items.sort(key=lambda item: place.get(item.path.name, len(place)))


@pytest.fixture(autouse=True, scope="module")
def unload():
    """A process may map only so much code: thousands of small programs would end it."""
    yield
    jax.clear_caches()


@pytest.fixture(params=sorted(AGGREGATORS))
def rule(request):
    return request.param


@pytest.fixture(params=sorted(ATTACKS))
def attack(request):
    return request.param


@pytest.fixture(params=sorted(MODELS))
def model(request):
    return request.param


def keep_rows():
    """The mean, with what reached the rule as its state."""

    def apply(rows, state, ctx):
        return rows.mean(axis=0), rows, Info(jnp.full(len(rows), 1 / len(rows)))

    return Aggregator(lambda m, d: jnp.zeros((m, d)), apply)


class World:
    """64 random images of 4 x 4 pixels in four classes, and the steps of runs on them."""

    n_classes = 4

    def __init__(self):
        draw = np.random.default_rng(0)
        self.images = draw.integers(0, 256, (64, 4, 4), dtype=np.uint8)
        self.labels = np.arange(64, dtype=np.uint8) % 4
        self.train = engine.Data(jnp.asarray(self.images), jnp.asarray(self.labels))
        self.source = grid.Source(self.n_classes, len(self.labels))
        self.test = engine.Data(self.train.inputs[:24], self.train.labels[:24])
        self.start = jax.jit(engine.start, static_argnums=0)
        self.step = jax.jit(engine.step, static_argnums=0)
        self.epoch = jax.jit(engine.epoch, static_argnums=0)

    def plan(self, **run_config):
        """(static, dynamic) of one run."""
        (group,) = grid.plan([RunConfig(**TINY | run_config)], self.source)
        return group.static, group.dynamic[0]

    def sent(self, *, index=None, **run_config):
        """(state before, rows that reach the rule in the first step)."""
        static, dynamic = self.plan(**run_config)
        static = dataclasses.replace(static, rule=keep_rows)
        state = self.start(static, dynamic, self.train)
        index = state.shards[:, : static.batch] if index is None else index
        after, _ = self.step(static, dynamic, state, self.train, index)
        return state, np.asarray(after.rule)

    def batches(self, static, dynamic, state, train=None):
        """The examples of all workers in each step up to the next measurement."""
        train = self.train if train is None else train
        each, common = batches.order(static, dynamic, state.shards, state.step, train)
        return np.asarray(jax.vmap(lambda now: batches.in_step(static, dynamic, now, common))(each))

    def simulate(self, **run_config):
        from byzsim import simulate

        return simulate((self.images, self.labels), (self.images[:24], self.labels[:24]), **TINY | run_config)


@pytest.fixture(scope="session")
def world():
    return World()


@pytest.fixture(scope="session")
def environment():
    """For processes that tests start: this code, and the programs that are kept."""
    kept = {
        "JAX_COMPILATION_CACHE_DIR": jax.config.values["jax_compilation_cache_dir"],
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0.1",
    }
    return os.environ | kept | {"PYTHONPATH": str(Path(__file__).parent.parent)}


@pytest.fixture
def compiled():
    """A list that grows by one with every XLA compilation."""
    events = []

    def listen(event, *_, **__):
        if "backend_compile" in event:
            events.append(event)

    jax.monitoring.register_event_duration_secs_listener(listen)
    yield events
    jax.monitoring.unregister_event_duration_listener(listen)
