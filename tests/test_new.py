"""The files that `byzsim new` writes, the examples, and the pieces of docs/your-own.md run as they are."""

import re
import shutil
from pathlib import Path

import jax
import pytest
from byzsim import testing
from byzsim.experiments import cli, plugins
from byzsim.experiments.cli.templates import TEMPLATES
from byzsim.registration import KINDS
from test_plugins import folder, forget  # noqa: F401

ROOT = Path(__file__).parent.parent
EXAMPLES = sorted(path for path in (ROOT / "examples").glob("*.py") if path.stem != "silent_corruption")  # no table
CHECKS = {"rule": testing.check_rule, "attack": testing.check_attack, "task": testing.check_task}
CHECKS["partition"] = testing.check_partition


@pytest.fixture
def as_users_do():
    """Of JAX's settings, those of users: the tests' own do not let shapes be guessed."""
    tests_own = jax.config.values["jax_numpy_rank_promotion"]
    jax.config.update("jax_numpy_rank_promotion", "allow")  # in all threads
    yield
    jax.config.update("jax_numpy_rank_promotion", tests_own)


@pytest.mark.slow
@pytest.mark.parametrize("kind", TEMPLATES)
def test_a_new_file_runs_and_keeps_its_promises(kind, folder, capsys, as_users_do):  # noqa: F811
    assert cli.main(["new", kind, "mine"]) == 0 and "Next: byzsim run mine.py" in capsys.readouterr().out
    small = {"rule": ["--rules", "mine"], "partition": ["--partition", "mine", "--rules", "mean"]}
    options = small.get(kind, ["--rules", "mean"])
    options += ["--attacks", "mine" if kind == "attack" else "sign_flip", "--m", "6", "--alphas", "1/6"]
    assert cli.main(["run", "mine.py", "--quick", *options]) == 0
    assert "to run" in capsys.readouterr().out and list(folder.rglob("table.tex"))
    if kind in CHECKS:
        CHECKS[kind]("mine")
    if kind in KINDS:
        assert KINDS[kind]["mine"].summary.endswith(".")


@pytest.mark.parametrize("kind", TEMPLATES)
def test_a_new_file_is_registered(kind, folder, as_users_do):  # noqa: F811
    assert cli.main(["new", kind, "mine"]) == 0
    found = plugins.load(["mine.py"])
    assert {*found} == ({"mine"} if kind == "table" else {"mine", "mine_table"})
    assert "NAME" not in (folder / "mine.py").read_text(encoding="utf-8")
    assert all(len(line) <= 120 for line in (folder / "mine.py").read_text(encoding="utf-8").splitlines())


SMALL = {  # what of a table is run
    "attack_with_memory": "rule=median,attack=undo,alpha=0.3",
    "heterogeneous": "rule=median,attack=alie",
    "least_squares": "rule=median,attack=alie,alpha=0.1,seed=0",
    "own_cnn": "rule=mean,alpha=0.0",
    "own_rule": "rule=closest_half,attack=alie",
    "real_attackers": "rule=krum,attack=alie",
    "rgb_images": "rule=median,attack=label_flip",
    "safeguard": "rule=single,rule=double,attack=sign flip,seed=0",
    "tabular": "rule=median,attack=sign_flip",
}


@pytest.mark.slow
@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_examples_run(example, folder, capsys, as_users_do):  # noqa: F811
    shutil.copy(example, folder / "example.py")
    assert cli.main(["run", "example.py", "--quick", "--only", SMALL[example.stem]]) == 0
    printed = capsys.readouterr().out
    assert "QUICK RUN, NOT A RESULT" in printed and "FAILED" not in printed
    assert list(folder.rglob("table.tex"))


PAGE = ROOT / "docs" / "your-own.md"
PIECES = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("number", range(len(PIECES)), ids=lambda i: PIECES[i].splitlines()[0][:40])
def test_the_page_about_members_of_ones_own_runs(number, folder, as_users_do):  # noqa: F811
    """Each piece is a file of its own, whose first line has its name."""
    name = re.match(r"# (\w+\.py)", PIECES[number])
    assert name
    import numpy as np

    np.savez(folder / "mine.npz", x=np.zeros((8, 3)), y=np.arange(8) % 2)
    (folder / name[1]).write_text(PIECES[number], encoding="utf-8")
    assert plugins.load([name[1]])
    forget(folder)
