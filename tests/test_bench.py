"""The benchmark, untimed: what it refuses, how it takes turns, that it knows unequal work, and its page."""

import json

import jax
import numpy as np
import pytest
from byzsim import AGGREGATORS, MODELS, PREAGGREGATORS
from byzsim.experiments import bench, cli
from byzsim.experiments.bench import environment, page, rules, steps
from byzsim.experiments.bench.measure import Budget, Comparison, Failed, Timing, interleaved, local
from byzsim.experiments.errors import UserError
from byzsim.options import options


def finding(**changed):
    common = {"part": "rules", "what": "median", "shape": "20 x 5", "sense": ">=", "other": "byzfl", "target": 8.0}
    return Comparison(**common | {"ours": Timing(2.0, 0.1, 5), "theirs": Timing(20.0, 0.2, 3)} | changed)


def record(**changed):
    origin = {"commit": "c0ffee", "dirty": False, "versions": {"jax": "1"}, "device": "2 x cpu", "date": "today"}
    versions = {"torch": "2", "byzfl": "0", "numpy": "2", "python": "3", "threads": 2, "wait": "default"}
    common = {"quick": False, "load": 0.0, "peers": versions | {"stand_in": True}}
    return finding(**changed).record() | origin | common


# ---------------------------------------------------------------------------------------------------------
# Timing
# ---------------------------------------------------------------------------------------------------------


def test_candidates_take_turns_and_medians_come_out():
    """Seconds per call as given; the first call is ten times slower and does not count."""
    turns = []

    def side(name, seconds):
        calls = iter([10 * seconds])

        def run(n):
            turns.append((name, n))
            return n * next(calls, seconds)

        return run

    times, failures = interleaved({"a": side("a", 0.01), "b": side("b", 0.05)}, Budget(3, 10.0, 0.04))
    assert not failures
    assert times["a"].ms == pytest.approx(10) and times["b"].ms == pytest.approx(50)
    assert turns == [("a", 1), ("a", 1), ("b", 1), ("b", 1), *[("a", 4), ("b", 1)] * 3]
    assert times["a"].n == 3 and times["a"].spread == pytest.approx(0)


def test_a_slow_side_is_called_once_and_a_failing_one_explains():
    calls = []

    def slow(n):
        calls.append(n)
        return 100.0

    def failing(n):
        raise Failed("out of memory")

    times, failures = interleaved({"slow": slow, "failing": failing}, Budget(5, 1.0, 0.01))
    assert calls == [1] and times["slow"] == Timing(100_000.0, 0.0, 1)
    assert failures == {"failing": "out of memory"} and "failing" not in times


def test_a_local_side_is_compiled_before_it_is_timed():
    ticks, calls = iter(range(100)), []
    side = local(lambda: calls.append(1) or np.zeros(1), clock=lambda: next(ticks))
    assert len(calls) == 1
    assert side(3) == 1 and len(calls) == 4


# ---------------------------------------------------------------------------------------------------------
# The same work
# ---------------------------------------------------------------------------------------------------------


def test_unequal_work_is_refused():
    steps.check_same("x", [1.0, 2.0], [1.0, 2.00001])
    for wrong in ([1.0, 2.1], [1.0, np.nan], [1.0, 2.0, 3.0]):
        with pytest.raises(UserError, match="not the same work, nothing timed: x"):
            steps.check_same("x", wrong, [1.0, 2.0])


def test_a_wrong_rule_is_caught(tmp_path):
    """A peer that gives the mean where the median is asked for."""

    class Wrong:
        def run(self, job, *, out, limit):
            np.save(out, np.load(job["matrix"]).mean(axis=0))

    grads = rules.matrix((5, 7))
    np.save(tmp_path / "matrix.npy", grads)
    (peer_rule, _) = rules.PEER_IMPLEMENTATIONS["median"]
    job = rules._job(peer_rule, grads, tmp_path / "matrix.npy")
    with pytest.raises(UserError, match="median against byzfl Median"):
        rules._check("median", peer_rule, np.median(grads, axis=0), job, Wrong(), tmp_path, 1.0)
    rules._check("mean", rules.PEER_IMPLEMENTATIONS["mean"][0], np.mean(grads, axis=0), job, Wrong(), tmp_path, 1.0)


@pytest.mark.parametrize(("model", "shape"), [("lenet", (28, 28)), ("resnet20", (32, 32, 3))])
def test_parameters_go_to_torch_and_back(model, shape):
    one = np.zeros((1, *shape), np.uint8)
    shapes = jax.eval_shape(MODELS[model].factory(n_classes=10).init, jax.random.key(0), one)
    tree = jax.tree.map(lambda leaf: np.arange(leaf.size, dtype=np.float32).reshape(leaf.shape), shapes)
    theirs = steps.to_torch(tree)
    layers = {"ConvPool_1": (16, 6, 5, 5), "Dense_0": (120, 400)}
    layers = layers if model == "lenet" else {"Block_3.Conv_0": (32, 16, 3, 3), "Block_3.GroupNorm_1": (32,)}
    assert all(theirs[f"{layer}.weight"].shape == weight for layer, weight in layers.items())
    jax.tree.map(np.testing.assert_array_equal, steps.from_torch(theirs), tree)


