"""Rules and attacks of a user's own, from modules that the user names."""

import importlib
import re
import sys

import byzsim
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from byzsim import AGGREGATORS, ATTACKS, Aggregator, RunConfig, Spec
from byzsim.experiments import cli, plugins, records
from byzsim.experiments.datasets import load
from byzsim.experiments.errors import UserError
from byzsim.experiments.run import slow_rules
from byzsim.names import BUILT_IN
from byzsim.types import make_attack, stateless

RULE = """\
from byzsim import Spec
from byzsim.types import stateless
from helping import FACTOR

def scaled(*, by: float = 1.0):
    "The mean, scaled."
    return stateless(lambda grads, ctx: (FACTOR * by * grads.mean(axis=0), grads[:, 0] * 0 + 1 / len(grads)))

SPEC = Spec(scaled, source="me", max_f=lambda m: 0)
"""
ATTACK = """\
import byzsim
from byzsim.types import make_attack

SPEC = byzsim.Spec(lambda: make_attack(grads=lambda sent, byz, state, ctx: (-sent, state)), source="me")
"""
VARIED = """\
from byzsim import Spec, Variant
from byzsim.options import checked
from byzsim.types import Traced, stateless

@checked
def times(*, by: Traced = 1.0):
    "The mean, scaled."
    return stateless(lambda grads, ctx: (by * grads.mean(axis=0), grads[:, 0] * 0 + 1 / len(grads)))

SPEC = Spec(times, source="me", variants=(Variant("one", {}, "as it is", "me"), Variant("two", {"by": 2}, "+", "me")))
"""
FILES = {
    "my_rule.py": RULE,
    "helping.py": "FACTOR = 2.0\n",
    "several/__init__.py": "from several import my_attack, my_other\n",
    "several/my_attack.py": ATTACK,
    "several/my_other.py": RULE,
}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The current folder, with plugins in it; what they do to this process is undone."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    yield tmp_path
    forget(tmp_path)
    for zoo in (AGGREGATORS, ATTACKS):
        for name in zoo.keys() - BUILT_IN:
            del zoo[name]


def forget(folder):
    for name, module in list(sys.modules.items()):
        if str(getattr(module, "__file__", None)).startswith(str(folder)):
            del sys.modules[name]
    importlib.invalidate_caches()


def identity(**run_config):
    return records.identity(RunConfig(m=10, model="softmax", **run_config), "digits", load("digits"))


def test_a_plugin_is_called_as_its_file_is(folder):
    assert set(plugins.load(["my_rule"])) == {"my_rule"}
    np.testing.assert_allclose(byzsim.aggregate("my_rule", [[1.0], [2.0]], by=3.0), [9.0])
    np.testing.assert_allclose(byzsim.aggregate("nnm+my_rule", [[1.0], [2.0]], f=0), [3.0])


def test_a_package_has_several(folder):
    assert set(plugins.load(["several", "my_rule"])) == {"my_attack", "my_other", "my_rule"}
    assert "my_attack" in ATTACKS and "my_other" in AGGREGATORS
    np.testing.assert_array_equal(byzsim.forge("my_attack", [[1.0]], n_byz=1, byzantine_gradients=[[2.0]]), [[-2.0]])


def test_nothing_is_imported_that_is_not_named(folder):
    (folder / "my_rule.py").write_text("raise SystemExit")
    assert cli.main(["list"]) == 0 and "my_rule" not in sys.modules
    assert cli.main(["list", "--plugins", "my_rule"]) == 2


def test_the_listing_has_plugins_too(folder, capsys):
    assert cli.main(["list", "--plugins", "my_rule"]) == 0
    assert "from plugins\n  my_rule                    The mean, scaled  [me]" in capsys.readouterr().out


def test_only_runs_with_a_plugin_have_its_source_in_their_identity(folder):
    before = identity(rule="krum", attack="alie", n_byz=2)
    plugins.load(["several", "my_rule"])
    assert identity(rule="krum", attack="alie", n_byz=2) == before and "sources" not in before
    assert identity(rule="nnm+my_rule")["sources"].keys() == {"my_rule"}
    assert identity(rule="my_other", attack="burst+my_attack", n_byz=1)["sources"].keys() == {"my_other", "my_attack"}


@pytest.mark.parametrize("changed", ["my_rule.py", "helping.py"])
def test_a_changed_plugin_is_another_run(folder, changed):
    digests = []
    for comment in ("", "# another day\n", ""):
        (folder / changed).write_text(FILES[changed] + comment)
        forget(folder)
        plugins.load(["my_rule"])
        digests.append(AGGREGATORS["my_rule"].digest)
    assert digests[0] == digests[2] != digests[1] and len(digests[0]) == 64


