"""Results in one call: frames, traces, figures, partitions, the schema of a record, tables in a notebook."""

import dataclasses
import io
import itertools
import json
import lzma
import os
import re
import signal
import threading
import time
from pathlib import Path

import jax
import nbformat
import numpy as np
import pandas as pd
import pytest
from byzsim import RunConfig, grid
from byzsim.experiments import (
    cli,
    from_histories,
    load_results,
    load_trace,
    partition_table,
    plot,
    records,
    run_table,
    trace_of,
)
from byzsim.experiments.errors import Incomplete, UserError
from byzsim.experiments.plan import Table, axis
from byzsim.experiments.records import schema, schema_page, traces
from byzsim.experiments.run import devices, display, recorder
from byzsim.experiments.run.checkpoints import Checkpoint, Checkpoints
from byzsim.experiments.run.executor import Executor
from ipykernel.kernelspec import install
from matplotlib.figure import Figure
from nbclient import NotebookClient

ROOT = Path(__file__).parent.parent
COMMITTED = {"brsgd_table1": 204, "zoo": 728}  # runs, each once
KRUMS = {"near": {"rule": "krum", "krum.variant": "byzfl"}, "far": {"rule": "krum", "krum.variant": "blanchard2017"}}
TOY = Table(
    name="toy",
    title="A toy",
    source="here",
    base={"data": "digits", "model": "softmax", "m": 5, "batch": 4, "epochs": 3, "steps": 2, "lr": 0.5},
    axes=(
        axis("rule", {**KRUMS, "mean": {"rule": "mean"}}),
        axis("attack", ["gaussian", "alie"]),
        axis("alpha", [0.0, 0.2]),
        axis("seed", [0, 1]),
    ),
)
BEYOND = pytest.mark.filterwarnings("ignore:.*guarantee covers")
RUNS = 3 * (1 + 2) * 2  # without Byzantine workers both attacks are one run


@pytest.fixture(scope="module")
def toy(tmp_path_factory):
    """A traced table: (its runs, its measurements, its folder)."""
    where = tmp_path_factory.mktemp("toy")
    runs = run_table(TOY, results=where, trace=True, log=lambda line: None)
    folder = Path(runs.attrs["folder"])
    return runs, load_results(folder, per="measurement"), folder


# Frames


@pytest.mark.parametrize("name", COMMITTED)
def test_committed_results_have_a_row_for_each_run_and_measurement(name):
    folder = ROOT / "results" / name
    runs, measured = load_results(folder), load_results(folder, per="measurement")
    assert len(runs) == runs["id"].nunique() == COMMITTED[name]
    assert list(runs)[:4] == list(measured)[:4] == runs.attrs["axes"] == ["rule", "attack", "alpha", "seed"]
    for one in records.valid(folder)[::97]:
        rows = measured[measured["id"] == one["id"]]
        for field in records.series_of(one):
            np.testing.assert_array_equal(rows[field], np.array(one[field], float), strict=False)
        (final,) = runs.loc[runs["id"] == one["id"], "final_accuracy"]
        assert final == one["final_accuracy"] or (np.isnan(final) and one["diverged"])


def test_settings_of_a_table_are_columns_by_their_names(toy):
    runs, measured, _ = toy
    assert runs.attrs["axes"] == measured.attrs["axes"] == ["rule", "attack", "alpha", "seed"]
    assert len(runs) == RUNS and len(measured) == 3 * RUNS
    assert set(runs["rule"]) == {"near", "far", "mean"}
    assert set(runs.loc[runs["alpha"] == 0, "attack"]) == {"none"}
    assert {args["variant"] for args in runs.loc[runs["rule"] == "near", "rule_args"]} == {"byzfl"}
    assert measured["measurement"].tolist() == [1, 2, 3] * RUNS


def test_without_the_table_the_axes_are_what_differs(toy, tmp_path):
    found = [json.loads(line) for line in (toy[2] / "runs.jsonl").read_text().splitlines()]
    moved = [one | {"seed": one["seed"] + 2 * (one["rule_args"] == {"variant": "byzfl"})} for one in found]
    (tmp_path / "runs.jsonl").write_text("".join(json.dumps(one) + "\n" for one in moved))
    frame = load_results(tmp_path)
    assert frame.attrs["axes"] == ["rule", "attack", "alpha", "seed", "krum.variant"] and len(frame) == RUNS
    assert set(frame["rule"]) == {"krum", "mean"} and frame["krum.variant"].isna().sum() == RUNS / 3
    (tmp_path / "runs.jsonl").write_text("".join(json.dumps(one) + "\n" for one in found))
    assert len(load_results(tmp_path)) < RUNS  # nothing tells the variants apart: the last counts


