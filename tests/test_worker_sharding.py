"""One run over four devices is the run on one, up to rounding, in about a quarter of the memory of each."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from byzsim import AGGREGATORS, PREAGGREGATORS

GATHERED = {"signguard"}  # it looks at a window of columns that may start anywhere
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def four(environment):
    script = Path(__file__).parent / "four_devices.py"
    optimised = environment | {"XLA_FLAGS": ""}  # not as the other tests: what a device holds depends on it
    done = subprocess.run([sys.executable, script], stdout=subprocess.PIPE, check=True, env=optimised)
    return json.loads(done.stdout)


@pytest.mark.parametrize("rule", [*AGGREGATORS, *(f"{pre_rule}+mean" for pre_rule in PREAGGREGATORS)])
def test_a_rule_on_a_sharded_matrix(four, rule):
    """The same aggregate, the same workers in it; and no device holds more than half of the matrix at any time."""
    found = four["rules"][rule]
    (aggregate, weight), (ours, shares) = found["alone"], found["shared"]
    np.testing.assert_allclose(ours, aggregate, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(shares, weight, rtol=1e-5, atol=1e-6)
    assert np.array_equal(np.array(shares) > 0, np.array(weight) > 0)
    assert (found["largest"] > 0.5) == (rule in GATHERED)


def test_a_run_on_several_devices(four):
    for run_config in ("trained", "in_a_condition"):
        alone, shared = four[run_config]["1"], four[run_config]["4"]
        np.testing.assert_allclose(np.array(shared["curve"]), np.array(alone["curve"]), rtol=1e-4, atol=1e-5)
        assert shared["bytes"] < 0.45 * alone["bytes"]  # parameters and data are on each of the four


def test_the_same_bits_on_one_to_four_devices(four):
    one, *others = four["digests"]
    assert others == [one] * 3 and len(set(one)) == len(one)


def test_one_vector_from_a_sharded_matrix(four):
    np.testing.assert_array_equal(*four["aggregate"])