def test_settings_and_peer_rules_are_known_here():
    for setting in steps.SETTINGS:
        assert setting.run_config(8).f == steps.F
    for name, peer_rules in rules.PEER_IMPLEMENTATIONS.items():
        for peer_rule in peer_rules:
            options(name, rules._spec(name), peer_rule.options)
    assert rules.READS.keys() | rules.PRODUCTS.keys() <= AGGREGATORS.keys() | PREAGGREGATORS.keys()


def test_which_rules_are_linear():
    assert rules.is_linear("m d") and rules.is_linear("m d + m losses")
    assert not rules.is_linear("m^2 d") and not rules.is_linear("iterations (m^2 b + d log d) + m d")


# ---------------------------------------------------------------------------------------------------------
# Findings, records, page
# ---------------------------------------------------------------------------------------------------------


def test_ratios_and_targets():
    assert finding().ratio == 10 and finding().met
    assert not finding(target=11.0).met
    cost = finding(sense="<=", target=3.0, ours=Timing(20.0, 0.0, 1), theirs=Timing(5.0, 0.0, 1))
    assert cost.ratio == 4 and not cost.met
    assert finding(theirs=None).ratio is None and finding(theirs=None).met is None
    assert finding(target=None).met is None
    assert "MISSED" in cost.line() and "MISSED" not in finding().line()


def test_a_record_is_plain_and_says_all():
    plain = json.loads(json.dumps(record()))
    assert plain["ratio"] == 10 and plain["met"] is True and plain["spread"] == 0.2 and plain["n"] == 3


def test_the_page_says_what_was_missed_and_how_byzfl_was_imported(tmp_path):
    bad = record(what="krum", sense="<=", other="G @ G.T", target=2.0, ours=Timing(60.0, 0.0, 3))
    text = page.write([record(), bad], tmp_path)
    assert "1 of 2 targets are met" in text and "stand-in module" in text and "c0ffee" in text
    missed = text.split("## Missed")[1]
    assert "| rules | krum | 20 x 5 | 60 | G @ G.T | 20 | 3 | ≤ 2 | **missed** |" in missed and "median" not in missed
    assert {path.name for path in tmp_path.iterdir()} == {"README.md", "bench.png", "bench.svg"}


def test_quick_and_busy_runs_say_so():
    loud = page.page([record() | {"quick": True, "load": 3.0}])
    assert "Quick run" in loud and "busy" in loud
    assert "Quick run" not in page.page([record()]) and "busy" not in page.page([record()])


def test_a_figure_without_targets_can_be_drawn():
    assert page.figure([record(target=None)]).axes


# ---------------------------------------------------------------------------------------------------------
# Command and environment
# ---------------------------------------------------------------------------------------------------------


def test_unknown_parts_are_refused(capsys):
    assert cli.main(["bench", "--only", "stepz"]) == 2
    assert "unknown part 'stepz'. Did you mean 'steps'" in capsys.readouterr().err


def test_results_that_cannot_be_written_are_refused(tmp_path, capsys):
    (tmp_path / "file").touch()
    assert cli.main(["bench", "--only", "rules", "--no-peers", "--results", str(tmp_path / "file")]) == 2
    assert "cannot write results" in capsys.readouterr().err


def test_an_environment_of_the_same_pins_is_kept(tmp_path):
    (tmp_path / "ready.txt").write_text(environment.PINS.read_text())
    assert environment.make(tmp_path, print) == tmp_path / "bin" / "python"


def test_an_environment_that_cannot_be_made_is_said(tmp_path, monkeypatch):
    monkeypatch.setattr(environment.venv, "create", lambda *_, **__: None)  # which should have made a Python
    with pytest.raises(UserError, match=r"cannot run .*python: No such file"):
        environment.make(tmp_path / "none", lambda line: None)


def test_a_run_is_recorded_and_its_page_written(tmp_path, monkeypatch):
    """Two parts that time nothing."""
    monkeypatch.setattr(bench, "_comparisons", lambda *_: iter([finding(), finding(what="krum", target=None)]))
    bench.run(bench.Options(quick=True, peers=False, results=tmp_path), lambda line: None)
    lines = (tmp_path / "bench+quick" / "ours.jsonl").read_text().splitlines()
    assert [json.loads(line)["what"] for line in lines] == ["median", "krum"]
    assert "1 of 1 targets" in (tmp_path / "bench+quick" / "README.md").read_text()


@pytest.mark.slow
def test_steps_are_measured_alone_and_in_lanes(tmp_path, monkeypatch):
    """Each lane continues its own run; a program whose state another lane had donated would fail."""
    monkeypatch.setattr(steps.devices, "cores", lambda: 2)
    found = list(steps.steps((1,), steps.SETTINGS[1:2], None, tmp_path, Budget(1, 0.1), 1))
    assert {each.part for each in found} == {"steps", "lanes"}
    assert all(each.ours.ms > 0 for each in found)