def test_the_axes_of_a_table_of_which_the_file_is_lost_are_in_its_folder(toy, monkeypatch):
    monkeypatch.delitem(records.folders.TABLES, "toy")
    pd.testing.assert_frame_equal(load_results(toy[2]), toy[0])


@BEYOND
def test_histories_give_the_same_frames(world):
    setting = {"attack": "gaussian", "n_byz": 1, "epochs": 2}
    runs = [({"rule": rule, "seed": seed}, world.simulate(rule=rule, seed=seed, **setting))
            for rule in ("mean", "median") for seed in (0, 1)]  # fmt: skip
    frame, curves = from_histories(runs), from_histories(runs, per="measurement")
    assert frame.attrs["axes"] == ["rule", "seed"] and frame["rule"].tolist() == ["mean", "mean", "median", "median"]
    assert frame["final_accuracy"].tolist() == [history.accuracy[-1] for _, history in runs]
    assert curves["cosine"].tolist() == [x for _, history in runs for x in history.cosine]
    assert isinstance(plot.curves(curves, "loss"), Figure)


def test_steps_are_a_column_where_there_is_an_eval_every(tmp_path):
    small = Table(name="steps", title="", source="", base=TOY.base | {"steps": None, "total_steps": 6, "eval_every": 2})
    frame = run_table(small, results=tmp_path, per="measurement", log=lambda line: None)
    assert frame["step"].tolist() == [2, 4, 6] and frame["measurement"].tolist() == [1, 2, 3]


# The schema of a record


def test_the_page_is_up_to_date(capsys):
    assert (ROOT / "docs" / "records.md").read_text() == schema_page.page()
    assert cli.main(["schema"]) == 0 and capsys.readouterr().out == schema_page.page()


def test_every_field_of_a_record_is_described(toy):
    for line in (toy[2] / "runs.jsonl").read_text().splitlines():
        found = json.loads(line)
        assert found.keys() <= schema.FIELDS.keys() and found["schema"] == schema.VERSION
        assert found.keys() >= schema.RUN_FIELDS and all(field.meaning for field in schema.FIELDS.values())
    assert {field.name for field in schema.PARTS["The run"]} == RunConfig.__dataclass_fields__.keys()


@pytest.mark.parametrize("name", COMMITTED)
def test_older_records_are_of_version_1(name):
    lines = (ROOT / "results" / name / "runs.jsonl").read_text().splitlines()
    known = {name for name, field in schema.FIELDS.items() if field.since == 1} | {"sharding", "dirichlet_alpha"}
    assert all(json.loads(line).keys() <= known for line in lines if "schema" not in json.loads(line))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"schema": schema.VERSION + 1}, f"version {schema.VERSION + 1}"),
        ({"m": "five"}, "m of another type"),
        ({"lr": True}, "lr of another type"),
        ({"byzantine": [0.5]}, "byzantine of another type"),
        ({"metrics": []}, "metrics of another type"),
        ({"metrics": ["distance"]}, "without distance"),
        ({"metrics": ["distance"], "distance": ["near"]}, "distance of another type"),
        ({"accuracy": []}, "accuracy of another type"),
        ({"trace": 1}, "trace of another type"),
    ],
)
def test_a_record_of_another_form_is_refused(toy, tmp_path, changes, words):
    first = json.loads((toy[2] / "runs.jsonl").read_text().splitlines()[0])
    (tmp_path / "runs.jsonl").write_text(json.dumps(first | changes) + "\n")
    with pytest.raises(UserError, match=words):
        load_results(tmp_path)


# Traces


@BEYOND
@pytest.mark.parametrize("rule", ["mean", "median", "krum", "nnm+krum", "geometric_median"])
def test_a_trace_leaves_the_bits_as_they_are(world, rule):
    setting = {"rule": rule, "attack": "alie", "n_byz": 1, "epochs": 2, "momentum": "ema"}
    traced, plain = world.simulate(trace=True, **setting), world.simulate(**setting)
    assert traced.digest == plain.digest and plain.trace is None
    np.testing.assert_array_equal(traced.params, plain.params)
    assert traced.trace.weight.shape == (8, 4) and np.allclose(traced.trace.weight.sum(axis=1), 1, atol=1e-5)
    mean = traced.trace.weight[:, :1].sum(axis=1).reshape(2, 4).mean(axis=1)
    np.testing.assert_allclose(mean, traced.byz_weight, atol=1e-6)


