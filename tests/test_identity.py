"""What finds a record: every change of what decides a result, and nothing else, gives another identifier."""

import dataclasses
import inspect
import itertools
import json
from pathlib import Path
from typing import Literal, get_args, get_origin

import jax
import numpy as np
import pytest
from byzsim import AGGREGATORS, ATTACKS, MODELS, MODIFIERS, PREAGGREGATORS, RunConfig
from byzsim.experiments import records
from byzsim.experiments.datasets import DATASETS, Fingerprint, _base, _cache, fingerprint, load
from byzsim.experiments.records import diff, identities, status
from byzsim.experiments.run import verify

DATA = Fingerprint("d" * 64)
BASE = {"rule": "nnm+krum", "attack": "burst+alie", "m": 20, "n_byz": 3, "momentum": "ema", "partition": "dirichlet"}


def identifier(data=DATA, name="digits", **run_config):
    return records.identifier(records.identity(RunConfig(**run_config), name, data))


CHANGES = {
    "rule": "krum",
    "rule_args": {"variant": "byzfl"},
    "attack": "alie",
    "attack_args": {"z": 0.5},
    "m": 21,
    "n_byz": 2,
    "f": 2,
    "byzantine": (0, 1, 3),
    "model": "softmax",
    "model_args": {"padding": 0},
    "batch": 9,
    "epochs": 2,
    "steps": 5,
    "optimizer": "adam",
    "optimizer_args": {"nesterov": True},
    "lr": 0.031,
    "momentum": "classic",
    "momentum_beta": 0.8,
    "partition": "iid",
    "partition_args": {"alpha": 2.0},
    "seed": 1,
    "task": "regression",
    "task_args": {"d": 3},
    "sampling": "keep_last",
    "total_steps": 100,
    "eval_every": 5,
    "schedule": "step_decay",
    "schedule_args": {"every": 3},
    "weight_decay": 0.1,
    "clip": 1.0,
    "server_noise": 0.5,
    "byzantine_momentum": False,
    "local_steps": 2,
    "local_optimizer": "adam",
    "local_optimizer_args": {"nesterov": True},
    "local_lr": 0.1,
    "local_state": "keep",
    "sends": "difference",
    "participation": 0.5,
    "byzantine_data": "none",
    "n_test": 10,
    "repetitions": 2,
    "data_seed": 5,
    "init_seed": 5,
    "attack_seed": 5,
}
NEEDS = {  # what another field has to be, for a field to count
    "task_args": {"task": "octopus", "partition": "iid"},
    "schedule": {"schedule_args": {"every": 7}},
    "schedule_args": {"schedule": "step_decay"},
    **{name: {"local_steps": 3} for name in ("local_optimizer", "local_optimizer_args", "local_lr", "local_state")},
}


def test_every_field_of_a_run_counts():
    assert CHANGES.keys() == {field.name for field in dataclasses.fields(RunConfig)}
    changed = {name: BASE | NEEDS.get(name, {}) | {name: value} for name, value in CHANGES.items()}
    assert len({identifier(**BASE), *(identifier(**each) for each in changed.values())}) == 1 + len(CHANGES)


def test_equal_runs_are_one_key():
    one, same, other = RunConfig(**BASE), RunConfig(**BASE, f=3, lr=np.float64(0.03)), RunConfig(**BASE, seed=1)
    found = {one: "one", other: "other"}
    assert found[same] == "one" and len({one, same, other}) == 2 and hash(one) == hash(same)
    assert one.as_dict() == same.as_dict() != other.as_dict()


MEMBERS = [
    *(("rule", name, spec) for name, spec in AGGREGATORS.items()),
    *(("rule", f"{name}+krum", spec) for name, spec in PREAGGREGATORS.items()),
    *(("attack", name, spec) for name, spec in ATTACKS.items()),
    *(("attack", f"{name}+alie", spec) for name, spec in MODIFIERS.items()),
    *(("model", name, spec) for name, spec in MODELS.items()),
]


def others(parameter):
    """Values that the option may have besides its default."""
    default, choices = parameter.default, get_args(parameter.annotation)
    if get_origin(parameter.annotation) is Literal:
        values = list(choices)
    elif isinstance(default, bool):
        values = [not default]
    elif isinstance(default, int):
        values = [default + 1, default - 1, 2 * default]
    else:
        values = [0.75, 3.0, 1] if default is None or isinstance(default, str) else [0.9 * default, 1.5 * default, 0.1]
    return [value for value in values if value != default]


