"""One cell over four devices is the cell on one, up to rounding, in about a quarter of the memory of each."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from sim import AGGREGATORS, PRE_RULES

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def four():
    here = Path(__file__)
    env = os.environ | {"PYTHONPATH": str(here.parent.parent)}
    done = subprocess.run([sys.executable, here.parent / "four_devices.py"], stdout=subprocess.PIPE, check=True, env=env)
    return json.loads(done.stdout)


@pytest.mark.parametrize("rule", [*AGGREGATORS, *(f"{pre_rule}+mean" for pre_rule in PRE_RULES)])
def test_a_rule_on_a_sharded_matrix(four, rule):
    """The same aggregate, the same workers in it; and no device ever holds more than half of the matrix."""
    found = four["rules"][rule]
    (aggregate, weight), (ours, shares) = found["alone"], found["shared"]
    np.testing.assert_allclose(ours, aggregate, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(shares, weight, rtol=1e-5, atol=1e-6)
    assert np.array_equal(np.array(shares) > 0, np.array(weight) > 0)
    assert found["largest"] < 0.5


@pytest.mark.parametrize("devices", ["2", "4"])
def test_a_cell_on_several_devices(four, devices):
    np.testing.assert_allclose(
        np.array(four["trained"][devices]["curves"]), np.array(four["trained"]["1"]["curves"]), rtol=1e-4, atol=1e-5
    )
    assert four["trained"][devices]["bytes"] < 1.5 * four["trained"]["1"]["bytes"] / int(devices)


def test_one_vector_from_a_sharded_matrix(four):
    np.testing.assert_array_equal(*four["aggregate"])