def digests(runs):
    """By run: which run ends first is open, as several train at once."""
    return dict(zip(runs["id"], runs["digest"], strict=True))


def test_the_digests_of_a_traced_table_are_those_without(toy, tmp_path):
    again = run_table(TOY, results=tmp_path, log=lambda line: None)
    assert digests(again) == digests(toy[0]) and "trace" not in again


@pytest.mark.parametrize("lanes", [1, 3])
def test_lanes_train_different_programs_at_once_with_the_same_bits(toy, tmp_path, monkeypatch, lanes):
    together, calls = threading.Barrier(lanes), itertools.count()
    train = Executor.train_batch

    def meet(self, *args):
        if next(calls) < lanes:
            together.wait(60)  # until every lane has come here, with a batch of its own
        return train(self, *args)

    monkeypatch.setattr(devices, "lanes", lambda per_run: (jax.devices()[:1], lanes))
    monkeypatch.setattr(Executor, "train_batch", meet)
    again = run_table(TOY, results=tmp_path, log=lambda line: None)
    assert digests(again) == digests(toy[0]) and len(again) == len(toy[0]) and not together.broken


def test_a_failure_to_record_ends_all_lanes(tmp_path, monkeypatch):
    monkeypatch.setattr(devices, "lanes", lambda per_run: (jax.devices()[:1], 3))
    monkeypatch.setattr(recorder, "WRITE_RETRY_SECONDS", 0.0)

    def full(*_):
        raise Incomplete("the disk is full")

    monkeypatch.setattr(recorder.records, "append", full)
    with pytest.raises(Incomplete, match="the disk is full"):
        run_table(TOY, results=tmp_path, log=lambda line: None)


def test_load_trace(toy):
    runs, _, folder = toy
    row = runs[(runs["alpha"] > 0) & (runs["rule"] == "mean")].iloc[0]
    trace = load_trace(folder, row["id"])
    assert row["trace"] == traces.name_of(row["id"]) and (folder / row["trace"]).is_file()
    assert list(trace) == ["step", "worker", "byzantine", "weight", "distance", "norm"]
    assert trace["step"].tolist() == [step for step in range(1, 7) for _ in range(5)]
    assert trace["worker"].tolist() == [0, 1, 2, 3, 4] * 6 and trace["byzantine"].tolist() == [True, *[False] * 4] * 6
    assert np.allclose(trace["weight"], 0.2)
    every = [folder / name for name in runs["trace"]]
    assert all(path.stat().st_size <= 12 * 5 * 6 + 1200 for path in every)  # arrays, and the frame of a zip file
    with pytest.raises(UserError, match="no trace"):
        load_trace(folder, "0" * 16)


def test_a_file_that_is_no_trace(tmp_path):
    (tmp_path / "traces").mkdir()
    whole = io.BytesIO()
    np.savez(whole, weight=np.ones(3))
    for content in (b"", b"no zip file", whole.getvalue(), whole.getvalue()[:-30]):
        (tmp_path / "traces" / "ab.npz").write_bytes(content)
        with pytest.raises(UserError, match="is not a trace"):
            load_trace(tmp_path, "ab")


@BEYOND
def test_workers_that_take_part_keep_their_ids(world, tmp_path):
    history = world.simulate(trace=True, participation=0.5, n_byz=1, attack="gaussian", epochs=2)
    assert history.trace.worker.shape == (8, 2) and len(np.unique(history.trace.worker)) == 4
    traces.write(tmp_path, "ab", history.trace, [0])
    pd.testing.assert_frame_equal(load_trace(tmp_path, "ab"), trace_of(history, [0]))
    with pytest.raises(ValueError, match="trace=True"):
        trace_of(world.simulate(epochs=1))


def test_a_trace_survives_a_resume_by_its_checkpoint(world, tmp_path):
    (group,) = grid.plan([RunConfig(model="softmax", m=4, batch=4, n_byz=1, attack="alie", epochs=3)], world.source)
    static = dataclasses.replace(group.static, trace=True)
    kept = []
    how = {"train": world.train, "test": world.test, "epochs": 3}
    (whole,) = grid.run(static, group.dynamic, **how, on_state=lambda done, snapshots: kept.extend(snapshots()))
    checkpoints = Checkpoints(tmp_path / "checkpoints", {}, pytest.fail)
    checkpoints.save("ab", Checkpoint(kept[0], 1.0))
    shapes = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), kept[0])
    (again,) = grid.run(static, group.dynamic, **how, resume=[checkpoints.load("ab", lambda epochs: shapes).snapshot])
    for name in whole.trace._fields:
        np.testing.assert_array_equal(getattr(again.trace, name), getattr(whole.trace, name))


