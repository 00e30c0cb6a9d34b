"""Runs, and many of them through one program."""

import subprocess
import sys
from pathlib import Path

import byzsim
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from byzsim import AGGREGATORS, Aggregator, Info, RunConfig, Spec, grid
from byzsim.engine import StepMetrics
from byzsim.grid.history import digest

VARIED = [
    {"seed": 3},
    {"f": 2},
    {"n_byz": 2},
    {"byzantine": (3,)},
    {"lr": 0.2},
    {"attack_args": {"sigma": 7.0}},
]
TINY = {"model": "softmax", "m": 4, "batch": 4, "epochs": 2}
BASE = TINY | {"rule": "median", "attack": "gaussian", "attack_args": {"sigma": 1.0}, "n_byz": 1}


def run(world, runs, **how):
    (group,) = grid.plan([RunConfig(**run_config) for run_config in runs], world.source)
    return grid.run(group.static, group.dynamic, world.train, world.test, epochs=group.measurements, **how)


def same(a, b, **tolerance):
    for ours, theirs in zip(a, b, strict=True):
        for name, x in {**ours.metrics, **{name: getattr(ours, name) for name in StepMetrics._fields}}.items():
            y = theirs.metrics[name] if name in theirs.metrics else getattr(theirs, name)
            np.testing.assert_allclose(x, y, **tolerance or {"rtol": 0, "atol": 0}, err_msg=name)
        assert (ours.diverged, ours.diverged_epoch) == (theirs.diverged, theirs.diverged_epoch)
        assert tolerance or ours.digest == theirs.digest


@pytest.fixture(scope="module")
def histories(world):
    return run(world, [BASE | change for change in VARIED])


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:median's guarantee covers")
def test_a_run_in_a_grid_is_bit_for_bit_the_run_alone(world, histories):
    same(histories, [world.simulate(**BASE | change) for change in VARIED])


def test_every_dynamic_field_counts(histories):
    """The second is the base itself: the median does not read f."""
    assert len({history.loss.tobytes() for history in histories}) == len(VARIED)


@pytest.mark.slow
def test_under_vmap_up_to_rounding(world, histories):
    same(run(world, [BASE | change for change in VARIED], runs_per_device=4), histories, rtol=1e-4, atol=1e-4)


@pytest.mark.slow
def test_one_device_gives_the_same_up_to_rounding(world, histories):
    """That several give the same bits is tested where there are four."""
    assert len(jax.devices()) >= 2
    found = run(world, [BASE | change for change in VARIED[:5]], devices=jax.devices()[:1])
    same(found, histories[:5], rtol=1e-5, atol=1e-6)


def test_the_digest_is_of_every_bit(histories):
    """Of each number and of the parameters; what kind of NaN it is does not count, nor parameters after divergence."""
    measured = [np.array([0.5, 0.25]), np.array([1.0, np.nan])]
    params = np.arange(3, dtype=np.float32)
    assert len({history.digest for history in histories}) == len(VARIED)
    plain = digest(measured, params, None)
    bit = np.nextafter(np.float32(0.25), np.float32(1))
    assert digest([np.array([0.5, bit]), measured[1]], params, None) != plain
    assert digest(measured, np.nextafter(params, 9), None) != plain
    assert digest([measured[0], np.array([1.0, -np.nan])], params, None) == plain
    assert digest(measured, params, 2) == digest(measured, params + 1, 2) != digest(measured, params, 1)


def test_one_compilation_for_a_grid(world, monkeypatch, compiled):
    traces = []

    def counted(*, gain: float = 1.0):
        """The mean, counting how often it is traced."""

        def apply(rows, state, ctx):
            traces.append(1)
            return gain * rows.mean(axis=0) + 0 * ctx.f, state, Info(jnp.full(len(rows), 1 / len(rows)))

        return Aggregator(lambda m, d: (), apply)

    monkeypatch.setitem(AGGREGATORS, "counted", Spec(counted, source="here"))
    runs = [BASE | {"rule": "counted"} | change for change in [*VARIED, {"rule_args": {"gain": 2.0}}]]
    first = run(world, runs)
    once = len(traces)
    assert 1 <= once <= 2  # a scan's body may be traced twice for one compilation
    compiled.clear()
    same(run(world, runs), first)
    assert len(traces) == once and not compiled


@pytest.mark.slow
def test_data_of_another_size_is_another_program(world, histories):
    (group,) = grid.plan([RunConfig(**BASE | VARIED[0])], world.source)
    fewer = jax.tree.map(lambda leaf: leaf[:32], world.train)
    (other,) = grid.run(group.static, group.dynamic, fewer, world.test, epochs=2)
    assert np.isfinite(other.loss).all() and other.digest != histories[0].digest


