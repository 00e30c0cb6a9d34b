"""`byzsim.robust_pmean` on eight devices is `byzsim.aggregate` on one, and no device holds the matrix."""

import json
import subprocess
import sys
from pathlib import Path

import byzsim
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from byzsim import AGGREGATORS, PREAGGREGATORS
from jax.sharding import Mesh, PartitionSpec

REFUSED = {"server", "whole_rows"}
RULES = [name for name, spec in AGGREGATORS.items() if not spec.traits & REFUSED and name != "draco"]


@pytest.fixture(scope="module")
def eight(environment):
    script = Path(__file__).parent / "eight_devices.py"
    done = subprocess.run([sys.executable, script], stdout=subprocess.PIPE, check=True, env=environment)
    return json.loads(done.stdout)


@pytest.mark.slow
@pytest.mark.parametrize("rule", [*RULES, *(f"{name}+krum" for name in PREAGGREGATORS)])
def test_a_rule_gives_what_it_gives_on_one_device(eight, rule):
    found = eight["rules"][rule]
    ours, whole, weight = (np.array(found[name]) for name in ("ours", "whole", "weight"))
    np.testing.assert_allclose(ours, whole, rtol=1e-5, atol=2e-6)
    assert weight.shape == (8,) and weight.min() >= 0 and weight.sum() <= 1 + 1e-5
    assert np.isfinite(found["distance"]).all()


@pytest.mark.slow
def test_the_rules_are_those_of_the_registry(eight):
    assert {*eight["rules"]} == {*RULES, *(f"{name}+krum" for name in PREAGGREGATORS)}


@pytest.mark.slow
@pytest.mark.parametrize("rule", ["centered_clipping", "safeguard"])
def test_a_memory_is_carried(eight, rule):
    found = eight["remembered"][rule]
    np.testing.assert_allclose(found["ours"], found["whole"], rtol=1e-5, atol=2e-6)


@pytest.mark.slow
def test_model_parallel_replicas_agree_on_whom_to_trust(eight):
    """Half of replica 3 is the nearest of all: its device alone would take it, though the other half is far away."""
    found = eight["model_parallel"]
    np.testing.assert_allclose(found["shared"]["ours"], found["whole"], rtol=1e-6)
    assert found["shared"]["weight"][0] == found["shared"]["weight"][1]
    assert np.argmax(found["apart"]["weight"][1]) == 3 != np.argmax(found["shared"]["weight"][1])


@pytest.mark.slow
def test_no_device_holds_the_matrix(eight):
    """The largest array of each device's program has d entries and the padding, not 8 d."""
    assert set(eight["largest"]) == {"median", "krum", "trimmed_mean", "geometric_median", "nnm+krum"}
    assert all(1 <= share < 2 for share in eight["largest"].values()), eight["largest"]


@pytest.mark.slow
def test_the_mean_is_pmean_within_two_units_in_the_last_place(eight):
    ours, theirs = np.float32(eight["plain"])
    np.testing.assert_array_max_ulp(ours, theirs, 2)


@pytest.mark.slow
def test_details_name_the_broken_replica(eight):
    found = eight["broken"]
    assert found["non_finite"] == [0, 0, 0, 1, 0, 0, 0, 0]
    assert found["distance"] == [i != 3 for i in range(8)]
    np.testing.assert_allclose(*found["wire"], rtol=2**-7, atol=2**-7)  # bfloat16 has 8 bits of precision
    np.testing.assert_allclose(*found["by_leaf"], rtol=1e-6)
    assert found["dtypes"] == ["bfloat16"]


def reduce(tree, rule="median", axis="data", **options):
    mesh = Mesh(np.array(jax.devices()[:1]), "data")
    mapped = jax.shard_map(
        lambda tree: byzsim.robust_pmean(tree, axis, rule, **options),
        mesh=mesh,
        in_specs=PartitionSpec("data"),
        out_specs=PartitionSpec(),
    )
    return jax.eval_shape(mapped, tree)


GRADIENT = jax.ShapeDtypeStruct((1, 3), jnp.float32)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: reduce(GRADIENT, axis="batch"),
            "there is no axis 'batch' here; call robust_pmean inside jax.shard_map",
        ),
        (lambda: byzsim.robust_pmean(jnp.ones(3), "data"), "there is no axis 'data' here"),
        (lambda: reduce(GRADIENT, shared_over="model"), "there is no axis 'model' here"),
        (lambda: reduce(GRADIENT, f=2), "f=2 is not a whole number from 0 to m=1"),
        (lambda: reduce(GRADIENT, "krum"), "krum needs f, the number of replicas that may be wrong"),
        (lambda: reduce({}), "the gradient are a tree without arrays"),
        (lambda: reduce({"n": jax.ShapeDtypeStruct((1,), jnp.int32)}), "is int32; expected floating-point numbers"),
        (lambda: reduce(GRADIENT, "fltrust", f=0), "fltrust needs the server's own data"),
        (lambda: reduce(GRADIENT, "signguard", f=0), "signguard reads coordinates that lie on other devices"),
        (lambda: reduce(GRADIENT, "centered_clipping", f=0), "centered_clipping has a memory: pass details=True"),
        (lambda: reduce(GRADIENT, "kurm", f=0), "unknown rule 'kurm'"),
        (lambda: reduce(GRADIENT, "median", f=0, middel="lower"), "middel"),
    ],
)
def test_bad_input_is_an_error_when_it_is_traced(call, message):
    with pytest.raises(ValueError, match=message.replace("(", r"\(").replace("+", r"\+")):
        call()