def test_a_stopped_table_goes_on_with_its_traces(toy, tmp_path, monkeypatch):
    once = threading.Lock()

    def stop(self, done):
        if done > RUNS - 0.5 and once.acquire(blocking=False):  # a run that is left has a checkpoint
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(5)  # of the thread at work, until the main thread has heard

    how = {"results": tmp_path, "trace": True, "checkpoint": 0}
    with monkeypatch.context() as patch:
        patch.setattr(display.Display, "show", stop)
        with pytest.raises(KeyboardInterrupt, match=r"Saved: \w+, .*The same call continues"):
            run_table(TOY, log=lambda line: None, **how)
    said = []
    again = run_table(TOY, log=said.append, **how)
    assert any("continuing with " in line for line in said)
    for id in toy[0]["id"]:
        pd.testing.assert_frame_equal(load_trace(again.attrs["folder"], id), load_trace(toy[2], id))
    assert digests(again) == digests(toy[0])


def test_a_checkpoint_without_a_trace_is_not_gone_on_from_with_one(world, tmp_path):
    said = []
    Checkpoints(tmp_path / "checkpoints", {"jax": "1"}, pytest.fail).save("ab", Checkpoint(_snapshot(world), 1.0))
    assert Checkpoints(tmp_path / "checkpoints", {"jax": "1", "trace": "yes"}, said.append).load("ab", None) is None
    assert "made with trace None, not yes" in said[0]


def _snapshot(world):
    (group,) = grid.plan([RunConfig(model="softmax", m=4, batch=4)], world.source)
    kept = []
    data = {"train": world.train, "test": world.test}
    grid.run(group.static, group.dynamic, **data, epochs=1, on_state=lambda done, snapshots: kept.extend(snapshots()))
    return kept[0]


# Figures


def panels(figure):
    return [axes for axes in figure.axes if axes.get_label() != "<colorbar>" and axes.lines]


def test_curves_are_means_over_seeds_with_their_range(toy):
    _, measured, _ = toy
    figure = plot.curves(measured, rows="attack", columns="rule", lines="alpha")
    part = measured[(measured["rule"] == "near") & (measured["attack"] == "gaussian") & (measured["alpha"] == 0.2)]
    means = 100 * part.groupby("measurement")["accuracy"].mean()
    drawn = panels(figure)[0].lines[1]
    np.testing.assert_allclose(drawn.get_ydata(), means)
    words = [text.get_text() for text in figure.legends[0].get_texts()]
    assert words == ["α = 0 %", "α = 20 %", "range of 2 seeds"]
    assert panels(figure)[0].get_title() == "near" and figure.get_figwidth() == plot.PAGE


def test_axes_find_their_places_and_none_is_averaged_over(toy):
    _, measured, _ = toy
    assert len(panels(plot.curves(measured[measured["alpha"] > 0], "byz_weight"))) == 2  # attacks
    mixed = measured.assign(lr=np.where(measured["rule"] == "near", 0.1, 0.5))
    mixed.attrs["axes"] = [*measured.attrs["axes"], "lr"]
    with pytest.raises(ValueError, match="differ in lr"):
        plot.curves(mixed, rows="attack", columns="rule", lines="alpha")
    one = measured[(measured["attack"] == "alie")].drop(columns="rule")
    one.attrs["axes"] = ["attack", "alpha", "seed"]
    with pytest.raises(ValueError, match="no repetitions of each other"):
        plot.curves(one)
    with pytest.raises(ValueError, match="no column 'acuracy'"):
        plot.curves(measured, "acuracy")
    with pytest.raises(ValueError, match='per="measurement"'):
        plot.curves(toy[0])


