"""Benchmarks of scaling and of accelerators: what they compute from measurements, and that they run at toy size."""

import json
import sys

import jax
import numpy as np
import pandas as pd
import pytest
from byzsim import AGGREGATORS, RunConfig, grid
from byzsim.experiments import cli
from byzsim.experiments.bench import accelerator, scaling
from byzsim.experiments.bench.worker import Failed, WorkerProcess, parsed
from byzsim.experiments.errors import UserError
from byzsim.experiments.run.devices import MEMORY_FRACTION, planned_runs_per_device
from byzsim.grid import memory, placement

SIZES = (10, 20, 50, 100, 200, 500, 1000)
GIVEN = scaling.Scaling(workers=SIZES, coordinates=(100, 1000), at_d=100, at_m=10, shown=("mean", "krum"))
ORIGIN = {"commit": "abc", "dirty": False, "device": "a device", "versions": {"jax": "0"}}


def measured(**powers):
    """What `measure` returns for rules whose time is a power of m: {rule: (factor, power)}."""
    rows = [
        {"rule": rule, "m": m, "d": 100, "ms": factor * m**power, "copies": 1.0, "left_out": ""}
        for rule, (factor, power) in powers.items()
        for m in SIZES
    ]
    return pd.DataFrame(rows, columns=pd.Index(scaling.COLUMNS))


def steps():
    row = {"rule": "mean", "m": 4, "batch": 2, "first_s": 1.0, "step_s": 0.1, "peak": 10**9, "left_out": ""}
    return pd.DataFrame([row, row | {"rule": "krum", "left_out": "not finished after 1 s"}])


# Slopes and crossovers


@pytest.mark.parametrize("power", [0.0, 1.0, 1.7, 2.0])
def test_a_fit_recovers_the_power(power):
    x = np.array([100, 200, 500, 1000])
    assert scaling.fit(x, 3 * x**power)[:2] == pytest.approx((power, 0), abs=1e-6)
    rough = scaling.fit(x, 3 * x**power * [1.1, 0.9, 1.1, 0.9])
    assert rough.error > 0.05 and abs(rough.value - power) < 3 * rough.error


def test_the_standard_error_is_that_of_least_squares():
    x, y = np.array([1.0, 2.0, 4.0, 8.0]), np.array([1.0, 2.5, 3.5, 9.0])
    matrix = np.polyfit(np.log(x), np.log(y), 1, cov="unscaled")[1]
    rest = np.log(y) - np.polyval(np.polyfit(np.log(x), np.log(y), 1), np.log(x))
    assert scaling.fit(x, y).error == pytest.approx(np.sqrt(matrix[0, 0] * (rest @ rest) / 2))


def test_a_fit_needs_two_points_and_an_error_three():
    assert scaling.fit([1], [1]) is None
    assert np.isnan(scaling.fit([1, 2], [1, 2]).error)


def test_the_upper_half_leaves_small_sizes_out():
    found = measured(mean=(1.0, 1.0))
    found.loc[found["m"] < 100, "ms"] = 1e3
    assert scaling.slope_of(found, "mean", "m", GIVEN)[:3] == pytest.approx((1, 0, 100), abs=1e-6)


@pytest.mark.parametrize(
    ("slope", "error", "claimed", "words"),
    [
        (1.05, 0.01, 1, "agrees"),
        (1.3, 0.2, 1, "agrees"),
        (1.3, 0.1, 1, "**steeper**"),
        (1.7, 0.1, 2, "flatter"),
        (1.3, np.nan, 1, "two points only"),
        (1.3, 0.1, None, ""),
    ],
)
def test_a_verdict_claims_no_more_than_the_fit_shows(slope, error, claimed, words):
    assert scaling.verdict(scaling.Slope(slope, error, 1, 10), claimed) == words


def test_powers_of_a_claim():
    assert [scaling.exponent(cost, "m") for cost in ("m d", "m^2 d", "m^2 d + m^4", "r m d")] == [1, 2, None, None]
    assert scaling.exponent("m^2 d", "d") == 1


def test_lines_cross_where_they_do():
    met = scaling.crossovers(measured(mean=(30.0, 1.0), krum=(0.1, 2.0)), "m", GIVEN)
    assert met == [("krum", "mean", pytest.approx(300))]
    assert not scaling.crossovers(measured(mean=(1.0, 1.0), krum=(2.0, 1.0)), "m", GIVEN)