def test_records_of_an_earlier_version_are_not_reported(folder):
    plugins.load(["my_rule"])
    run_config = RunConfig(rule="my_rule", m=10, model="softmax")
    other = run_config.as_dict() | {"sources": {"my_rule": "0" * 64}}
    found = [run_config.as_dict() | {"data": "digits", "id": "new"}, other | {"data": "digits", "id": "old"}]
    assert [each["id"] for each in records.matching(found, [run_config], "digits")] == ["new"]
    assert [each["id"] for each in records.matching(found[1:], [run_config], "digits")] == []


def test_what_was_registered_without_a_source_is_not_recorded(folder):
    byzsim.register("mine", Spec(lambda: stateless(lambda g, ctx: (g[0], g[:, 0])), source="me"))
    assert byzsim.aggregate("mine", [[1.0], [2.0]])[0] == 1
    with pytest.raises(UserError, match="mine was registered without a digest of its source"):
        identity(rule="mine")


def test_variants_of_ones_own(folder):
    (folder / "varied.py").write_text(VARIED)
    (spec,) = plugins.load(["varied"]).values()
    run_config = RunConfig(rule="nnm+varied", rule_args={"variant": "two"})
    assert run_config == RunConfig(rule="nnm+varied", rule_args={"by": 2.0}) != RunConfig(rule="nnm+varied")
    assert type(spec.factory(variant="two")) is Aggregator
    with pytest.raises(
        ValueError, match=r"variant of times 'too'\. Did you mean 'two'\? Known: one: as it is; two: \+"
    ):
        spec.factory(variant="too")
    both = spec._replace(factory=lambda *, variant=1: stateless(variant))
    with pytest.raises(ValueError, match="'variant' has to choose between its variants by their names"):
        byzsim.register("mine", both)


def test_a_name_can_be_registered_again_as_the_other_kind(folder):
    byzsim.register("mine", Spec(lambda: stateless(lambda g, ctx: (g[0], g[:, 0])), source="me"))
    byzsim.register("mine", Spec(make_attack, source="me"))
    assert "mine" in ATTACKS and "mine" not in AGGREGATORS


def test_what_a_trial_of_an_attack_finds(folder):
    def tried(**parts):
        byzsim.register("mine", Spec(lambda: make_attack(**parts), source="me"))

    with pytest.raises(ValueError, match=r"it returns rows of float32 \(5,\); expected float32 \(8, 5\)"):
        tried(grads=lambda sent, byz, state, ctx: (sent[0], state))
    with pytest.raises(ValueError, match="it returns a state of"):
        tried(grads=lambda sent, byz, state, ctx: (sent, jnp.zeros(3)))
    with pytest.raises(ValueError, match="it returns labels of float32"):
        tried(labels=lambda labels, n, ctx: labels / 2)
    with pytest.raises(ValueError, match=r"grads returns .*; expected \(rows, state\)"):
        tried(grads=lambda sent, byz, state, ctx: sent)
    assert "mine" not in ATTACKS


SORTING = """\
import jax.numpy as jnp
from byzsim import Spec, ops
from byzsim.types import stateless

def sorting():
    def rule(grads, ctx):
        return MEDIAN, jnp.full(len(grads), 1 / len(grads))
    return stateless(rule)

SPEC = Spec(sorting, source="me")
"""


@pytest.mark.slow
def test_a_slow_rule_is_told_what_would_help(folder):
    """At (20, 40,000) jnp.median takes some 100 times as long as ours, and a trimmed mean about twice."""
    for name, median in (
        ("slow", "jnp.median(grads, axis=0)"),
        ("fast", "ops.trimmed_mean_and_weights(grads, 5, 10)[0]"),
    ):
        (folder / f"{name}.py").write_text(SORTING.replace("MEDIAN", median))
    plugins.load(["slow", "fast"])
    said = []
    named = ("nnm+slow", "slow", "fast", "krum")
    slow_rules.warn([RunConfig(rule=rule, seed=seed) for seed, rule in enumerate(named)], 40_000, said.append)
    (line,) = said
    assert re.match(r"warning: slow takes about \d\d+ times as long as median at \(20, 40000\)", line)
    assert "slow, line 7: jnp.median(grads, axis=0)" in line and "byzsim.ops.order_statistics" in line


@pytest.mark.slow
def test_a_table_with_a_rule_of_ones_own(folder, capsys):
    command = ["run", "smoke", "--plugins", "my_rule", "--rules", "my_rule", "--only", "attack=gaussian,alpha=0"]
    command += ["--epochs", "1"]
    for expected in ("0 recorded before, 1 to run", "1 recorded before, 0 to run"):
        assert cli.main(command) == 0
        assert expected in capsys.readouterr().out
    (folder / "helping.py").write_text("FACTOR = 1.0\n")
    forget(folder)
    jax.clear_caches()
    assert cli.main(command) == 0
    assert "0 recorded before, 1 to run" in capsys.readouterr().out
    (path,) = folder.rglob("runs.jsonl")
    first, second = records.read(path)
    assert first["loss"] != second["loss"] and first["id"] != second["id"]