def test_heatmap_prints_the_means(toy):
    runs, _, _ = toy
    figure = plot.heatmap(runs, rows="attack", columns="rule", panels="alpha")
    clean, attacked = figure.axes[:2]
    expected = runs[runs["alpha"] == 0].groupby("rule")["final_accuracy"].mean()
    texts = [text.get_text() for text in clean.texts]
    assert texts == [f"{100 * expected[rule]:.0f}" for _ in range(2) for rule in ("near", "far", "mean")]
    assert attacked.get_title() == "α = 20 %" and len(attacked.texts) == 6
    lost = runs.assign(diverged=(runs["rule"] == "far") | ((runs["rule"] == "mean") & (runs["seed"] == 0)))
    lost.attrs = runs.attrs
    figure = plot.heatmap(lost, rows="attack", columns="rule", panels="alpha")
    words = [text.get_text() for text in figure.axes[0].texts]
    assert words[1] == "div." and words[2].endswith("*") and words[0] == texts[0]
    with pytest.raises(ValueError, match="differ in alpha"):
        plot.heatmap(runs, rows="attack", columns="rule")


def test_against_the_number_of_attackers(toy):
    runs, _, _ = toy
    figure = plot.against(runs, "n_byz", columns="attack", lines="rule")
    first = panels(figure)[0]
    expected = (
        100
        * runs[(runs["rule"] == "near") & runs["attack"].isin(["none", "gaussian"])]
        .groupby("n_byz")["final_accuracy"]
        .mean()
    )
    np.testing.assert_allclose(first.lines[0].get_ydata(), expected)
    hollow = [line for line in first.lines if line.get_markerfacecolor() == "white" and len(line.get_xdata())]
    assert [line.get_xdata().tolist() for line in hollow] == [[1]]  # of the mean, which is guaranteed for no attacker
    assert "beyond bound" in [text.get_text() for text in figure.legends[0].get_texts()]


@pytest.mark.parametrize("value", ["weight", "distance", "norm"])
def test_trace_shows_every_worker(toy, value):
    runs, _, folder = toy
    figure = plot.trace(load_trace(folder, runs.loc[runs["alpha"] > 0, "id"].iloc[0]), value)
    above, below = figure.axes[:2]
    assert [text.get_text() for text in below.get_yticklabels()] == ["Byzantine", "honest"]
    assert below.collections[0].get_array().shape == (5, 6) and above.lines


def test_many_steps_are_drawn_as_means():
    n = 1000
    workers = {"worker": [0, 1] * n, "byzantine": [True, False] * n, "weight": 0.5}
    frame = pd.DataFrame({"step": np.repeat(np.arange(1, n + 1), 2), **workers})
    below = plot.trace(frame).axes[1]
    assert below.collections[0].get_array().shape == (2, 200) and below.get_xlabel() == "Step (means over 5)"


def test_every_figure_is_drawn_without_a_warning(toy):
    runs, measured, folder = toy
    made = [
        plot.curves(measured),
        plot.curves(measured[measured["rule"] == "mean"], "loss", band="sd"),
        plot.against(runs),
        plot.heatmap(runs[runs["alpha"] > 0], rows="attack", columns="rule"),
        plot.trace(load_trace(folder, runs["id"].iloc[0])),
        plot.partition(partition_table("sorted_classes", data="digits", m=5)),
    ]
    for figure in made:
        assert figure._repr_png_().startswith(b"\x89PNG")  # what a notebook shows


# Partitions


@pytest.mark.parametrize("name", ["iid", "dirichlet", "dirichlet_by_class", "long_tail"])
def test_a_partition_is_that_of_the_run(name):
    table = partition_table(name, data="digits", m=7, seed=3)
    from byzsim.engine import start
    from byzsim.experiments.datasets import load

    data = load("digits")
    run = grid.resolve(RunConfig(partition=name, m=7, seed=3, model="softmax"), grid.source_of(data.train, 10))
    shards = np.asarray(start(run.static, run.dynamic, jax.tree.map(jax.numpy.asarray, data.train)).shards)
    assert table.shape == (7, 10)
    for worker, shard in enumerate(shards):
        assert table.loc[worker].tolist() == np.bincount(data.train.labels[shard[shard >= 0]], minlength=10).tolist()


def test_byzsim_partition(tmp_path, capsys):
    words = ["partition", "dirichlet", "--options", "dirichlet.alpha=0.1", "--data", "digits", "--m", "4"]
    assert cli.main([*words, "--output", str(tmp_path / "shards.csv")]) == 0
    printed = capsys.readouterr().out
    table = pd.read_csv(tmp_path / "shards.csv", index_col="worker")
    assert table.shape == (4, 10) and (table.sum(axis=1) == 359).all()
    assert re.search(r"examples +classes", printed) and printed.count("359") >= 4
    assert cli.main([*words, "--output", str(tmp_path / "shards.png")]) == 0
    assert (tmp_path / "shards.png").read_bytes().startswith(b"\x89PNG")


