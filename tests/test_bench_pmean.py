"""`byzsim bench pmean`."""

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
from byzsim.experiments import cli
from byzsim.experiments.bench import pmean
from jax.sharding import AbstractMesh, PartitionSpec


@pytest.mark.slow
def test_a_quick_run_writes_a_page(tmp_path):
    assert cli.main(["bench", "pmean", "--quick", "--results", str(tmp_path)]) == 0
    found = pd.read_csv(tmp_path / "bench+quick" / "pmean.csv")
    assert found["rule"].tolist() == ["lax.pmean", "median", "median"] * 2
    assert found["d"].tolist() == [1000] * 3 + [2000] * 3
    assert (found["ms"].dropna() > 0).all() and found["ms"].isna().tolist() == [False] * 3 + [True] * 3
    least = np.array([4000, 4000, 2000, 8000, 8000, 4000])  # 8 (n - 1) / n bytes a number, or half
    assert (found["sent"] >= least).all() and (found["sent"] <= least + 50).all()  # and what details need
    assert (found["memory"] >= 4 * found["d"] * 2).all()  # at least its gradient and the result
    assert "QUICK RUN, NOT A RESULT" in (tmp_path / "bench+quick" / "pmean.md").read_text(encoding="utf-8")


def test_bytes_are_counted_also_in_what_is_called_inside():
    mesh = AbstractMesh((4,), ("data",))

    def local(x):
        total = jax.jit(lambda x: jax.lax.psum(x, "data"))(x)  # 2 * 3/4 of 8 float32
        parts = jax.lax.all_to_all(x.astype(jnp.bfloat16), "data", 0, 0, tiled=True)  # 3/4 of 8 bfloat16
        return total[:2], jax.lax.all_gather(parts[:2], "data")[None]  # 2 bfloat16 to each of the 3 others

    mapped = jax.shard_map(
        local, mesh=mesh, in_specs=PartitionSpec("data"), out_specs=(PartitionSpec(), PartitionSpec("data"))
    )
    jaxpr = jax.make_jaxpr(mapped)(jax.ShapeDtypeStruct((32,), jnp.float32))
    assert pmean.sent(jaxpr.jaxpr, 4) == 48 + 12 + 12


def test_sizes_below_2_are_refused(capsys):
    assert cli.main(["bench", "pmean", "--devices", "1"]) != 0
    assert "need numbers from 2 on" in capsys.readouterr().err
