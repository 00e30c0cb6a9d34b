"""The command line as a user meets it: what it prints, what it leaves behind, how it ends."""

import contextlib
import dataclasses
import fnmatch
import importlib.metadata
import inspect
import json
import math
import os
import re
import shutil
import signal
import subprocess
import sys
import time

import jax
import pandas as pd
import pytest
from byzsim import AGGREGATORS, ATTACKS, MODELS, MODIFIERS, PARTITIONS, PREAGGREGATORS, TASKS, RunConfig, schedules
from byzsim.experiments import arguments, cli, records, report
from byzsim.experiments.cli import listing, options
from byzsim.experiments.cli import settings as table_settings
from byzsim.experiments.cli.commands import list as list_command
from byzsim.experiments.cli.commands import report as report_command
from byzsim.experiments.cli.commands.diff import Diff
from byzsim.experiments.cli.commands.report import Report
from byzsim.experiments.cli.commands.run import Run
from byzsim.experiments.cli.commands.status import Status
from byzsim.experiments.cli.commands.verify import Verify
from byzsim.experiments.datasets import DATASETS
from byzsim.experiments.errors import UserError
from byzsim.experiments.plan import Ours, Published, Table, axis, override, published, runs
from byzsim.experiments.plan.alphas import fraction, workers
from byzsim.experiments.records import folders, provenance
from byzsim.experiments.report import page, settings
from byzsim.experiments.run import devices, display
from byzsim.experiments.run.estimate import Estimate, Timer
from byzsim.experiments.run.schedule import Schedule
from byzsim.experiments.tables import TABLES
from byzsim.types import ATTACK_TRAITS, RULE_TRAITS

SMOKE = ["smoke", "--only", "rule=mean,attack=gaussian", "--epochs", "2"]


def run(argv, capsys):
    code = cli.main(list(map(str, argv)))
    return code, *capsys.readouterr()


@pytest.fixture(scope="module", autouse=True)
def one_lane():
    """Runs end in the order of the table; what several lanes do is in test_results.py."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(devices, "lanes", lambda per_run: (jax.devices()[:1], 1))
        yield


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """Results of two small runs, run once for the module."""
    folder = tmp_path_factory.mktemp("results")
    assert cli.main(["run", *SMOKE, "--results", str(folder)]) == 0
    return folder


def runs_file(folder):
    return folder / "smoke+epochs=2" / "runs.jsonl"


ZOOS = (AGGREGATORS, PREAGGREGATORS, ATTACKS, MODIFIERS, TASKS, MODELS, PARTITIONS, DATASETS, TABLES)


def test_list_names_every_member_with_its_source(capsys):
    code, out, _ = run(["list"], capsys)
    assert code == 0
    for zoo in ZOOS:
        for name, spec in zoo.items():
            assert f"  {name} " in out and spec.source in out


def test_the_listing_is_what_the_registries_hold():
    found = listing.everything()
    assert {each.name for each in found.pop("schedules")} == {"constant", *schedules.OURS, "..._schedule"}
    for members, zoo in zip(found.values(), ZOOS, strict=True):
        summaries = [getattr(e, "title", None) or e.summary for e in zoo.values()]
        assert members == list(zip(zoo, summaries, (e.source for e in zoo.values()), strict=True))


@pytest.mark.parametrize("args", [["list"], ["--help"], ["lits"], ["--version"], ["verify", "--help"]])
def test_what_needs_no_jax_does_not_load_it(args):
    code = f"import sys; from byzsim.experiments.cli import main; main({args}); sys.exit('jax' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=False).returncode == 0


def test_help_shows_the_commands_and_the_options_of_a_table(capsys):
    assert "byzsim run TABLE" in run(["--help"], capsys)[1]
    with pytest.raises(SystemExit) as stop:
        cli.main(["run", "brsgd_table1", "--help"])
    assert stop.value.code == 0
    assert "examples in the batch of a worker" in capsys.readouterr().out


@pytest.mark.parametrize("command", cli.COMMANDS)
@pytest.mark.parametrize("args", [("{}", "--help"), ("{}", "-h"), ("help", "{}")])
def test_every_command_has_help_with_examples(command, args, capsys):
    with contextlib.suppress(SystemExit):  # of tyro, behind ours
        assert cli.main([arg.format(command) for arg in args]) == 0
    out, err = capsys.readouterr()
    assert out.startswith(f"byzsim {command}") and out.count(f"\n  byzsim {command}") >= 1 and not err


def test_help_tells_the_truth(capsys):
    """Each example that takes no time, and none of another kind, is refused for what it says."""
    examples = [line.split("   ")[0] for text in cli.HELP.values() for line in text.splitlines() if line[:2] == "  "]
    known = {name for zoo in ZOOS for name in zoo}
    for example in examples:
        _, command, *rest = example.split()
        assert command in cli.COMMANDS
        if command in ("run", "report", "verify"):
            assert rest[0] in (*TABLES, "my_table.py")
        if command == "show" and "--plugins" not in rest:
            assert {part for name in rest for part in name.split("+")} <= known
    table = options.read("run", Run, ["smoke", "--m", "11", "--alphas", "0", "2/11"]).table
    assert {run_config.n_byz for _, run_config in runs(table)} == {0, 2}


def smoke():
    return Run(settings=table_settings.of(TABLES["smoke"]))


def test_version(capsys):
    assert run(["--version"], capsys)[:2] == (0, f"byzsim {importlib.metadata.version('byzsim')}\n")


@pytest.mark.parametrize("zoo", [AGGREGATORS, PREAGGREGATORS, ATTACKS, MODIFIERS, MODELS])
def test_show_says_all_that_the_registry_has(zoo, capsys):
    words = {**RULE_TRAITS, **ATTACK_TRAITS}
    for name, spec in zoo.items():
        code, page, _ = run(["show", name], capsys)
        assert code == 0 and page.startswith(f"{name}: ")
        parts = inspect.getdoc(spec.factory).split("```text\n")  # formulas are indented, without their fences
        assert (
            spec.source in page and parts[0] in page and all(each.partition("```\n")[2] in page for each in parts[1:])
        )
        assert "```" not in page
        for option in inspect.signature(spec.factory).parameters.values():
            assert option.default is option.empty or f"\n  {option.name} = {option.default!r}" in page
        for variant in spec.variants:
            assert all(part in page for part in (f"  {variant.name}: {variant.formula}", variant.source))
            assert all(f"{name}.{option}={value}" in page for option, value in variant.options.items())
        assert all(words[trait] in page for trait in spec.traits)


def test_show_has_the_bound_and_both_ways_to_ask_for_a_variant(capsys):
    code, out, _ = run(["show", "nnm+krum"], capsys)
    assert code == 0 and out.startswith("nnm: preaggregator") and "\nkrum: aggregation rule" in out
    assert "f <= 8 for m = 20 workers, f <= 4 for m = 11" in out  # m >= 2f + 3
    assert "--rules krum --options krum.variant=byzfl\n" in out
    assert "byzsim.aggregate(\"krum\", gradients, f=2, variant='byzfl')" in out
    assert "'blanchard2017' or 'byzfl'" in out and "--rules nnm+krum" in out
    code, out, _ = run(["show", "bucketing"], capsys)
    assert "--rules bucketing+krum --options bucketing.variant=byzfl\n" in out
    assert 'byzsim.aggregate("bucketing+krum", gradients, f=2, s=1)' in out  # variant= would be Krum's


def test_show_has_data_sets_and_tables(capsys):
    code, out, _ = run(["show", *DATASETS, *TABLES], capsys)
    assert code == 0 and all(spec.source in out for spec in (*DATASETS.values(), *TABLES.values()))
    assert "axis rule: brsgd median mean krum\n" in out


@pytest.mark.parametrize("target", ["/dev/full", "pipe"])
@pytest.mark.parametrize("args", [["list"], ["--help"], ["lits"]])
def test_output_that_nobody_takes_is_no_error_of_ours(args, target):
    """A full disk is told, since what was printed is all that there is; a reader who has gone wants no more."""
    with nowhere(target) as out:
        done = subprocess.run(
            [sys.executable, "-m", "byzsim.experiments", *args],
            stdout=out,
            stderr=subprocess.PIPE,
            encoding="utf-8",
            check=False,
        )
    assert "an error in byzsim" not in done.stderr and "Traceback" not in done.stderr
    if args == ["lits"]:
        assert done.returncode == 2 and "Did you mean 'list'" in done.stderr
    elif target == "pipe":
        assert (done.returncode, done.stderr) == (0, "")
    else:
        assert done.returncode == 1 and "not all output could be printed: No space left on device" in done.stderr


@contextlib.contextmanager
def nowhere(target):
    if target == "pipe":
        read, write = os.pipe()
        os.close(read)
    else:
        write = os.open(target, os.O_WRONLY)
    try:
        yield write
    finally:
        os.close(write)


HOSTILE = """
import os, pwd, sys
def nobody(uid):
    raise KeyError(uid)