def test_curves_that_are_hardly_apart_do_not_cross():
    x, flat = np.array([1.0, 2.0, 4.0, 8.0]), np.ones(4)
    assert scaling.crossings(x, flat, np.array([1.1, 0.9, 1.1, 0.9])) == []
    assert scaling.crossings(x, flat, np.array([2.0, 0.9, 1.1, 0.5])) == [(pytest.approx(8**0.5), True)]


def test_what_is_predicted_is_at_least_linear():
    assert scaling.predicted([], 10) == 0
    assert scaling.predicted([(10, 1.0)], 20) == pytest.approx(2)
    assert scaling.predicted([(10, 1.0), (20, 1.1)], 40) == pytest.approx(2.2)
    assert scaling.predicted([(5, 9.0), (10, 1.0), (20, 4.0), (40, 16.0)], 80) == pytest.approx(64)


# Measuring


class Answers:
    """Instead of a process: a second for 10 workers, growing with their cube."""

    asked: list

    def __init__(self):
        self.asked = []

    def ask(self, what, rule, m, d, repeats, limit):
        self.asked.append((m, d))
        if rule == "median":
            raise Failed("it died")
        return {"ms": 1.0, "seconds": (m / 10) ** 3, "working": 4 * m * d}


def test_what_would_take_too_long_or_too_much_is_left_out():
    given = scaling.Scaling(
        rules=("mean", "median"), workers=(10, 20, 40), coordinates=(100, 200), at_d=100, at_m=10, limit=20, memory=7e-6
    )
    worker = Answers()
    found = scaling.measure(given, worker, lambda line: None).set_index(["rule", "m", "d"])
    why = found["left_out"].to_dict()
    assert why["mean", 10, 100] == "" and why["mean", 20, 100] == "a matrix of more than 7e-06 GB"
    assert why["median", 10, 100] == "it died"
    given = scaling.dataclasses.replace(given, memory=4)
    why = scaling.measure(given, worker, lambda line: None).set_index(["rule", "m", "d"])["left_out"].to_dict()
    assert why["mean", 40, 100] == "predicted to take more than 20 s" and why["mean", 20, 100] == ""
    assert why["median", 10, 200] == why["median", 40, 100] == "it died, as at a smaller size"


def test_a_rule_with_options():
    assert parsed("safeguard:thresholds=given,th0=3,guards=single").args["thresholds"] == "given"
    assert parsed("mda:subsets=balls").args == {"subsets": "balls"}
    with pytest.raises(ValueError, match="Did you mean 'median'"):
        parsed("medain")
    with pytest.raises(ValueError, match="unknown option of mda"):
        parsed("mda:serch=ball")


@pytest.mark.slow
def test_a_child_that_fails_says_why_and_is_replaced():
    worker = WorkerProcess(8.0)
    try:
        with pytest.raises(Failed, match="not finished after 0"):
            worker.ask("origin", limit=0)
        with pytest.raises(Failed, match="all subsets of at most 20 workers, not of 21"):
            worker.ask("aggregation", "mda", 21, 1, 1, limit=60)
        assert worker._process.is_alive()
        worker._process.kill()
        with pytest.raises(Failed, match="the process died"):
            worker.ask("origin", limit=60)
    finally:
        worker.end()


# Pages


def test_the_page_names_every_rule_and_what_is_left_out():
    found = measured(**dict.fromkeys(AGGREGATORS, (1.0, 1.0)))
    found.loc[(found["rule"] == "smea") & (found["m"] > 10), "left_out"] = "too many subsets"
    text = scaling.page(found, steps(), GIVEN, ORIGIN)
    for name in AGGREGATORS:
        assert text.count(f"| {name} | ") >= 2
    assert "| smea | 20 x 100; 50 x 100; 100 x 100; 200 x 100; 500 x 100; 1,000 x 100 | too many subsets |" in text
    assert "| krum | O(m^2 d) | Blanchard et al., NeurIPS 2017 | 1.00 ± 0.00 (100 to 1,000) | flatter |" in text
    assert "| krum | 4 | 2 | – | – | – | not finished after 1 s |" in text


def test_a_page_says_with_which_options_it_was_made():
    given = accelerator.Accelerator(random_data=True, batches=(10,), seeds=(0, 1, 2))
    assert scaling.command_line("accelerator", given) == "byzsim bench accelerator --random-data --batches 10"
    given = scaling.Scaling(**scaling.QUICK, quick=True)
    assert scaling.command_line("scaling", given) == "byzsim bench scaling --quick"


def test_the_figure_has_a_column_for_each_shown_rule():
    drawn = scaling.figure(measured(mean=(1.0, 1.0), krum=(1.0, 2.0), median=(1.0, 1.0)), GIVEN)
    assert len(drawn.axes) == 6
    texts = [text.get_text() for text in drawn.axes[1].texts]
    assert texts == ["claim: 2 (the paper)", "slope 2.00 ± 0.00"]