# From Python


def test_run_table_takes_the_options_of_the_command_line(tmp_path):
    said = []
    settings = {"rules": ["mean", "krum"], "attacks": "gaussian", "alphas": [0.2], "seeds": range(2), "epochs": 1}
    how = {"options": {"krum.variant": ["blanchard2017", "byzfl"]}, "results": tmp_path, "log": said.append}
    frame = run_table("smoke", **settings, only="rule=krum", **how)
    assert frame.attrs["axes"] == ["rule", "attack", "alpha", "krum.variant", "seed"] and len(frame) == 4
    again = run_table(frame.attrs["folder"], log=said.append, only="rule=krum")
    assert "4 recorded before, 0 to run" in said[-1] and again["id"].tolist() == frame["id"].tolist()
    with pytest.raises(UserError, match="rules"):
        run_table("smoke", rulez=["mean"])
    with pytest.raises(UserError, match="another name"):
        run_table(Table(name="smoke", title="", source=""))


CELLS = (
    "from byzsim.experiments import load_results, plot, run_table",
    "how = {'rules': 'krum', 'attacks': 'alie', 'alphas': [0.2], 'results': RESULTS, 'log': lambda line: None}",
    "frame = run_table('smoke', epochs=2, **how)",
    "plot.heatmap(frame, rows='attack', columns='rule')",
    "run_table('smoke', epochs=10**6, checkpoint=0, **how)",
)


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
def test_a_notebook_shows_progress_and_figures_and_ctrl_c_keeps_what_is_done(tmp_path, monkeypatch):
    install(prefix=str(tmp_path), kernel_name="python3")
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path / "share" / "jupyter"))
    sources = [source.replace("RESULTS", repr(str(tmp_path / "results"))) for source in CELLS]
    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in sources])
    client = NotebookClient(book, timeout=120, kernel_name="python3", allow_errors=True)

    def stop_when_a_checkpoint_is_there():
        deadline = time.monotonic() + 100
        while not any(tmp_path.glob("results/*/checkpoints/*.msgpack")) and time.monotonic() < deadline:
            time.sleep(0.1)
        os.kill(client.km.provisioner.pid, signal.SIGINT)

    with client.setup_kernel():
        for index, cell in enumerate(book.cells):
            if index == len(CELLS) - 1:
                threading.Thread(target=stop_when_a_checkpoint_is_there, daemon=True).start()
            client.execute_cell(cell, index)
    _, _, run, figure, stopped = (cell.outputs for cell in book.cells)
    assert run[0].data["text/plain"] == "1 of 1 runs" and "<progress" in run[0].data["text/html"]
    assert "image/png" in figure[0].data
    error = stopped[-1]
    assert error.ename == "KeyboardInterrupt" and "Recorded: 0 of 1 runs. Saved: krum, alie" in error.evalue
    assert error.evalue.endswith("The same call continues from there.")


def test_the_bar_of_a_notebook(monkeypatch):
    drawn = []
    bar = display.NotebookBar()
    bar.handle = type("Handle", (), {"update": lambda self, data, raw: drawn.append(data["text/plain"])})()
    clock = itertools.count()
    monkeypatch.setattr(display.time, "monotonic", lambda: 0.1 * next(clock))
    task = bar.add_task("runs", total=4, left="")
    for done in (1, 2, 3.5, 4):
        bar.update(task, completed=done, left="1 min left")
    bar.stop()
    assert drawn == ["0 of 4 runs", "2 of 4 runs, 1 min left", "4 of 4 runs, 1 min left"]


def test_packed_records_come_before_what_was_appended_since(tmp_path):
    """`xz runs.jsonl` keeps a large file small; a damaged archive is said, and nothing of it is used."""
    file = tmp_path / "runs.jsonl"
    records.append(file, [{"id": "a"}, {"id": "b"}])
    packed = tmp_path / "runs.jsonl.xz"
    packed.write_bytes(lzma.compress(file.read_bytes()))
    file.write_bytes(b"")
    assert [each["id"] for each in records.read(file, fields=frozenset({"id"}))] == ["a", "b"]
    records.append(file, [{"id": "c"}])
    assert [each["id"] for each in records.read(file, fields=frozenset({"id"}))] == ["a", "b", "c"]
    packed.write_bytes(packed.read_bytes()[:-9])
    with pytest.raises(UserError, match=r"cannot read .*runs\.jsonl\.xz"):
        records.read(file, fields=frozenset({"id"}))
