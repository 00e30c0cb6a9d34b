"""Rules and attacks of a user's own, from modules that the user names."""

import importlib
import os
import re
import subprocess
import sys

import byzsim
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from byzsim import AGGREGATORS, ATTACKS, Aggregator, RunConfig, Spec, registration
from byzsim.experiments import cli, datasets, plugins, records
from byzsim.experiments.datasets import DATASETS, load
from byzsim.experiments.errors import UserError
from byzsim.experiments.plugins.sources import without_table
from byzsim.experiments.records import status
from byzsim.experiments.tables import TABLES
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
    own = {name for zoo in registration.KINDS.values() for name in zoo} - BUILT_IN
    for name in own:
        registration.forget(name)
    for zoo, built_in in ((TABLES, plugins.TABLES_BUILT_IN), (DATASETS, datasets.BUILT_IN)):
        for name in zoo.keys() - built_in:
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


def test_a_factory_says_of_which_kind_its_member_is(folder):
    (folder / "every_kind.py").write_text(EVERY_KIND)
    found = plugins.load(["every_kind.py"])
    assert set(found) == {*KINDS, "points"}
    assert {name: kind for kind, zoo in registration.KINDS.items() for name in zoo if name in found} == KINDS
    run = RunConfig(rule="halved+median", attack="late+alie", model="plain", partition="in_order", m=4, n_byz=1)
    assert {*KINDS} - {"linear", "with_nnx", "bowl"} == identity_of(run).keys()
    data = load("points")
    assert data.train_inputs.dtype == np.float32 and data.n_classes == 2 and data.train_labels.tolist() == [0, 1] * 15


def identity_of(run_config):
    return records.identity(run_config, "points", load("points"))["sources"]


@pytest.mark.slow
@pytest.mark.parametrize("model", ["linear", "with_nnx", "plain"])
def test_members_of_all_kinds_train_together(folder, model):
    (folder / "every_kind.py").write_text(EVERY_KIND)
    plugins.load(["every_kind"])
    data = load("points")
    setting = {"rule": "halved+median", "attack": "late+sign_flip", "n_byz": 1, "m": 4, "batch": 2, "steps": 3}
    history = byzsim.simulate(tuple(data.train), tuple(data.test), model=model, partition="in_order", **setting)
    assert np.isfinite(history.loss).all()
    history = byzsim.simulate(task="bowl", task_args={"size": 0.5}, lr=0.1, **setting)
    assert history.loss[-1] < 3


def test_a_data_set_has_the_digest_of_its_arrays(folder):
    text = "import numpy as np\nfrom byzsim import Spec\ndef load():\n    held = np.load('x.npy')\n"
    text += "    return (held, np.arange(6) % 2), (held, np.arange(6) % 2)\nSPEC = Spec(load, source='me')\n"
    (folder / "mine.py").write_text(text)
    digests = []
    for value in (0, 1, 0):
        np.save(folder / "x.npy", np.full((6, 2), value, np.float64))
        forget(folder)
        plugins.load(["mine"])
        digests.append(datasets.fingerprint("mine").digest)
    assert digests[0] == digests[2] != digests[1]


def test_a_tables_functions_decide_no_run(folder):
    digests = []
    for change in ({}, {"MARK": "other"}, {"import pandas": "import os"}, {"2.0": "3.0"}):
        text = TABLE + "SPEC = Table(name='mine', title='t', source='me', axes=(axis('rule', ['doubled']),), "
        text += "verdict=verdict)\n"
        for old, new in change.items():
            text = text.replace(old, new)
        (folder / "mine.py").write_text(text)
        forget(folder)
        assert plugins.table_of("mine.py").name == "mine" in TABLES
        digests.append(AGGREGATORS["doubled"].digest)
    assert digests[0] == digests[1] == digests[2] != digests[3]
    kept = without_table((folder / "mine.py").read_bytes()).decode()
    assert "FACTOR" in kept and "doubled" in kept and "helping" not in kept and "verdict" not in kept


def test_modules_beside_a_file_are_registered_too(folder, tmp_path_factory):
    (folder / "both.py").write_text("import my_rule\nimport several\nimport numpy\n")
    assert set(plugins.load([str(folder / "both.py")])) == {"my_rule", "my_attack", "my_other"}


def test_records_of_an_earlier_version_are_not_reported(folder):
    plugins.load(["my_rule"])
    run_config = RunConfig(rule="my_rule", m=10, model="softmax")
    other = run_config.as_dict() | {"sources": {"my_rule": "0" * 64}}
    found = [run_config.as_dict() | {"data": "digits", "id": "new"}, other | {"data": "digits", "id": "old"}]
    assert [each["id"] for each in records.matching(found, [("digits", run_config)])] == ["new"]
    assert [each["id"] for each in records.matching(found[1:], [("digits", run_config)])] == []


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