@pytest.mark.slow
def test_scaling_at_toy_size(tmp_path, capsys):
    assert cli.main(["bench", "scaling", "--quick", "--results", str(tmp_path)]) == 0
    folder = tmp_path / "bench+quick"
    assert {path.name for path in folder.iterdir()} == {f"scaling.{kind}" for kind in ("csv", "md", "png", "svg")}
    found = pd.read_csv(folder / "scaling.csv", keep_default_na=False)
    assert len(found) == 6 and set(found["left_out"]) == {""}
    assert "quick run, not a result" in (folder / "scaling.md").read_text()


@pytest.mark.slow
def test_accelerator_at_toy_size(tmp_path, capsys):
    assert cli.main(["bench", "accelerator", "--quick", "--results", str(tmp_path)]) == 0
    folder = tmp_path / "bench+quick"
    found = json.loads((folder / "accelerator-cpu.json").read_text())
    assert found["table"]["runs"] == 1 and found["training"][0]["byzfl"] == {"skipped": "no --peer-python"}
    assert [each["rule"] for each in found["bandwidth"]["rules"]] == ["mean", "krum"]
    text = (folder / "accelerator-cpu.md").read_text()
    assert "The aims are for accelerators, so this CPU is not judged." in text and "aim met" not in text


def test_on_an_accelerator_aims_are_judged():
    rates = [{"batch": 10, "alone": {"steps_per_s": 5.0}, "together": {"runs": 4, "run_steps_per_s": 20.0}}]
    rates[0]["byzfl"] = {"steps_per_s": 2.5}
    rules = [{"rule": "mean", "ms": 1.0, "bytes_per_s": 1e9, "of_copy": 0.4}, {"rule": "smea", "error": "too many"}]
    found = {
        "device": "a GPU", "platform": "gpu", "memory": 10**11, "origin": ORIGIN, "training": rates,
        "peers": {"byzfl": "0.0.11", "torch": "2.13.0"},
        "table": {"runs": 156, "programs": 20, "runs_per_device": [3, 9], "epochs": 8, "data": "it", "seconds": 59.0,
                  "first_s": 9.0},
        "bandwidth": {"m": 4, "d": 100, "copy_bytes_per_s": 2.5e9, "rules": rules},
    }  # fmt: skip
    text = accelerator.page(found, accelerator.Accelerator())
    assert "**59.0 s** (aim met)" in text and "| 8.0 (aim missed) |" in text and "40 % (aim missed)" in text
    assert "3 to 9 runs at once" in text and "## Bandwidth" in text and "| smea | – | – | too many |" in text
    del found["bandwidth"]
    assert "byzfl 0.0.11 with torch 2.13.0" in text
    assert "## Bandwidth" not in accelerator.page(found, accelerator.Accelerator())


FAKE = """#!{python} -S
import json, sys
for line in sys.stdin:
    request = json.loads(line)
    print(json.dumps({versions} if "versions" in request else {answer}), flush=True)
"""


def fake_peer(tmp_path, answer, versions="{'seconds': 1.0, 'byzfl': '0', 'torch': '2'}"):
    """A Python that runs no script, but answers as the peers' would."""
    python = tmp_path / "python"
    python.write_text(FAKE.format(python=sys.executable, answer=answer, versions=versions))
    python.chmod(0o755)
    return python


@pytest.mark.slow
@pytest.mark.parametrize(
    ("model", "answer", "found"),
    [
        ("lenet", "{'seconds': 0.25 * request['repeat']}", {"steps_per_s": 4.0}),
        ("lenet", "{'error': 'no GPU'}", {"skipped": "no GPU"}),
        ("lenet", "exit()", {"skipped": "the peers' process ended"}),
        ("softmax", "{}", {"skipped": "only lenet, resnet20 are available for byzfl, not softmax"}),
    ],
)
def test_a_peer_is_asked_or_the_reason_said(tmp_path, monkeypatch, model, answer, found):
    given = accelerator.Accelerator(model=model, m=3, n_byz=1, steps=2)

    def begin_and_ask(peer, setting, run_config, images, *_, **__):
        accelerator.steps._begun(run_config, images)
        peer.run({})

    monkeypatch.setattr(accelerator.steps, "check_step", begin_and_ask)
    with accelerator._peer(fake_peer(tmp_path, answer)) as peer:
        ((key, value),) = accelerator._byzfl(given, 2, (28, 28), peer).items()
    assert {key: value if key == "steps_per_s" else value[: len(found[key])]} == found