@pytest.mark.parametrize(("kind", "name", "spec"), MEMBERS, ids=lambda each: each if isinstance(each, str) else "")
def test_every_option_counts_and_its_default_does_not(kind, name, spec):
    plain = identifier(**{kind: name})
    for option, parameter in inspect.signature(spec.factory).parameters.items():
        if parameter.default is parameter.empty:
            continue
        assert identifier(**{kind: name, f"{kind}_args": {option: parameter.default}}) == plain
        found = set()
        for value in others(parameter):
            try:
                found.add(identifier(**{kind: name, f"{kind}_args": {option: value}}))
            except ValueError:
                continue  # not a value that the factory takes
        assert found and plain not in found, option


def test_options_of_the_optimizer_count_and_are_spelled_out():
    adam = RunConfig(optimizer="adam").optimizer_args
    assert (adam["b1"], adam["b2"], adam["eps"], adam["nesterov"]) == (0.9, 0.999, 1e-8, False)
    given = [{}, {"b1": 0.9}, {"b1": 0.8}, {"eps": 1e-7}]
    ids = [identifier(optimizer="adam", optimizer_args=args) for args in given]
    assert ids[0] == ids[1] and len(set(ids)) == 3


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ({"lr": 0.2}, {"lr": 2 / 10}),
        ({"lr": 1}, {"lr": 1.0}),
        ({"lr": 0.5}, {"lr": np.float32(0.5)}),
        ({"seed": 3}, {"seed": np.int64(3)}),
        ({"f": None}, {"f": 3}),
        ({"byzantine": (2, 0, 1)}, {"byzantine": None}),
        ({"byzantine": tuple(np.arange(3))}, {}),
        ({"attack_args": {"z": 1}}, {"attack_args": {"z": 1.0}}),
        ({"rule": "brsgd", "rule_args": {"beta": np.float64(0.5)}}, {"rule": "brsgd"}),
        ({"optimizer_args": {"nesterov": False}}, {}),
    ],
    ids=str,
)
def test_equal_runs_written_differently_are_one(a, b):
    assert identifier(**BASE | a) == identifier(**BASE | b)


@pytest.mark.parametrize(("kind", "name", "spec"), MEMBERS, ids=lambda each: each if isinstance(each, str) else "")
def test_a_variant_is_the_config_of_its_options(kind, name, spec):
    for variant in () if "+" in name else spec.variants:  # of several parts the variant is the last one's
        run_config = RunConfig(**{kind: name, f"{kind}_args": {"variant": variant.name}})
        single = RunConfig(**{kind: name, f"{kind}_args": variant.options})
        assert run_config == single and hash(run_config) == hash(single)
        own = "variant" in inspect.signature(spec.factory).parameters  # one option chooses, or several options together
        assert run_config.as_dict()[f"{kind}_args"].get("variant") == (variant.name if own else None)


RESULTS = Path(__file__).parent.parent / "results"


def test_recorded_runs_keep_their_identifiers():
    """A run made again from its record, options and all, has the record's own, but for what was revised since then."""
    found = records.read(RESULTS / "brsgd_table1" / "runs.jsonl") + records.read(RESULTS / "zoo" / "runs.jsonl")
    for each in found[::3]:
        fields = {field.name for field in dataclasses.fields(RunConfig)} & each.keys()
        run_config = RunConfig(**{name: each[name] for name in fields})
        decides = records.identity(run_config, each["data"], Fingerprint(each["data_digest"]))
        decides["numerics"] = each["numerics"]
        decides.pop("revisions", None)
        assert records.identifier(decides | {k: each[k] for k in ("revisions",) if k in each}) == each["id"], each


def test_data_numerics_and_precision_count(monkeypatch):
    ids = [identifier(), identifier(data=Fingerprint("e" * 64)), identifier(name="mnist")]
    with jax.enable_x64(True):
        ids.append(identifier())
    with jax.threefry_partitionable(False):
        ids.append(identifier())
    for constant, value in (("NUMERICS", 10**6), ("MATMUL", "default")):
        with monkeypatch.context() as patch:
            patch.setattr(identities, constant, value)
            ids.append(identifier())
    assert len(set(ids)) == len(ids) and identifier() == ids[0]


