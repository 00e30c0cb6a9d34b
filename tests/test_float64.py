"""JAX_ENABLE_X64=1: float64 where the rows are, float32 where they are float32."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def found(environment, tmp_path_factory):
    script = [sys.executable, Path(__file__).parent / "in_float64.py", tmp_path_factory.mktemp("results")]
    done = subprocess.run(script, stdout=subprocess.PIPE, check=True, env=environment, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def test_float64_rows_are_computed_in_float64(found):
    """A thousand times nearer to the loops than float32 can come; `learned` climbs, and both round on the way."""
    far = {name: apart for name, apart in found["apart"].items() if not apart < (1e-9 if name == "learned" else 1e-13)}
    assert not far
    assert len(found["apart"]) > 50


def test_float32_rows_stay_float32(found):
    assert found["changed"] == []


def test_training_and_a_recorded_run(found):
    assert 0 < found["accuracy"] <= 1 and found["recorded"] == [True]
