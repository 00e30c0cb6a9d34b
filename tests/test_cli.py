"""The command line as a user meets it: what it prints, what it leaves behind, how it ends."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from experiments import cli, listing, records
from experiments.config import Config, cells, workers
from experiments.datasets import DATASETS
from experiments.errors import UserError
from experiments.tables import TABLES
from sim import AGGREGATORS, ATTACKS, MODELS, MODIFIERS, PRE_RULES

SMOKE = ["smoke", "--only", "rule=mean,attack=gaussian", "--epochs", "2"]


def run(argv, capsys):
    code = cli.main(list(map(str, argv)))
    return code, *capsys.readouterr()


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """Results of two small cells, run once for the module."""
    folder = tmp_path_factory.mktemp("results")
    assert cli.main(["run", *SMOKE, "--results", str(folder)]) == 0
    return folder


def runs(folder):
    return folder / "smoke+epochs=2" / "runs.jsonl"


def test_list_names_every_member_with_its_source(capsys):
    code, out, _ = run(["list"], capsys)
    assert code == 0
    for zoo in (AGGREGATORS, PRE_RULES, ATTACKS, MODIFIERS, MODELS, DATASETS, TABLES):
        for name, entry in zoo.items():
            assert f"  {name} " in out and entry.source in out


def test_the_listing_is_what_the_registries_hold():
    zoos = (AGGREGATORS, PRE_RULES, ATTACKS, MODIFIERS, MODELS, DATASETS, TABLES)
    for members, zoo in zip(listing.everything().values(), zoos, strict=True):
        summaries = [getattr(e, "title", None) or e.summary for e in zoo.values()]
        assert members == list(zip(zoo, summaries, (e.source for e in zoo.values()), strict=True))


@pytest.mark.parametrize("args", [["list"], ["--help"], ["lits"]])
def test_what_needs_no_jax_does_not_load_it(args):
    code = f"import sys; from experiments.cli import main; main({args}); sys.exit('jax' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=False).returncode == 0


def test_help_shows_the_commands_and_the_options_of_a_table(capsys):
    assert "byzsim run TABLE" in run(["--help"], capsys)[1]
    with pytest.raises(SystemExit) as stop:
        cli.main(["run", "brsgd_table1", "--help"])
    assert stop.value.code == 0
    assert "samples in a worker's batch" in capsys.readouterr().out


@pytest.mark.slow
def test_a_record_holds_the_whole_cell_and_where_it_comes_from(finished):
    found = records.read(runs(finished))
    assert [(r["attack"], r["alpha"], r["n_byz"]) for r in found] == [("none", 0.0, 0), ("gaussian", 0.2, 2)]
    for r in found:
        assert (r["table"], r["rule"], r["m"], r["f"], r["seed"], r["epochs"]) == (
            "smoke",
            "mean",
            10,
            r["n_byz"],
            0,
            2,
        )
        assert len(r["accuracy"]) == 2 and r["final_accuracy"] == r["accuracy"][-1]
        assert r["best_accuracy"] == max(r["accuracy"])
        assert {"commit", "dirty", "versions", "device", "seconds", "data_digest", "numerics"} <= r.keys()
        assert len(r["digest"]) == 16 and r["mode"] == "cell by cell"
    assert found[1]["attack_args"] == {"sigma": 200.0, "mode": "replace"} and found[1]["beyond_bound"]


def test_a_finished_cell_is_not_run_again(finished, capsys):
    before = runs(finished).read_bytes()
    code, out, _ = run(["run", *SMOKE, "--results", finished], capsys)
    assert code == 0 and "2 recorded before, 0 to run" in out
    assert runs(finished).read_bytes() == before


def test_status_before_and_after_a_run(finished, tmp_path, capsys):
    code, out, _ = run(["status", *SMOKE, "--results", finished], capsys)
    assert code == 0 and "2 cells: 2 done, 0 failed, 0 stale, 0 missing" in out and "would run nothing" in out
    code, out, _ = run(["status", *SMOKE, "--seeds", "0", "1", "--results", finished], capsys)
    assert code == 0 and "4 cells: 2 done, 0 failed, 0 stale, 2 missing" in out and "1/2" in out
    code, out, _ = run(["status", *SMOKE, "--results", tmp_path], capsys)
    assert code == 0 and "0 done, 0 failed, 0 stale, 2 missing" in out and not list(tmp_path.iterdir())
    code, out, _ = run(["status", "--results", finished], capsys)
    assert code == 0 and f"{finished / 'smoke+epochs=2'}: 2 cells recorded, 2 up to date" in out


def edited(finished, folder, **fields):
    """A copy of the results in which the second record has other fields."""
    first, second = records.read(runs(finished))
    (folder / "smoke+epochs=2").mkdir()
    records.append(runs(folder), [first, second | fields])
    return folder


def test_verify_runs_recorded_cells_again(finished, capsys):
    code, out, _ = run(["verify", *SMOKE, "--results", finished], capsys)
    assert code == 0 and out.count("same bits") == 2 and "2 of 2 agree" in out
    assert [r["attack"] for r in records.read(runs(finished))] == ["none", "gaussian"]


def test_verify_says_where_the_curves_part(finished, tmp_path, capsys):
    second = records.read(runs(finished))[1]
    changed = {"digest": "0" * 16, "loss": [second["loss"][0], second["loss"][1] + 0.01]}
    code, out, _ = run(["verify", *SMOKE, "--results", edited(finished, tmp_path, **changed)], capsys)
    assert code == 1 and "1 of 2 agree" in out
    assert "mean, gaussian, alpha 0.2, seed 0: DIFFERENT" in out and "they part in epoch 2: loss" in out


def test_diff_ends_as_the_program_diff_does(finished, tmp_path, capsys):
    here = runs(finished).parent
    code, out, _ = run(["diff", here, here / "runs.jsonl"], capsys)
    assert code == 0 and "2 cells: 2 same bits" in out
    other = runs(edited(finished, tmp_path, digest="0" * 16, accuracy=[0.1, 0.2], final_accuracy=0.2, lr=0.25))
    code, out, _ = run(["diff", here, other, "--csv", tmp_path / "cells.csv"], capsys)
    assert code == 1 and "1 same bits" in out and "1 different" in out and "changed in 1 cells: lr 0.5 -> 0.25" in out
    assert (tmp_path / "cells.csv").read_text().count("\n") == 3


def test_another_setting_is_another_folder_and_another_record(finished, capsys):
    code, *_ = run(["run", *SMOKE, "--results", finished, "--lr", "0.01"], capsys)
    assert code == 0
    other = records.read(finished / "smoke+epochs=2+lr=0.01" / "runs.jsonl")
    assert not {r["id"] for r in other} & {r["id"] for r in records.read(runs(finished))}


@pytest.mark.slow
def test_quick_says_so_everywhere(tmp_path, capsys):
    code, out, _ = run(
        ["run", "smoke", "--quick", "--only", "rule=krum,attack=gaussian", "--results", tmp_path], capsys
    )
    folder = tmp_path / "smoke+quick"
    assert code == 0 and "QUICK" in out
    assert all(r["quick"] for r in records.read(folder / "runs.jsonl"))
    assert all("QUICK" in (folder / f"table.{kind}").read_text() for kind in ("md", "csv", "tex"))


@pytest.mark.slow
def test_report_fills_the_marked_place_of_a_file(finished, tmp_path, capsys):
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- TABLE:smoke -->\nold\n<!-- /TABLE -->\nafter\n")
    code, *_ = run(["report", "smoke", "--epochs", "2", "--results", finished, "--inject", page], capsys)
    text = page.read_text()
    assert code == 0 and "old" not in text and "| Gaussian | 20 % (2) |" in text
    assert text.startswith("before") and text.endswith("after\n")


def test_a_torn_last_line_is_said_and_its_cell_run_again(finished, tmp_path, capsys):
    copy = tmp_path / "smoke+epochs=2"
    copy.mkdir()
    whole = runs(finished).read_bytes()
    first = whole[: whole.index(b"\n") + 1]
    (copy / "runs.jsonl").write_bytes(first + b'{"id": "half a li')
    code, out, _ = run(["run", *SMOKE, "--results", tmp_path], capsys)
    assert code == 0 and "torn" in out and "1 recorded before, 1 to run" in out
    assert (copy / "runs.jsonl").read_bytes().startswith(first)
    assert [r["attack"] for r in records.read(copy / "runs.jsonl")] == ["none", "gaussian"]


def test_the_same_cell_gives_the_same_numbers_again(finished, tmp_path, capsys):
    run(["run", *SMOKE, "--results", tmp_path], capsys)
    again, before = records.read(runs(tmp_path)), records.read(runs(finished))
    assert [r["loss"] for r in again] == [r["loss"] for r in before]


@pytest.mark.slow
def test_a_killed_run_loses_no_finished_cell(tmp_path):
    command = [sys.executable, "-m", "experiments", "run", "smoke", "--results", str(tmp_path), "--epochs", "30"]
    command += ["--only", "rule=mean"]
    path = tmp_path / "smoke+epochs=30" / "runs.jsonl"
    victim = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while not (path.exists() and path.read_bytes().count(b"\n") >= 2) and time.monotonic() < deadline:
        time.sleep(0.05)
    victim.send_signal(signal.SIGKILL)
    victim.wait()
    kept = path.read_bytes()
    kept = kept[: kept.rfind(b"\n") + 1]
    assert kept.count(b"\n") >= 2
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert f"{kept.count(10)} recorded before" in done.stdout
    assert path.read_bytes().startswith(kept)
    assert len({json.loads(line)["id"] for line in path.read_text().splitlines()}) == 3


def test_beyond_the_bound_is_a_warning(finished, capsys):
    _, out, _ = run(["run", *SMOKE, "--results", finished], capsys)
    assert "warning: mean is guaranteed up to f = 0 of m = 10 workers" in out


def test_ctrl_c_says_how_to_go_on(monkeypatch, capsys):
    def interrupted(args):
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "_list", interrupted)
    code, _, err = run(["list"], capsys)
    assert code == 130 and "the same command goes on" in err


def test_the_published_table_and_more_is_asked_for():
    table = TABLES["brsgd_table1"]
    asked = cells(table.config)
    assert len(asked) == 4 + 4 * 4 * 4
    assert {(c.rule, c.attack, round(c.alpha, 2)) for c in asked if c.n_byz} >= {
        (rule, attack, alpha)
        for rule, attack, alpha in table.paper()[["rule", "attack", "alpha"]].itertuples(index=False)
        if alpha
    }
    assert all((c.m, c.lr, c.f, c.batch) == (20, 0.03, c.n_byz, 8) for c in asked)


def test_the_verdict_of_the_table():
    verdict = TABLES["brsgd_table1"].verdict
    nan = float("nan")
    assert verdict(84.0, nan, 1, 0, 86.9) == "✓"
    assert verdict(84.0, nan, 1, 0, 87.1) == "▼"
    assert verdict(84.0, nan, 1, 0, 61.1) == "▲"
    assert verdict(nan, nan, 1, 1, 9.93) == "✓"
    assert verdict(nan, nan, 1, 1, 82.1) == "▼"
    assert verdict(84.0, nan, 2, 1, 47.0) == "✓"  # half of the runs diverged: 47 on average


def test_declared_f_can_be_kept_within_the_bound():
    config = Config(rules=("krum",), attacks=("scaling",), alphas=(0.5,), declared="bounded")
    assert [(c.n_byz, c.f) for c in cells(config)] == [(10, 8)]


@pytest.mark.parametrize("alpha, m, n_byz", [(0.1, 20, 2), (0.45, 20, 9), (1 / 3, 9, 3), (0.0, 7, 0)])
def test_workers(alpha, m, n_byz):
    assert workers(alpha, m) == n_byz


def test_a_fractional_worker_is_refused():
    with pytest.raises(UserError, match="not a whole number"):
        workers(0.33, 10)


@pytest.mark.slow
def test_a_second_start_finds_the_compiled_programs_and_gives_the_same_bits(tmp_path):
    code = """
import sys
import jax
from experiments import cli
found = []
jax.monitoring.register_event_listener(lambda name, **_: found.append(name))
assert cli.main(["run", "smoke", "--only", "rule=krum,attack=gaussian", "--epochs", "1", "--results", sys.argv[1]]) == 0
print(sum("cache_hits" in name for name in found), sum("cache_misses" in name for name in found))
"""
    environment = os.environ | {"BYZSIM_CACHE": str(tmp_path / "cache")}
    counts = []
    for start in ("first", "second"):
        command = [sys.executable, "-c", code, str(tmp_path / start)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        counts.append(tuple(map(int, done.stdout.splitlines()[-1].split())))
    (hits, misses), (later_hits, later_misses) = counts
    assert hits < misses and (later_hits, later_misses) == (hits + misses, 0)
    first, second = (records.read(tmp_path / s / "smoke+epochs=1" / "runs.jsonl") for s in ("first", "second"))
    assert [(r["loss"], r["cosine"]) for r in first] == [(r["loss"], r["cosine"]) for r in second]