def test_a_fingerprint_is_the_digest_of_what_would_be_loaded(monkeypatch, tmp_path):
    monkeypatch.setenv("BYZSIM_CACHE", str(tmp_path))
    images, labels = np.zeros((3, 4, 4), np.uint8), np.arange(3, dtype=np.uint8)
    small = _base.dataset((images, labels, images, labels), n_classes=3, source="here")
    monkeypatch.setitem(DATASETS, "digits", DATASETS["digits"]._replace(load=lambda **places: small))
    assert fingerprint("digits").digest == small.digest
    _cache.write(tmp_path / "mnist.npz", small)
    assert fingerprint("mnist").digest == load("mnist", log=lambda line: None).digest == small.digest
    (tmp_path / "digits.npz").write_bytes(b"torn")
    assert fingerprint("digits").digest == small.digest


# What the commands make of records


def record(*, final=0.8, data=DATA, **run_config):
    """A record of one epoch, as the runner writes it."""
    decides = records.identity(RunConfig(**{"m": 10, "model": "softmax"} | run_config), "digits", data)
    series = {name: [final] for name in ("accuracy", "loss")}
    rest = {"final_accuracy": final, "diverged": final is None, "diverged_epoch": None if final else 1, "seconds": 30.0}
    digest = records.identifier({"final": final})
    where = {"device": "2 x cpu (A)", "mode": "run by run", "versions": dict.fromkeys(verify.DECIDING, "1")}
    return {"id": records.identifier(decides), **decides, **series, **rest, "digest": digest, **where}


def asked(**run_config):
    return records.identity(RunConfig(**{"m": 10, "model": "softmax"} | run_config), "digits", DATA)


def test_the_states_of_runs_and_why():
    found = [record(), record(seed=1, lr=0.1), record(seed=4) | {"numerics": 0, "id": "0"}, record(seed=9)]
    found.append(record(seed=5) | {"batch": 9})
    failures = [{"id": records.identifier(asked(seed=2)), "failed": "MemoryError"}]
    runs = [asked(seed=seed) for seed in range(6)]
    rows = status.survey(runs, found, failures)
    assert rows["state"].tolist() == ["done", "stale", "failed", "missing", "stale", "done"]
    assert rows["why"][1] == "lr 0.1 -> 0.03" and rows["why"][4] == f"numerics 0 -> {runs[0]['numerics']}"
    assert status.pivot(rows).loc[("mean", "none"), "0 %"] == "2/6 failed stale"
    text = "\n".join(status.lines("toy", runs, found, failures))
    assert "6 runs: 2 done, 1 failed, 2 stale, 1 missing" in text and "would execute 4 of them, about 2 min" in text
    assert "failed: mean, none, alpha 0, seed 2: MemoryError" in text
    assert "foreign: records of the same cells with other seeds: 9" in text


def test_what_is_older_or_foreign_is_said():
    found = [record() | {"numerics": 0, "id": "0"}, record(), record(rule="median"), record(rule="krum")]
    text = "\n".join(status.lines("toy", [asked()], found, []))
    assert "1 run: 1 done" in text and "1 record replaced by newer ones" in text
    assert "2 records of cells that are not asked for, such as median, none, alpha 0, seed 0" in text


def test_a_record_of_earlier_options_is_found_with_their_defaults():
    """So a report still has it; its own identifier stays what it was."""
    old = record(rule="krum")
    old["rule_args"], old["optimizer_args"] = {}, {}
    assert records.matching([old], [("digits", RunConfig(rule="krum", m=10, model="softmax"))]) == [old]
    assert records.matching([old], [("digits", RunConfig(rule="krum", m=10, model="softmax", lr=1.0))]) == []
    assert records.matching([old | {"rule": "gone"}], [("digits", RunConfig(m=10, model="softmax"))]) == []
    (words,) = records.changes(old, asked(rule="krum"))
    assert words.startswith("not recorded: rule_args.variant")


def test_diff_sorts_runs_by_what_became_of_them():
    a = [record(seed=seed, final=0.8 + 0.02 * seed) for seed in range(4)]
    b = [record(seed=1, final=0.7, lr=0.1), record(seed=2, final=0.84 + 1e-6), record(seed=3, final=None)]
    b += [record(seed=0, final=0.8), record(seed=7)]
    table = diff.compare(a, b)
    assert table["seed"].tolist()[:2] == [3, 1]  # the one that diverged, then the largest difference
    verdicts = dict(zip(table["seed"], table["verdict"], strict=True))
    assert verdicts == {0: diff.BITS, 1: diff.DIFFERENT, 2: diff.ROUNDED, 3: diff.DIFFERENT, 7: "only in B"}
    one = table[table["seed"] == 1].iloc[0]
    assert (one["A"], one["B"], one["epoch"], one["changed"]) == (82.0, 70.0, 1, "lr 0.03 -> 0.1")
    assert one["difference"] == pytest.approx(-12) and one["noise"] == pytest.approx(2.582, abs=1e-3)
    text = "\n".join(diff.lines(table))
    assert "1 same bits, 1 same as rounded, 2 different, 0 only in A, 1 only in B" in text
    assert not diff.same(table) and diff.same(diff.compare(a, a))


