"""examples/silent_corruption.py in small: what is broken is broken as it says, and found."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

SCRIPT = """
import json, sys
sys.path.insert(0, "examples")
import silent_corruption as example, jax, jax.numpy as jnp
flipped = jax.vmap(example.flipped_bits, (None, 0))(jnp.ones(50), jax.random.split(jax.random.key(0), 200))
changed = flipped.view(jnp.uint32) ^ jnp.ones(50).view(jnp.uint32)
methods = {"pmean": example.MEANS["pmean"], "median": example.RULES["median"]}
found = example.run(methods, example.FAULTS, 24, 4)
table = example.summary(found, 4)
example.save(example.picture(found, 4), example.Path(sys.argv[1]))
out = {f"{row.method}, {row.fault}": [row.losses.tolist(), row.suspected.tolist()] for row in found.itertuples()}
print(json.dumps({"runs": out, "changed": changed.tolist(), "table": table.to_dict("records")}))
"""


@pytest.fixture(scope="module")
def example(environment, tmp_path_factory):
    folder = tmp_path_factory.mktemp("picture")
    root = Path(__file__).parent.parent
    call = [sys.executable, "-c", SCRIPT, folder / "picture"]
    done = subprocess.run(call, stdout=subprocess.PIPE, check=True, env=environment, cwd=root)
    assert {path.suffix for path in folder.iterdir()} == {".png", ".svg"}
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.slow  # a process with eight devices, and two programs
def test_bits_are_flipped_one_in_each_of_four_numbers(example):
    bits = np.array([[bin(word).count("1") for word in row] for row in example["changed"]])
    per_gradient = bits.sum(axis=1)
    assert per_gradient.max() == 4 and per_gradient.min() >= 2 and bits.max() == 1  # a place may be drawn twice
    assert np.median(per_gradient) == 4
    words = np.array(example["changed"]).ravel()
    seen = {bit for word in words[words > 0] for bit in range(32) if word >> bit & 1}
    assert seen == set(range(32))


@pytest.mark.slow
@pytest.mark.parametrize("fault", ["flipped bits", "times -16", "a NaN in 1 of 10 steps"])
def test_nothing_differs_before_the_fault_and_the_replica_is_found_after_it(example, fault):
    clean, broken = (example["runs"][f"median, {kind}"] for kind in ("none", fault))
    assert clean[0][:5] == broken[0][:5]  # the loss in step 4 is computed before the first wrong update
    assert clean[1][:4] == broken[1][:4]
    suspected = np.array(broken[1])
    assert suspected[4:, 5].sum() > np.array(clean[1])[4:, 5].sum()
    assert np.delete(suspected, 5, axis=1).mean() < 0.05  # gradients of the first steps differ much
    assert np.isfinite(broken[0]).all() and broken[0][-1] < broken[0][0] - 0.5
    assert fault != "times -16" or suspected[4:, 5].all()


@pytest.mark.slow
def test_the_mean_takes_what_is_wrong(example):
    runs = example["runs"]
    assert not np.isfinite(runs["pmean, a NaN in 1 of 10 steps"][0][-1])
    assert runs["pmean, times -16"][0][-1] > runs["median, times -16"][0][-1] + 1
    assert [line["method"] for line in example["table"]] == ["pmean", "median"]
    assert example["table"][1]["false alarms"].endswith(f" of {4 * 24 * 7}")
    assert example["table"][0]["false alarms"] == "-"