EVERY_KIND = """\
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from byzsim import Data, Partition, Spec, make_task, types
from flax import nnx

def halved():
    "Rows of half the length."
    def around(rule):
        def apply(grads, state, ctx):
            return rule.apply(grads / 2, state, ctx)
        return rule._replace(apply=apply)
    return around

def late():
    "The attack from step 3 on."
    def around(attack):
        def grads(updates, byz, state, ctx):
            rows, state = attack.grads(updates, byz, state, ctx)
            return jnp.where(ctx.step < 3, updates, rows), state
        return attack._replace(grads=grads)
    return around

class Net(nn.Module):
    n_classes: int

    @nn.compact
    def __call__(self, x):
        return nn.Dense(self.n_classes)(x.reshape(len(x), -1).astype(jnp.float32))

def linear(*, n_classes):
    "One layer."
    return Net(n_classes)

class Nnx(nnx.Module):
    def __init__(self, n_classes, rngs):
        self.layer = nnx.Linear(3, n_classes, rngs=rngs)

    def __call__(self, x):
        return self.layer(x)

def with_nnx(*, n_classes):
    "One layer of NNX."
    return lambda rngs: Nnx(n_classes, rngs)

class Plain:
    def init(self, key, x):
        return {"w": jnp.zeros((3, 2))}

    def apply(self, params, x):
        return x @ params["w"]

def plain(*, n_classes):
    "Two functions."
    return Plain()

def bowl(*, size: float = 1.0):
    "A quadratic."
    return make_task(init=lambda key, example: jnp.ones(3), sample=lambda key, worker, n: Data(jnp.zeros((n, 3))),
                     loss=lambda w, batch: size * jnp.square(w[None] - batch.inputs).sum(axis=1),
                     measure=lambda w, facts: {"loss": jnp.square(w).sum()})

def in_order():
    "Worker i has the i-th part."
    def deal(key, pool, m):
        return jnp.arange(pool.n // m * m).reshape(m, -1)
    return Partition(deal, needs_classes=False)

def points():
    "Thirty points."
    x = np.arange(90.0).reshape(30, 3) / 90
    return (x, np.array(["5", "7"] * 15).astype(int)), (x[:10], np.array([5, 7] * 5))

SPECS = {f.__name__: Spec(f, source="me") for f in (halved, late, linear, with_nnx, plain, bowl, in_order, points)}
"""
KINDS = {
    "halved": "preaggregator",
    "late": "modifier",
    "linear": "model",
    "with_nnx": "model",
    "plain": "model",
    "bowl": "task",
    "in_order": "partition",
}
TABLE = """\
import pandas
import helping
from byzsim import Spec, types
from byzsim.experiments.plan import Table, axis

FACTOR = 2.0

def doubled():
    "Twice the mean."
    return types.stateless(lambda grads, ctx: (FACTOR * grads.mean(axis=0), grads[:, 0] * 0 + 1 / len(grads)))

def verdict(*numbers):
    return "MARK"

SPECS = {"doubled": Spec(doubled, source="me", max_f=lambda m: 0)}
"""


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
    code = """
from byzsim import RunConfig
from byzsim.experiments import plugins
from byzsim.experiments.run import slow_rules
plugins.load(["slow", "fast"])
named = ("nnm+slow", "slow", "fast", "krum")
slow_rules.warn([RunConfig(rule=rule, seed=seed) for seed, rule in enumerate(named)], 40_000, print)
"""
    environment = os.environ | {"XLA_FLAGS": ""}  # optimised, as users have it
    command = [sys.executable, "-c", code]
    (line,) = subprocess.run(
        command, env=environment, capture_output=True, text=True, check=True, cwd=folder
    ).stdout.splitlines()
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


def test_records_of_members_of_all_kinds_are_up_to_date_with_their_file_alone(folder, capsys):
    (folder / "every_kind.py").write_text(EVERY_KIND)
    plugins.load(["every_kind.py"])
    run = RunConfig(model="plain", partition="in_order", m=4, batch=2)
    found = records.identity(run, "points", load("points"))
    record = found | {"id": records.identifier(found)}
    assert status._stale(record, {}, ["every_kind.py"]) == ""
    for name in ("plain", "points"):
        registration.forget(name)
        DATASETS.pop(name, None)
        assert f"{name} of a plugin: add --plugins every_kind.py" in status._stale(record, {}, ["every_kind.py"])
        plugins.load(["every_kind.py"])