def test_where_curves_part():
    a = {"accuracy": [0.1, 0.2, 0.3], "loss": [1e10, 2.0, None]}
    assert diff.first_difference(a, a) is None
    assert diff.first_difference(a, a | {"loss": [1e10 + 1e3, 2.0, None]}) is None  # float32 knows no more
    assert diff.first_difference(a, a | {"loss": [1e10, 2.1, 3.0]}) == (2, ("loss",))
    assert diff.first_difference(a, a | {"accuracy": [0.1, 0.2, 0.4], "loss": [1e10, 2.0, 1.0]}) == (
        3,
        ("accuracy", "loss"),
    )
    assert diff.first_difference(a, {"accuracy": [0.1], "loss": [1e10]}) == (2, ("accuracy", "loss"))


def without(found, *names):
    return {key: value for key, value in found.items() if key not in names}


JUDGED = {
    "bits": (record(), record(), True, "same bits"),
    "one bit": (record() | {"digest": "x"}, record(), False, "only digits beyond the recorded ones"),
    "no digest": (without(record(), "digest", "mode"), record(), True, "the record has no digest"),
    "another number": (without(record(), "digest", "mode"), record(final=0.81), True, "mode not recorded"),
    "far": (record(), record(final=0.9) | {"device": "1 x cpu (B)"}, False, "cpu (A) -> cpu (B)"),
    "near": (record(), record(final=0.81) | {"device": "1 x cpu (B)"}, True, "not promised: cpu (A) -> cpu (B)"),
    "fewer devices": (record(), record(final=0.81) | {"device": "1 x cpu (A)"}, False, "DIFFERENT"),
    "vmap": (record() | {"mode": "4 runs under vmap"}, record(final=0.81) | {"mode": "4 runs under vmap"}, True,
             "bits are not promised: 4 runs under vmap"),
    "versions": (record(), record(final=0.81) | {"versions": dict.fromkeys(verify.DECIDING, "2")}, True, "jax 1 -> 2"),
    "diverged": (record(), record(final=None) | {"device": "1 x cpu (B)"}, False, "recorded 80.00 %, now diverged"),
}  # fmt: skip


@pytest.mark.parametrize(("old", "new", "agrees", "words"), JUDGED.values(), ids=JUDGED.keys())
def test_a_verdict_says_what_is_promised(old, new, agrees, words):
    verdict = verify.judge(old, new, records.key_of(old))
    assert verdict.agrees == agrees and words in verdict.words


def test_a_sample_is_of_all_records_and_the_same_for_a_seed():
    found = [record(seed=seed) for seed in range(6)]
    draws = [tuple(each["seed"] for each in verify.sample(found, 2, seed)) for seed in range(60)]
    assert set(itertools.chain(*draws)) == set(range(6))
    assert draws[0] == tuple(each["seed"] for each in verify.sample(found[::-1], 2, 0))
    assert len(verify.sample(found, 9, 0)) == 6


def test_identities_are_plain_json():
    decides = asked(seed=np.int64(3), optimizer="adafactor", rule="brsgd", rule_args={"beta": np.float32(0.25)})
    assert json.loads(json.dumps(decides)) == decides


def test_a_revision_of_a_member_counts_for_its_runs_alone(monkeypatch):
    before = identifier(rule="nnm+krum", attack="burst+alie"), identifier(rule="median", attack="alie")
    known = records.identity(RunConfig(rule="nnm+krum"), "digits", DATA)
    monkeypatch.setitem(AGGREGATORS, "krum", AGGREGATORS["krum"]._replace(revision=3))
    assert identifier(rule="nnm+krum", attack="burst+alie") != before[0]
    assert identifier(rule="median", attack="alie") == before[1]
    assert RunConfig(rule="nnm+krum").as_dict()["revisions"] == {"krum": 3}
    (change,) = records.changes(known, records.identity(RunConfig(rule="nnm+krum"), "digits", DATA))
    assert "revisions" in change