def test_without_a_peer_nothing_is_compared(tmp_path):
    assert accelerator._byzfl(accelerator.Accelerator(), 2, (28, 28), None) == {"skipped": "no --peer-python"}
    for python in (tmp_path / "none", fake_peer(tmp_path, "", versions="exit()")):
        with pytest.raises(UserError, match=r"cannot run the peers' Python|the peers' process ended during"):
            accelerator._peer(python)


# What users may give


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["scalling"], "unknown benchmark 'scalling'. Did you mean 'scaling'"),
        (["scaling", "--rules", "medain"], "Did you mean 'median'"),
        (["scaling", "--shown", "mda:subsets=best"], "is not one of 'all', 'balls'"),
        (["scaling", "--at-m", "0"], "have to be above 0"),
        (["scaling", "--limit", "0"], "have to be above 0"),
        (["scaling", "--workers"], "at least one number"),
        (["accelerator", "--rules", "medain"], "Did you mean 'median'"),
        (["accelerator", "--model", "resnet21"], "Did you mean 'resnet20'"),
        (["accelerator", "--n-byz", "11"], "more than there are workers"),
        (["accelerator", "--steps", "0"], "have to be above 0"),
        (["accelerator", "--batches"], "at least one number"),
    ],
)
def test_what_cannot_be_done_is_refused(options, message, capsys):
    assert cli.main(["bench", *options]) == 2
    assert message in capsys.readouterr().err


# The runs_per_device


@pytest.mark.parametrize(("limit", "runs_per_device"), [(1000, 12), (130, 12), (129, 11), (75, 6), (29, 1), (20, 1)])
def test_the_largest_chunk_that_fits(limit, runs_per_device):
    assert grid.largest_fitting(lambda k: 10 + 10 * k, 12, limit) == runs_per_device


def test_a_need_that_bends_is_still_met():
    need = lambda k: k**2  # noqa: E731
    assert grid.largest_fitting(need, 10, 50) == 5  # the line through 1 and 10 says 5; 7 would fit
    assert grid.largest_fitting(lambda k: 100 * k**0.5, 100, 500) == 25


def test_one_run_has_to_fit():
    with pytest.raises(ValueError, match=r"one run needs 20.00 GB of the device's memory, and 19.00 GB are available"):
        grid.largest_fitting(lambda k: 10**10 * (1 + k), 8, 19 * 10**9)


class Accelerated:
    """A device that says how much memory it has."""

    platform = "gpu"

    def __init__(self, stats):
        self.memory_stats = lambda: stats
        self.process_index = 0


def test_a_cpu_and_a_device_that_tells_nothing_run_one_run_after_another(world):
    (group,) = grid.plan([RunConfig(model="softmax", m=4, batch=4)], world.source)
    for device in (jax.devices()[0], Accelerated(None), Accelerated({})):
        assert planned_runs_per_device(group, world.train, world.test, [device]) is None


def test_the_chunk_follows_from_the_devices_memory(world, monkeypatch):
    (group,) = grid.plan([RunConfig(model="softmax", m=4, batch=4, seed=seed) for seed in range(12)], world.source)
    monkeypatch.setattr(
        memory, "need", lambda program, dynamic, train, test, mesh, runs_per_device: 100 + 100 * runs_per_device
    )
    monkeypatch.setattr(placement, "Mesh", lambda devices, axes: devices)

    def planned(limit, devices=1):
        stats = {"bytes_limit": limit / MEMORY_FRACTION}
        return planned_runs_per_device(group, world.train, world.test, [Accelerated(stats)] * devices)

    assert planned(10_000) == 12 and planned(10_000, devices=2) == 6
    assert planned(901) == 6  # 8 fit: two batches of 6
    assert planned(201) == 1
    with pytest.raises(UserError, match=r"mean: one run needs .* Try fewer workers, smaller batches"):
        planned(190)


@pytest.mark.slow
def test_the_need_is_what_xla_plans_and_nothing_is_compiled_twice(world, compiled):
    (group,) = grid.plan([RunConfig(model="softmax", m=4, batch=4, epochs=1, seed=s) for s in range(3)], world.source)
    devices = jax.devices()[:1]
    runs_per_device = grid.planned_runs_per_device(
        group.static, group.dynamic, world.train, world.test, devices=devices, limit=10**9
    )
    assert runs_per_device == 3
    compiled.clear()
    grid.run(
        group.static, group.dynamic, world.train, world.test, epochs=1, devices=devices, runs_per_device=runs_per_device
    )
    assert len(compiled) <= 2  # the start, and the order of the batches; the other programs are those that were planned
