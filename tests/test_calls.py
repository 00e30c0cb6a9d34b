"""`byzsim bench calls`."""

import pandas as pd
import pytest
from byzsim.experiments import cli
from byzsim.experiments.bench import calls


@pytest.mark.slow
def test_a_quick_run_writes_a_page_and_never_compiles_again(tmp_path):
    assert cli.main(["bench", "calls", "--quick", "--calls", "2", "--rules", "median", "--results", str(tmp_path)]) == 0
    found = pd.read_csv(tmp_path / "bench+quick" / "calls.csv")
    assert found["compilations"].tolist() == [0] * len(calls.KINDS) and (found["call_ms"] > 0).all()
    page = (tmp_path / "bench+quick" / "calls.md").read_text(encoding="utf-8")
    assert "QUICK RUN, NOT A RESULT" in page and "0 compilations" in page


def test_the_promise_is_judged():
    def verdict(above, compilations):
        row = ("median", "JAX", 5, 1.0, 1.0 + above, above, compilations)
        given = calls.Calls(calls=5)
        page = calls.page(
            pd.DataFrame([row], columns=calls.COLUMNS), given, {"commit": "0", "device": "", "versions": {}}
        )
        return "**Kept**" in page

    assert [verdict(0.9, 0), verdict(1.1, 0), verdict(0.1, 1)] == [True, False, False]