pwd.getpwuid = nobody
sys.argv[0] = "byzsim"
from byzsim.experiments.cli import script
script()
"""


@pytest.mark.slow
def test_a_run_in_a_hostile_place_is_whole(finished, tmp_path, environment):
    """Without a home, a display, a reader or UTF-8, and with settings of JAX that are meant for other code."""
    strange = {"MPLBACKEND": "nonsense", "JAX_NUMPY_DTYPE_PROMOTION": "strict", "JAX_NUMPY_RANK_PROMOTION": "raise"}
    strange |= {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    homes = ("HOME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "BYZSIM_CACHE")
    env = {key: value for key, value in environment.items() if key not in homes} | strange
    command = [sys.executable, "-c", HOSTILE, "run", *SMOKE, "--results", str(tmp_path)]
    with nowhere("pipe") as out, nowhere("/dev/full") as err:
        done = subprocess.run(command, stdout=out, stderr=err, env=env, check=False)
    assert done.returncode == 0
    kept, before = records.read(runs_file(tmp_path)), records.read(runs_file(finished))
    assert {r["id"]: r["digest"] for r in kept} == {r["id"]: r["digest"] for r in before}
    assert {path.name for path in runs_file(finished).parent.iterdir() if path.suffix} == {
        path.name for path in runs_file(tmp_path).parent.iterdir() if path.suffix
    }


@pytest.mark.slow
def test_a_page_stays_utf8_whatever_the_locale(finished, tmp_path, environment):
    page = tmp_path / "page.md"
    page.write_text("Größe α\n<!-- TABLE:smoke -->\n<!-- /TABLE -->\n✓\n", encoding="utf-8")
    command = [sys.executable, "-m", "byzsim.experiments", "report", "smoke", "--epochs", "2"]
    command += ["--results", str(finished), "--inject", str(page)]
    latin = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "PYTHONIOENCODING": "latin-1"}
    subprocess.run(command, env=environment | latin, check=True, stdout=subprocess.DEVNULL)
    text = page.read_text(encoding="utf-8")
    assert text.startswith("Größe α\n") and text.endswith("✓\n") and "| Attack | α |" in text


@pytest.mark.parametrize("name", ["JAX_PLATFORMS", "JAX_PLATFORM_NAME"])
def test_a_device_that_is_not_there_is_named(monkeypatch, capsys, name):
    def absent(*_):
        raise AssertionError  # all that JAX says of CUDA without its plugin

    monkeypatch.setenv(name, "cuda")
    monkeypatch.setattr(jax, "devices", absent)
    monkeypatch.setattr(list_command, "main", absent)
    code, _, err = run(["list"], capsys)
    assert code == 2 and f"{name}=cuda" in err and f"set {name}=cpu" in err
    assert "no table given" in run(["run"], capsys)[2]


def test_a_setting_that_jax_refuses_is_named(monkeypatch, capsys):
    def refused(args):
        raise ValueError("invalid truth value 'maybe' for environment 'JAX_ENABLE_X64'")

    monkeypatch.setattr(list_command, "main", refused)
    assert run(["list"], capsys)[0] == 70
    monkeypatch.setenv("JAX_ENABLE_X64", "maybe")
    code, _, err = run(["list"], capsys)
    assert code == 2 and "rejects the environment variable JAX_ENABLE_X64=maybe" in err


def test_a_tilde_is_the_home_folder_in_every_path(monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert arguments.parse_args(Run, ["--results=~/res"], prog="", default=smoke()).results == tmp_path / "res"
    for command in (Report, Status, Verify, Run):
        paths = [field.name for field in dataclasses.fields(command) if "Path" in str(field.type)]
        args = [arg for name in paths for arg in ("--" + name.replace("_", "-"), f"~/{name}")]
        given = arguments.parse_args(
            command, args, prog="", default=command(settings=table_settings.of(TABLES["smoke"]))
        )
        assert {getattr(given, name) for name in paths} == {tmp_path / name for name in paths} and paths
    given = arguments.parse_args(Diff, ["~/a", "~", "--csv=~/c"], prog="")
    assert (given.a, given.b, given.csv) == (tmp_path / "a", tmp_path, tmp_path / "c")


@pytest.mark.parametrize(
    "words",
    ["--rules krum median --seeds 0 1", "--rules krum,median --seeds=0,1", "--rules=krum, median --seeds 0, 1,"],
)
def test_lists_take_spaces_and_commas(words):
    given = arguments.parse_args(Run, words.split(), prog="", default=smoke()).settings
    assert (given.rules, given.seeds) == (("krum", "median"), (0, 1))


def test_commas_of_options_and_conditions_are_left_to_them():
    words = "--options drift.z=1,2 --only rule=krum,attack=alie --plugins a,b"
    given = arguments.parse_args(Run, words.split(), prog="", default=smoke())
    assert (given.settings.options, given.only) == (("drift.z=1,2",), ("rule=krum,attack=alie",))
    assert given.plugins == ("a", "b")


@pytest.mark.slow
def test_a_record_holds_the_whole_run_and_where_it_comes_from(finished):
    found = records.read(runs_file(finished))
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
        assert len(r["digest"]) == 16 and r["mode"] == "run by run"
    assert found[1]["attack_args"] == {"sigma": 200.0, "noise": "replace"} and found[1]["beyond_bound"]


def test_a_finished_run_is_not_run_again(finished, capsys):
    before = runs_file(finished).read_bytes()
    code, out, _ = run(["run", *SMOKE, "--results", finished], capsys)
    assert code == 0 and "2 recorded before, 0 to run" in out
    assert runs_file(finished).read_bytes() == before


def test_status_before_and_after_a_run(finished, tmp_path, capsys):
    code, out, _ = run(["status", *SMOKE, "--results", finished], capsys)
    assert code == 0 and "2 runs: 2 done, 0 failed, 0 stale, 0 missing" in out and "would execute none" in out
    code, out, _ = run(["status", *SMOKE, "--seeds", "0", "1", "--results", finished], capsys)
    assert code == 0 and "4 runs: 2 done, 0 failed, 0 stale, 2 missing" in out and "1/2" in out
    code, out, _ = run(["status", *SMOKE, "--results", tmp_path], capsys)
    assert code == 0 and "0 done, 0 failed, 0 stale, 2 missing" in out and not list(tmp_path.iterdir())
    code, out, _ = run(["status", "--results", finished], capsys)
    assert code == 0 and f"{finished / 'smoke+epochs=2'}: 2 runs recorded, 2 up to date" in out


def edited(finished, folder, **fields):
    """A copy of the results in which the second record has other fields."""
    first, second = records.read(runs_file(finished))
    (folder / "smoke+epochs=2").mkdir()
    records.append(runs_file(folder), [first, second | fields])
    return folder


def test_verify_runs_recorded_runs_again(finished, capsys):
    code, out, _ = run(["verify", *SMOKE, "--results", finished], capsys)
    assert code == 0 and out.count("same bits") == 2 and "2 of 2 agree" in out
    assert [r["attack"] for r in records.read(runs_file(finished))] == ["none", "gaussian"]


def test_verify_says_where_the_curves_part(finished, tmp_path, capsys):
    second = records.read(runs_file(finished))[1]
    changed = {"digest": "0" * 16, "loss": [second["loss"][0], second["loss"][1] + 0.01]}
    code, out, _ = run(["verify", *SMOKE, "--results", edited(finished, tmp_path, **changed)], capsys)
    assert code == 1 and "1 of 2 agree" in out
    assert "mean, gaussian, alpha 0.2, seed 0: DIFFERENT" in out and "they first differ in epoch 2: loss" in out


def test_diff_ends_as_the_program_diff_does(finished, tmp_path, capsys):
    here = runs_file(finished).parent
    code, out, _ = run(["diff", here, here / "runs.jsonl"], capsys)
    assert code == 0 and "2 runs: 2 same bits" in out
    other = runs_file(edited(finished, tmp_path, digest="0" * 16, accuracy=[0.1, 0.2], final_accuracy=0.2, lr=0.25))
    code, out, _ = run(["diff", here, other, "--csv", tmp_path / "cells.csv"], capsys)
    assert code == 1 and "1 same bits" in out and "1 different" in out and "changed in 1 run: lr 0.5 -> 0.25" in out
    assert (tmp_path / "cells.csv").read_text().count("\n") == 3


def test_another_setting_is_another_folder_and_another_record(finished, capsys):
    code, *_ = run(["run", *SMOKE, "--results", finished, "--lr", "0.01"], capsys)
    assert code == 0
    other = records.read(finished / "smoke+epochs=2+lr=0.01" / "runs.jsonl")
    assert not {r["id"] for r in other} & {r["id"] for r in records.read(runs_file(finished))}


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


def test_a_torn_last_line_is_said_and_its_run_run_again(finished, tmp_path, capsys):
    copy = tmp_path / "smoke+epochs=2"
    copy.mkdir()
    whole = runs_file(finished).read_bytes()
    first = whole[: whole.index(b"\n") + 1]
    (copy / "runs.jsonl").write_bytes(first + b'{"id": "half a li')
    code, out, _ = run(["run", *SMOKE, "--results", tmp_path], capsys)
    assert code == 0 and "incomplete" in out and "1 recorded before, 1 to run" in out
    assert (copy / "runs.jsonl").read_bytes().startswith(first)
    assert [r["attack"] for r in records.read(copy / "runs.jsonl")] == ["none", "gaussian"]


def test_the_same_run_gives_the_same_numbers_again(finished, tmp_path, capsys):
    run(["run", *SMOKE, "--results", tmp_path], capsys)
    again, before = records.read(runs_file(tmp_path)), records.read(runs_file(finished))
    assert [r["loss"] for r in again] == [r["loss"] for r in before]


@pytest.mark.slow
def test_a_killed_run_loses_no_finished_run(tmp_path):
    command = [sys.executable, "-m", "byzsim.experiments", "run", "smoke", "--results", str(tmp_path), "--epochs", "30"]
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


# What a report says of settings that are not the table's own


PART = ["--rules", "brsgd", "--attacks", "scaling", "label_flip", "--alphas", "0", "0.1"]
OVERRIDES = [
    "--model softmax", "--data digits", "--m 10", "--batch 32", "--epochs 2", "--steps 5", "--lr 0.1",
    "--optimizer adam", "--momentum ema", "--momentum-beta 0.5", "--partition dirichlet",
    "--declared-f capped", "--options brsgd.variant=code", "--options scaling.factor=2", "--options lenet.padding=0",
    "--quick",
]  # fmt: skip


def fabricated(results, args):
    """Records of these runs, as if they had been run, and the folder that has them."""
    _, table, given, folder = options.read("run", Run, ["brsgd_table1", *args, "--results", str(results)])
    folder.mkdir()
    rest = {
        "quick": given.quick, "beyond_bound": False, "diverged": False,
        "diverged_epoch": None, "accuracy": [0.5], "final_accuracy": 0.5, "seconds": 1.0, "commit": "c0ffee",
        "dirty": False, "device": "cpu", "versions": {},
    }  # fmt: skip
    found = [
        {"id": f"record{i}", **run_config.as_dict(), "data": data, **rest}
        for i, (data, run_config) in enumerate(runs(table))
    ]
    records.append(folder / "runs.jsonl", found)
    return folder


@pytest.fixture
def undrawn(monkeypatch):
    """Pictures are made, and only their names are written."""
    monkeypatch.setattr(page, "save", lambda figure, stem: stem.with_suffix(".svg").write_text("<svg/>"))


@pytest.mark.parametrize("args", [[], ["--seeds", "3"]])
def test_a_part_of_the_table_keeps_its_title_and_comparison(undrawn, tmp_path, capsys, args):
    folder = fabricated(tmp_path, [*PART, *args])
    code, out, _ = run(["report", "brsgd_table1", *PART, *args, "--results", tmp_path], capsys)
    text = (folder / "README.md").read_text()
    assert code == 0 and "50.0 / 83.67" not in text and "50.0 / 84.33 ▼" in text and "50.0 / 84.33 ▼" in out
    assert text.startswith("# BrSGD Table 1: LeNet on Fashion-MNIST, 20 workers\n") and "exchanged?" in text
    assert "arXiv 2108.06658" in (folder / "table.tex").read_text() and (folder / "differences.svg").exists()


@pytest.mark.parametrize("override", OVERRIDES)
def test_other_settings_bear_nothing_of_the_paper(undrawn, tmp_path, capsys, override):
    args = [*PART, *override.split()]
    folder = fabricated(tmp_path, args)
    (folder / "differences.svg").write_text("of an earlier version")
    code, out, _ = run(["report", "brsgd_table1", *args, "--results", tmp_path], capsys)
    assert code == 0 and not (folder / "differences.svg").exists() and (folder / "accuracies.svg").exists()
    texts = {name: (folder / name).read_text() for name in ("README.md", "table.md", "table.csv", "table.tex")}
    for name, text in {**texts, "terminal": out.partition("written: ")[0]}.items():
        assert not re.search(r"(?<!')paper|Table 1|Li et al|2108|[✓▲▼]|checkmark|uparrow|84\.33|exchanged", text), name
        assert "50.0" in text or name == "table.csv"
    value = override.split()[-1].removeprefix("--quick")
    for name in ("README.md", "table.md", "table.tex", "terminal"):
        title = {**texts, "terminal": " ".join(out.split())}[name].replace("\\_", "_")
        assert value in title and f" on {'digits' if value == 'digits' else 'fashion_mnist'}, " in title, name


def test_titles_say_what_is_run():
    table = TABLES["smoke"]
    changes = {"data": ("fashion_mnist",), "model": ("mlp",), "m": (20,), "seeds": (1, 2)}

    def title(table, changes, quick=False):
        changed = override(table, changes)
        numbers = published.numbers(table, changed, quick=quick)
        return settings.title(table, changed, numbers, quick=quick, labels=table.labels)

    assert title(table, changes) == "mlp on fashion_mnist, 20 workers, batch 16, 10 epochs, learning rate 0.5"
    assert title(table, {"seeds": (1, 2)}) == table.title
    assert title(table, {"epochs": (1,)}, True) == "softmax on digits, 10 workers, batch 16, 1 epoch, learning rate 0.5"
    changes |= {"momentum": ("ema",), "optimizer": ("adam",), "steps": (3,), "options": ("krum.variant=byzfl",)}
    assert title(table, changes).endswith(
        "10 epochs of 3 steps, learning rate 0.5, optimizer adam, momentum ema, krum.variant=byzfl"
    )
    paper = TABLES["brsgd_table1"]
    mine = {"rules": ("brsgd", "cge")}
    assert title(paper, mine) == "BrSGD Table 1: LeNet on Fashion-MNIST, 20 workers, with cge"
    mine = {"rules": ("cge",)}  # of which the paper has no number
    assert title(paper, mine) == "lenet on fashion_mnist, 20 workers, batch 8, 8 epochs, learning rate 0.03"
    assert title(paper, {}, True).startswith("lenet on fashion_mnist")  # whatever a table's quick settings are


# What a folder of results knows of itself


def test_a_folder_is_enough(finished, capsys):
    folder = runs_file(finished).parent
    known = json.loads((folder / "config.json").read_text())
    assert (
        known["table"] == "smoke" and known["base"]["epochs"] == 2 and [*known["axes"]] == ["rule", "attack", "alpha"]
    )
    assert str(finished) not in (folder / "config.json").read_text()
    code, out, _ = run(["status", folder], capsys)
    assert code == 0 and "12 runs: 2 done" in out
    code, out, _ = run(["status", folder, "--only", SMOKE[2]], capsys)
    assert code == 0 and "2 runs: 2 done" in out
    code, _, err = run(["status", folder, "--epochs", "3"], capsys)
    assert code == 2 and "are fixed, and epochs 2 -> 3 would change them" in err
    code, _, err = run(["status", folder / "gone"], capsys)
    assert code == 2 and "no folder" in err


def test_an_older_folder_is_known_by_its_name(finished, undrawn, tmp_path, capsys):
    folder = edited(finished, tmp_path) / "smoke+epochs=2"
    code, out, _ = run(["report", folder], capsys)
    assert code == 0 and "softmax on digits, 10 workers, batch 16, 2 epochs" in out
    assert {path.name for path in folder.iterdir()} >= {"table.csv"} and not (folder / "config.json").exists()
    known = folders.by_name(tmp_path / "zoo+quick+rules=nnm+krum-mean+lr=0.1+options=draco.r=5")
    assert known.quick and [*known.table.by_name["rule"].settings] == ["nnm+krum", "mean"]
    assert known.table.base == TABLES["zoo"].base | {"steps": 2, "lr": 0.1}
    with pytest.raises(UserError, match="does not begin with a table's name"):
        folders.by_name(tmp_path)


@pytest.mark.parametrize("text", ["{", "[]", '{"table": "smoke"}'])
def test_a_broken_config_is_said(tmp_path, capsys, text):
    (tmp_path / "config.json").write_text(text)
    code, _, err = run(["report", tmp_path], capsys)
    assert code == 2 and "config.json was not written by `byzsim run`" in err


def test_names_titles_and_labels(finished, undrawn, tmp_path, capsys):
    shutil.copytree(runs_file(finished).parent, tmp_path / "mine")
    where = ["--name", "mine", "--results", tmp_path]
    words = ["--title", "My title", "--labels", "mean=Plain mean"]
    for command in (["run", *SMOKE, *where, *words], ["report", tmp_path / "mine"]):
        code, out, _ = run(command, capsys)
        text = (tmp_path / "mine" / "README.md").read_text()
        assert code == 0 and "My title" in out and text.startswith("# My title\n") and "| Plain mean |" in text
    code, _, err = run(["run", *SMOKE, "--lr", "0.1", *where], capsys)
    assert code == 2 and "has records with other settings: lr 0.5 -> 0.1" in err
    code, _, err = run(["report", *SMOKE[:1], "--epochs", "2", "--rules", "krum", *where], capsys)
    assert code == 2 and "are of other runs than those asked for" in err
    (tmp_path / "mine" / "config.json").unlink()
    code, _, err = run(["run", *SMOKE[:3], "--epochs", "3", *where], capsys)
    assert code == 2 and "has records with other settings: epochs 2 -> 3" in err
    for bad in (["--name", "../x"], ["--name", "zoo"], ["--labels", "krun=K"], ["--labels", "krum"], ["--title", "\n"]):
        assert run(["run", *SMOKE, "--results", tmp_path, *bad], capsys)[0] == 2
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


MANY = ["--rules", *list(AGGREGATORS)[:18], "--attacks", *list(ATTACKS)[:7]]


def folder_of(results, *changes):
    return options.read("run", Run, ["smoke", *changes, "--results", str(results)]).folder


def test_a_name_too_long_for_a_folder_is_shortened(tmp_path, capsys):
    folder = fabricated(tmp_path, MANY)
    assert re.fullmatch(r"brsgd_table1\+rules=[a-z_-]+\+more-[0-9a-f]{8}", folder.name) and len(folder.name) <= 80
    assert fnmatch.fnmatch(f"results/{folder.name}/", "results/*+*/")  # as .gitignore has it
    table = options.read("status", Status, ["brsgd_table1", *MANY]).table
    folders.write(folder, table, quick=False, words={"title": None, "labels": [], "plugins": []})
    assert options.read("report", Report, ["brsgd_table1", *MANY, "--results", str(tmp_path)]).folder == folder
    of_folder = options.read("report", Report, [str(folder)])
    assert of_folder.folder == folder and of_folder.table == table
    (folder / "config.json").unlink()
    code, _, err = run(["report", folder], capsys)
    assert code == 2 and "only a part of its settings: name the table" in err


def test_shortened_names_differ_where_settings_do(tmp_path):
    more = {folder_of(tmp_path, *MANY, *each).name for each in ([], ["--lr", "0.1"], ["--quick"], ["--alphas", "0.2"])}
    assert len(more) == 4
    assert folder_of(tmp_path, *MANY, "--seeds", "0", "1").name in more
    assert folder_of(tmp_path, "--m", "200", "--lr", "1e-05").name == "smoke+m=200+lr=1e-05"
    assert folder_of(tmp_path, "--options", f"softmax.x={'y' * 300}").name.startswith("smoke+more-")


def test_a_folder_with_a_whole_long_name_stays_in_use(tmp_path):
    changes = ["--rules", *list(AGGREGATORS)[:12]]
    whole = tmp_path / f"smoke+rules={'-'.join(changes[1:])}"
    short = folder_of(tmp_path, *changes)
    whole.mkdir()
    assert len(whole.name) > 80 >= len(short.name) and folder_of(tmp_path, *changes) == whole
    known = folders.by_name(whole)
    assert known.table.name == "smoke" and known.table == override(TABLES["smoke"], {"rules": tuple(changes[1:])})


def test_a_name_of_ones_own_can_be_too_long(tmp_path, capsys):
    code, _, err = run(["run", "smoke", "--name", "x" * 300, "--results", tmp_path], capsys)
    assert code == 2 and "at most 255 bytes" in err
    code, _, err = run(["run", "smoke", "--results", tmp_path / ("x" * 300)], capsys)
    assert code == 2 and "File name too long" in err and "--results FOLDER" in err
    code, _, err = run(["report", "x" * 300], capsys)
    assert code == 2 and "unknown table 'xxx" in err and not list(tmp_path.iterdir())


def test_a_report_is_of_the_seeds_asked_for(undrawn, tmp_path, capsys):
    folder = fabricated(tmp_path, [*PART, "--seeds", "0", "1", "2"])
    request = options.read("run", Run, ["brsgd_table1", *PART, "--results", str(tmp_path)])
    report_command.write(request, report_command.recorded(request))
    out = capsys.readouterr().out
    assert "covers the seeds asked for, 0. The folder also has records of seeds 1, 2" in out and "┃" in out
    table = pd.read_csv(folder / "table.csv")
    assert set(table["seeds"]) == {0} and set(table["n"]) == {1} and table["sd"].isna().all()
    code, out, _ = run(["report", folder], capsys)
    assert code == 0 and "covers the seeds" not in out and "50.0 ± 0.0 / 84.33" in out
    assert set(pd.read_csv(folder / "table.csv")["seeds"]) == {"0, 1, 2"}


def test_status_names_plugins_and_ends_with_the_last_folder(finished, tmp_path, capsys):
    edited(finished, tmp_path)
    first = records.read(runs_file(finished))[0]
    changed = {
        "plugin": {"rule": "mine", "sources": {"mine": "0" * 64}},
        "unknown": {"data": "no_data"},
        "gone": {"rule": "gone"},
    }
    for name, fields in changed.items():
        (tmp_path / name).mkdir()
        records.append(tmp_path / name / "runs.jsonl", [first | fields])
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "runs.jsonl").write_text("{}\n")
    code, out, _ = run(["status", "--results", tmp_path], capsys)
    lines = {line.partition(":")[0].rpartition("/")[2]: line for line in out.splitlines()}
    assert code == 0 and "1 not compared (mine of a plugin: add --plugins mine)" in lines["plugin"]
    assert "1 not compared (unknown data set 'no_data'" in lines["unknown"] and "is not a record" in lines["broken"]
    assert "1 stale (this version has no such run)" in lines["gone"] and "2 up to date" in lines["smoke+epochs=2"]


def test_export(finished, tmp_path, capsys):
    copy = edited(finished, tmp_path, attack="nan", attack_args={}) / "smoke+epochs=2"
    records.append(copy / "runs.jsonl", [records.read(copy / "runs.jsonl")[1] | {"id": "newer"}])
    code, out, _ = run(["export", copy, tmp_path / "valid.csv"], capsys)
    table = pd.read_csv(tmp_path / "valid.csv")
    assert code == 0 and out == "" and table["attack"].tolist() == ["none (attack)", "nan (attack)"]
    assert table["id"][1] == "newer" and len(json.loads(table["accuracy"][0])) == 2
    assert run(["export", copy], capsys)[1] == (tmp_path / "valid.csv").read_text()
    run(["diff", copy, copy, "--csv", tmp_path / "diff.csv"], capsys)
    runs = pd.read_csv(tmp_path / "diff.csv")
    assert len(runs.merge(table, on=["rule", "attack", "alpha", "seed"])) == len(runs) == 2
    assert run(["export", tmp_path / "gone"], capsys)[0] == 2


# Where records come from, and how long they will take


def git(folder, *args):
    words = ["git", "-C", folder, "-c", "user.name=n", "-c", "user.email=e", "-c", "commit.gpgsign=false", *args]
    return subprocess.run(words, check=True, capture_output=True, text=True).stdout.strip()


def test_only_a_repository_of_our_own_sources_gives_a_commit(tmp_path):
    """An installed package inside a user's repository, ignored there or not, is not that repository's code."""
    site = tmp_path / ".venv" / "site-packages"
    source = site / "experiments" / "records" / "provenance.py"
    source.parent.mkdir(parents=True)
    shutil.copy(provenance.__file__, source)
    (tmp_path / "theirs.py").write_text("")
    assert provenance._commit(source) == ("unknown", None)
    git(tmp_path, "init", "-q")
    git(tmp_path, "add", "theirs.py")
    git(tmp_path, "commit", "-qm", "theirs")
    assert provenance._commit(source) == ("unknown", None)
    (tmp_path / ".gitignore").write_text(".venv\n")
    assert provenance._commit(source) == ("unknown", None)
    shutil.copytree(site / "experiments", tmp_path / "ours" / "experiments")
    git(tmp_path / "ours", "init", "-q")
    git(tmp_path / "ours", "add", ".")
    git(tmp_path / "ours", "commit", "-qm", "ours")
    ours = tmp_path / "ours" / "experiments" / "records" / "provenance.py"
    assert provenance._commit(ours) == (git(tmp_path / "ours", "rev-parse", "HEAD"), False)
    ours.write_text("changed")
    assert provenance._commit(ours)[1] is True


def test_a_record_of_an_installed_package_is_read(finished, tmp_path):
    old = records.read(runs_file(finished))[0]
    records.append(tmp_path / "runs.jsonl", [old | {"commit": "unknown", "dirty": None}])
    (found,) = records.read(tmp_path / "runs.jsonl")
    assert report.provenance([found])["Commits"] == "unknown" and found["versions"]["byzsim"]


def timed(programs, batches, epochs, compiling, running):
    """(estimated, true) seconds left after each epoch of batches of two runs, by a clock of our own."""
    now, total = 0.0, 2 * programs * batches
    estimate = Estimate(programs=programs, clock=lambda: now)
    true, found = programs * (compiling + 2 * batches * running), []
    timer = Timer(estimate)
    for _ in range(programs):
        estimate.programs -= 1
        timer.program()
        for batch in range(batches):
            timer.start()
            for epoch in range(epochs):
                spent = 2 * running / epochs + (compiling if batch == epoch == 0 else 0)
                now, true, total = now + spent, true - spent, total - 2 / epochs
                timer.done(2 / epochs)
                found.append((estimate.left(total), true))
    return found


@pytest.mark.parametrize("shape", [(4, 5, 1), (4, 1, 5), (3, 2, 2), (1, 3, 1)])
def test_the_time_left_knows_compiling_from_running(shape):
    """From the second part of work on it is exact, where all programs are alike."""
    (nothing, _), *found = timed(*shape, compiling=100.0, running=7.0)
    assert nothing is None and len(found) == math.prod(shape) - 1
    assert all(left == pytest.approx(true, abs=1e-6) for left, true in found)


def test_the_time_left_where_compiling_is_all():
    found = timed(5, 1, 1, compiling=30.0, running=1.0)
    assert [left for left, _ in found] == [None, *(pytest.approx(true, abs=1e-6) for _, true in found[1:])]
    estimate = Estimate(programs=1)
    estimate.first.parts, estimate.later.parts, estimate.later.runs, estimate.later.seconds = 1, 1, 1.0, 60.0
    assert [estimate.text(runs) for runs in (0, 0.5, 3)] == ["", "less than a minute left", "about 3 min left"]


def test_batches_are_of_runs_at_one_epoch_the_furthest_first():
    schedule = Schedule(list("abcdefg"), at_once=2)
    assert schedule.next_batch({"c": 3, "e": 5, "f": 5, "d": 5}) == ["d", "e"]
    schedule.finish(["d", "e"])
    schedule.runs_per_device = 2
    assert schedule.next_batch({}) == ["a", "b", "c", "f"]
    assert schedule.waiting == ["g"] and schedule.next_batch({}) == ["g"]  # of another lane
    schedule.finish(["g"])
    assert (schedule.pending, schedule.waiting) == (["a", "b", "c", "f"], [])
    assert schedule.retry(["a", "b", "c", "f"], "why", out_of_memory=True) and schedule.waiting == ["a", "b", "c", "f"]


def test_a_batch_that_fails_is_halved_then_each_run_is_alone_then_it_is_given_up():
    schedule = Schedule(list("abcd"), at_once=1, runs_per_device=4)
    assert "runs 2 at once" in schedule.retry(schedule.next_batch({}), "why", out_of_memory=True)
    assert "runs 1 at once" in schedule.retry(schedule.next_batch({}), "why", out_of_memory=True)
    assert (schedule.next_batch({}), schedule.n_halvings) == (["a"], 2)
    assert schedule.retry(["a"], "why", out_of_memory=True) == ""
    schedule = Schedule(list("abcd"), at_once=3, runs_per_device=1)
    assert schedule.retry(schedule.next_batch({}), "it broke", out_of_memory=False).endswith(
        "tried individually: it broke"
    )
    assert schedule.next_batch({}) == ["a"] and schedule.run_individually == {*"abc"}
    assert schedule.next_batch({"d": 1}) == ["d"]
    schedule.finish(["a", "b", "c"])
    assert schedule.pending == ["d"] and not schedule.waiting


def test_the_line_and_the_bar_say_the_same(tmp_path, monkeypatch, capsys):
    shown = []
    monkeypatch.setattr(Estimate, "left", lambda self, runs: 240.0 * runs)
    monkeypatch.setattr(display.Progress, "update", lambda self, task, **fields: shown.append(fields["left"]))
    _, out, _ = run(["run", *SMOKE, "--results", tmp_path], capsys)
    lines = [line.partition(" %; ")[2] for line in out.splitlines() if line.startswith("[")]
    assert lines == ["about 4 min left", ""]
    assert shown == ["about 6 min left", "about 4 min left", lines[0], "about 2 min left", "", lines[1]]


def test_beyond_the_bound_is_a_warning(finished, capsys):
    _, out, _ = run(["run", *SMOKE, "--results", finished], capsys)
    assert "warning: mean's guarantee covers f <= 0 for m = 10 workers" in out


def test_ctrl_c_says_how_to_go_on(monkeypatch, capsys):
    def interrupted(args):
        raise KeyboardInterrupt

    monkeypatch.setattr(list_command, "main", interrupted)
    code, _, err = run(["list"], capsys)
    assert code == 130 and "the same command continues" in err


def test_the_published_table_and_more_is_asked_for():
    table = TABLES["brsgd_table1"]
    asked = [run_config for _, run_config in runs(table)]
    assert len(asked) == 4 + 4 * 4 * 4
    assert {(c.rule, c.attack, round(c.alpha, 2)) for c in asked if c.n_byz} >= {
        (rule, attack, alpha) for rule, attack, alpha in published.numbers(table, table, quick=False) if alpha
    }
    assert all((c.m, c.lr, c.f, c.batch) == (20, 0.03, c.n_byz, 8) for c in asked)


def test_the_verdict_of_the_table():
    nan = float("nan")

    def verdict(mean, sd, n, n_diverged, paper):
        return TABLES["brsgd_table1"].verdict(Ours(mean, sd, n, n_diverged), Published(paper, nan, nan))

    assert verdict(84.0, nan, 1, 0, 86.9) == "✓"
    assert verdict(84.0, nan, 1, 0, 87.1) == "▼"
    assert verdict(84.0, nan, 1, 0, 61.1) == "▲"
    assert verdict(nan, nan, 1, 1, 9.93) == "✓"
    assert verdict(nan, nan, 1, 1, 82.1) == "▼"
    assert verdict(84.0, nan, 2, 1, 47.0) == "✓"  # half of the runs diverged: 47 on average


def test_declared_f_can_be_kept_within_the_bound():
    base = {"rule": "krum", "attack": "scaling", "alpha": 0.5, "declared_f": "capped"}
    assert [(c.n_byz, c.f) for _, c in runs(Table(name="t", title="", source="", base=base))] == [(10, 8)]


@pytest.mark.parametrize("alpha, m, n_byz", [(0.1, 20, 2), (0.45, 20, 9), (1 / 3, 9, 3), (0.0, 7, 0)])
def test_workers(alpha, m, n_byz):
    assert workers(alpha, m) == n_byz


def test_a_fractional_worker_is_refused():
    with pytest.raises(UserError, match="not a whole number"):
        workers(0.33, 10)


@pytest.mark.parametrize("m", [1, 3, 7, 10, 11, 17, 20, 97, 1000])
def test_what_a_refusal_suggests_is_taken(m):
    refused = 0
    for alpha in (k / 237 for k in range(1, 237)):
        try:
            workers(alpha, m)
        except UserError as error:
            refused += 1
            tried = str(error).partition(". Try ")[2].rstrip(".").split(" or ")
            low = int(alpha * m)
            assert [workers(fraction(text), m) for text in tried] == [low, low + 1]
    assert refused > 200


@pytest.mark.parametrize("m", [3, 7, 11, 17, 97])
def test_fractions_are_taken_as_they_are_printed(m):
    """With four digits, as in table.csv; --only takes two."""
    known = tuple(n / m for n in range(m + 1))
    shown = tuple(float(f"{alpha:.4f}") for alpha in known)
    base = {"attack": "alie", "m": m}
    table = override(Table(name="t", title="", source="", base=base), {"alphas": shown})
    assert tuple(table.by_name["alpha"].settings) == known
    table = Table(name="t", title="", source="", base=base, axes=(axis("alpha", known[:3]),))
    for text in (f"{2 / m:.4f}", f"{2 / m:.4g}", f"{2 / m:.2f}", f"{2 / m!r}", f"2/{m}"):
        assert [run_config.n_byz for _, run_config in runs(table, [f"alpha={text}"])] == [2]
    table = Table(name="t", title="", source="", base=base, axes=(axis("alpha", known[1:3]),))
    for text in (f"{2 / m + 0.001:.4f}", "1", "1e-9", "nan", "inf", "0e999999", "2/0", f"{'9' * 400}/2"):
        with pytest.raises(UserError, match="unknown alpha"):
            runs(table, [f"alpha={text}"])


def test_the_optimizers_that_are_offered_can_be_used():
    with pytest.raises(ValueError, match="unknown optimizer") as refused:
        RunConfig(optimizer="sdg")
    offered = str(refused.value).partition("Known: ")[2].rstrip(".").split(", ")
    assert {"sgd", "adam", "rmsprop"} <= set(offered) and not any(name.startswith("_") for name in offered)
    for name in offered:
        assert RunConfig(optimizer=name).optimizer == name


@pytest.mark.slow
def test_a_second_start_finds_the_compiled_programs_and_gives_the_same_bits(tmp_path):
    code = """
import sys
import jax
from byzsim.experiments import cli
from byzsim.experiments.run import devices
devices.lanes = lambda per_run: (jax.devices()[:1], 1)  # two lanes may compile one small operation twice
found = []
jax.monitoring.register_event_listener(lambda name, **_: found.append(name))
assert cli.main(["run", "smoke", "--only", "rule=krum,attack=gaussian", "--epochs", "1", "--results", sys.argv[1]]) == 0
print(sum("cache_hits" in name for name in found), sum("cache_misses" in name for name in found))
"""
    environment = os.environ | {"BYZSIM_CACHE": str(tmp_path / "cache")}
    del environment["JAX_COMPILATION_CACHE_DIR"]  # of the tests
    counts = []
    for start in ("first", "second"):
        command = [sys.executable, "-c", code, str(tmp_path / start)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        counts.append(tuple(map(int, done.stdout.splitlines()[-1].split())))
    (hits, misses), (later_hits, later_misses) = counts
    assert hits < misses and (later_hits, later_misses) == (hits + misses, 0)
    first, second = (
        {r["id"]: r["digest"] for r in records.read(tmp_path / start / "smoke+epochs=1" / "runs.jsonl")}
        for start in ("first", "second")
    )
    assert first == second and len(first) == 2