def test_the_plan_groups_by_program():
    changes = [*VARIED, {"rule": "mean"}, {"seed": 9}, {"rule_args": {"middle": "lower"}}, {"epochs": 3}, {"batch": 2},
               {"rule": "mean", "lr": 1.0}, {"optimizer": "adam"}, {"momentum": "ema"}]  # fmt: skip
    groups = grid.plan([RunConfig(**BASE | change) for change in changes], grid.Source(4, 64))
    assert [len(group.runs) for group in groups] == [7, 2, 1, 1, 1, 1, 1]
    assert all(len(group.dynamic) == len(group.runs) for group in groups)
    assert [dynamic.byz.tolist() for dynamic in groups[0].dynamic[2:4]] == [
        [True, True, False, False],
        [False] * 3 + [True],
    ]
    assert [run.config.seed for run in groups[0].runs] == [3, 0, 0, 0, 0, 0, 9]


def test_a_run_stops_when_nothing_that_counts_can_follow(world):
    done = []
    doomed = TINY | {"attack": "scaling", "attack_args": {"factor": 1e38}, "lr": 1e30, "n_byz": 1, "epochs": 5}
    (history,) = run(world, [doomed], on_epoch=done.append)
    assert done == [1] and len(history.loss) == 5


@pytest.mark.slow
def test_eigen_solves_on_all_devices_at_once_come_to_an_end():
    """With a batch of them in one program, two devices waited for each other's threads for ever."""
    code = """
import jax, numpy as np
jax.config.update("jax_num_cpu_devices", 2)
import jax.numpy as jnp
from byzsim import AGGREGATORS, Context
def both(rows, f):
    ctx = Context(jax.random.key(0), jnp.int32(0), f)
    return AGGREGATORS["smea"].factory().apply(rows, (), ctx)[0], AGGREGATORS["caf"].factory().apply(rows, (), ctx)[0]
rows = np.random.default_rng(0).normal(size=(2, 9, 5)).astype("float32")
side_by_side = jax.vmap(both, in_axes=(None, 0))
jax.block_until_ready(jax.pmap(side_by_side)(rows, jnp.ones((2, 64), int)))
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120, cwd=Path(__file__).parent.parent)


# Runs


def test_a_run_fills_in_what_is_left_out():
    run_config = RunConfig(m=10, n_byz=2, rule="brsgd", rule_args={"beta": 1}, attack="alie")
    assert (run_config.f, run_config.byzantine, run_config.alpha, run_config.max_f) == (2, (0, 1), 0.2, 4)
    assert isinstance(run_config.rule_args["beta"], float) and run_config.rule_args["variant"] == "paper"
    assert run_config.attack_args == {"z": None, "ddof": 0, "sign": "minus", "supporters": "honest", "clamp": True}
    assert (
        RunConfig(**{k: v for k, v in run_config.as_dict().items() if k != "alpha"}).as_dict() == run_config.as_dict()
    )


@pytest.mark.parametrize(("change", "beyond"), [({}, False), ({"n_byz": 5, "f": 0}, True), ({"f": 5}, True)])
def test_beyond_the_bound(change, beyond):
    assert RunConfig(**{"rule": "median", "m": 10, "n_byz": 4} | change).beyond_bound == beyond


BROKEN = [
    ({"m": 0}, "m=0 is below 1"),
    ({"m": 2.5}, "m=2.5 is not a whole number"),
    ({"m": True}, "m=True is not a whole number"),
    ({"n_byz": 21}, "n_byz=21 is more than there are workers, m=20"),
    ({"n_byz": -1}, "n_byz=-1 is below 0"),
    ({"n_byz": 1.5}, "n_byz=1.5 is not a whole number"),
    ({"n_byz": "2"}, "n_byz='2' is not a whole number"),
    ({"f": 21}, "f=21 is more than there are workers"),
    ({"batch": 0}, "batch=0 is below 1"),
    ({"epochs": 0}, "epochs=0 is below 1"),
    ({"steps": 0}, "steps=0 is below 1"),
    ({"steps": 1.0}, "steps=1.0 is not a whole number"),
    ({"seed": -1}, "seed=-1 is below 0"),
    ({"byzantine": (0,)}, "does not name n_byz=0"),
    ({"n_byz": 2, "byzantine": (1, 1)}, "does not name n_byz=2 different workers"),
    ({"n_byz": 1, "byzantine": (20,)}, "of 0 to 19"),
    ({"rule": "medain"}, "unknown rule 'medain'. Did you mean 'median'"),
    ({"attack": "gausian"}, "Did you mean 'gaussian'"),
    ({"model": "lenet5"}, "Did you mean 'lenet'"),
    ({"optimizer": "sgdd"}, "unknown optimizer 'sgdd'. Did you mean 'sgd'"),
    ({"optimizer": "chain"}, "optimizer"),
    ({"optimizer_args": {"momentun": 0.9}}, "momentun"),
    ({"rule_args": {"beta": 0.5}}, "mean has no options; got 'beta'"),
    ({"rule": "brsgd", "rule_args": {"bata": 0.5}}, "unknown option of brsgd 'bata'. Did you mean 'beta'"),
    ({"rule": "brsgd", "rule_args": {"beta": float("nan")}}, "beta=nan is not a finite number"),
    ({"rule": "median", "rule_args": {"middle": "upper"}}, "is not one of 'mean', 'lower'"),
    ({"rule": "median", "rule_args": {"middle": 3}}, "middle"),
    ({"model_args": {"activation": "tanh"}}, "'relu', 'sigmoid'"),
    ({"lr": float("nan")}, "lr=nan is not a finite number above 0"),
    ({"lr": float("inf")}, "lr=inf"),
    ({"lr": 0}, "lr=0 is not"),
    ({"lr": "fast"}, "lr"),
    ({"momentum": "nesterov"}, "unknown momentum 'nesterov'"),
    ({"momentum_beta": 1.0}, r"momentum_beta=1.0 is not in \[0, 1\)"),
    ({"momentum_beta": float("nan")}, "momentum_beta=nan"),
    ({"partition": "dirichlit"}, "unknown partition 'dirichlit'. Did you mean 'dirichlet'"),
    ({"partition": "dirichlet", "partition_args": {"alpha": 0}}, "dirichlet: alpha=0"),
    ({"partition": "iid", "partition_args": {"alpha": 1}}, "iid has no options; got 'alpha'"),
    ({"clip": 0.0}, "clip=0.0 is not a finite number above 0"),
    ({"weight_decay": -1}, "weight_decay=-1 is not a finite number of at least 0"),
    ({"participation": 0}, "participation=0 is not a share above 0 and at most 1"),
    ({"participation": 0.1, "f": 5}, "f=5 is more than the 2 workers that take part in a round"),
    ({"schedule": "cosine"}, "unknown schedule 'cosine'"),
    ({"schedule": "step_decay"}, "schedule step_decay needs every"),
    ({"schedule": "piecewise", "schedule_args": {"at": [4, 2], "factors": [1, 1]}}, "as many rising steps as factors"),
    ({"schedule": "sgd"}, "unknown schedule 'sgd'"),
    ({"task": "octopus", "model": "mlp"}, "task octopus trains no model"),
    ({"task": "regresion"}, "unknown task 'regresion'. Did you mean 'regression'"),
    ({"local_lr": 0.1}, "local_lr has no meaning without local steps"),
    ({"batch": None, "sampling": "replacement"}, "batch=None is the whole shard"),
    ({"byzantine_data": "none", "m": 2, "n_byz": 2}, "deals data to honest workers, and there are none"),
    ({"byzantine_momentum": 1}, "byzantine_momentum=1 is not True or False"),
]


@pytest.mark.parametrize(("fields", "message"), BROKEN, ids=lambda part: str(part) if isinstance(part, dict) else "")
def test_a_run_that_cannot_run_is_refused(fields, message):
    with pytest.raises(ValueError, match=message):
        RunConfig(**fields)


def test_batches_and_steps_have_to_fit_a_shard():
    with pytest.raises(ValueError, match=r"batch=8 is larger than a worker's shard: 100 .* Use a batch of at most 5"):
        RunConfig(m=20).steps_per_epoch(100)
    with pytest.raises(ValueError, match="steps=4 is more than the 3 whole batches"):
        RunConfig(m=4, steps=4).steps_per_epoch(100)
    assert RunConfig(m=4).steps_per_epoch(100) == 3 and RunConfig(m=4, steps=2).steps_per_epoch(100) == 2


@pytest.mark.slow
@pytest.mark.parametrize("search", ["jax_debug_nans", "jax_debug_infs"])
def test_a_diverged_run_is_a_result_where_jax_looks_for_nan(search, world):
    """So is what a rule makes of rows of NaN."""
    jax.config.update(search, True)
    try:
        doomed = TINY | {"attack": "scaling", "attack_args": {"factor": 1e38}, "lr": 1e30, "n_byz": 1}
        (history,) = run(world, [doomed])
        assert history.diverged_epoch == 1
        assert np.isnan(byzsim.aggregate("mean", [[np.nan], [np.inf]])).all()
        assert np.isnan(byzsim.forge("nan", [[1.0]], n_byz=1)).all()
        with pytest.raises(FloatingPointError):
            jax.jit(lambda x: x / x)(jnp.float32(0)), jax.jit(lambda x: 1 / x)(jnp.float32(0))
    finally:
        jax.config.update(search, False)
