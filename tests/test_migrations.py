"""Names of earlier versions: what was recorded under them is read as if it had been recorded today."""

import dataclasses
import hashlib
import inspect
import json
from pathlib import Path

import pytest
from byzsim import AGGREGATORS, ATTACKS, MODIFIERS, PREAGGREGATORS, RunConfig, renamed
from byzsim.experiments import plan, records
from byzsim.experiments.datasets import Fingerprint
from byzsim.experiments.records import folders, identities, migrations
from byzsim.experiments.tables import TABLES
from byzsim.run_config import LATER

RESULTS = Path(__file__).parent.parent / "results"
WRITTEN = {  # SHA-256 of what was committed before the names changed
    "brsgd_table1": "a9aca5193b01b10cf29cedd911998d37562feb36d29756cf4dba288eeb03c66d",
    "zoo": "c10a6aa8dd6597cdc6e6d61ea4eca1f7777a8b42be5a05b717527b8b7fb98cdd",
}
MEMBERS = {**AGGREGATORS, **PREAGGREGATORS, **ATTACKS, **MODIFIERS}


def earlier(found):
    """A record under the names of earlier versions: the tables of `migrations` and `renamed` backwards."""
    old_fields = {new: old for old, new in migrations.FIELDS.items()}
    old: dict = {}
    for field, value in found.items():
        old[old_fields.get(field, field)] = value
        if field == "partition":  # all of these were i.i.d.
            old[migrations.ALPHA] = 1.0
    if "mode" in old:
        old["mode"] = old["mode"].replace("run by run", "cell by cell").replace(" runs under", " cells under")
    for member in ("rule", "attack"):
        old[f"{member}_args"] = dict(_earlier_option(found[member], *pair) for pair in found[f"{member}_args"].items())
    decides = {
        field: value
        for field, value in old.items()
        if migrations.FIELDS.get(field, field) in identities.deciding() or field == migrations.ALPHA
    }
    return old | {"id": records.identifier(decides)}


def _earlier_option(name, option, value):
    for part in name.split("+"):
        for old, new in renamed.RENAMED.get(part, {}).items():
            if new.name == option:
                return old, {after: before for before, after in new.values.items()}.get(value, value)
    return option, value


@pytest.mark.parametrize("folder", WRITTEN)
def test_committed_results_lost_nothing(folder):
    """Backwards they are what was committed before, byte for byte; forwards each line is one record of its own."""
    lines = (RESULTS / folder / "runs.jsonl").read_text().splitlines()
    lines = [line for line in lines if '"numerics": 3' not in line]  # those have come since
    found = [json.loads(line) for line in lines]
    old = [earlier(each) for each in found]
    assert hashlib.sha256("".join(json.dumps(each) + "\n" for each in old).encode()).hexdigest() == WRITTEN[folder]
    now = [migrations.current(each) for each in found]
    assert [migrations.current(each) for each in old] == now == [migrations.current(each) for each in now]
    decides = [{name: each[name] for name in identities.deciding() if name in each} for each in now]
    assert [records.identifier(each) for each in decides] == [each["id"] for each in now]
    assert len({each["id"] for each in now}) == len({each["id"] for each in old}) == len(found)


def test_new_names_are_options_and_old_ones_are_not():
    for name, table in renamed.RENAMED.items():
        own = inspect.signature(MEMBERS[name].factory).parameters
        assert {new.name for new in table.values()} <= own.keys() and not table.keys() & own.keys()
        assert len({new.name for new in table.values()}) == len(table)
        for new in table.values():
            assert len(set(new.values.values())) == len(new.values)
            for value in new.values.values():
                MEMBERS[name].factory(**{new.name: value})


@pytest.mark.parametrize(
    ("name", "old", "options"),
    [
        ("krum", {"definition": "byzfl"}, {"variant": "byzfl"}),
        ("nnm+aksel", {"mode": "n-f"}, {"count": "m-f"}),
        ("burst+fang_krum", {"through": "rule", "on": 5}, {"selected_by": "rule_in_use", "on": 5}),
        ("optimal_inner_product", {"convention": "one_minus"}, {"coefficient": "1-x"}),
    ],
)
def test_who_types_an_old_name_is_told_the_new_one(name, old, options):
    kind = "attack" if name.rpartition("+")[2] in ATTACKS else "rule"
    with pytest.raises(ValueError, match=f"is called '{next(iter(options))}' now: "):
        RunConfig(**{kind: name, f"{kind}_args": old})
    with pytest.raises(ValueError, match="is called"):
        MEMBERS[name.rpartition("+")[2]].factory(**{key: value for key, value in old.items() if key != "on"})
    assert dict(renamed.renamed(name, *pair) for pair in old.items()) == options


def an_old_record(**changes):
    new = records.identity(RunConfig(rule="nnm+krum", attack="gaussian", n_byz=2), "digits", Fingerprint("d" * 64))
    return earlier({"id": "", **new} | changes)


def test_an_old_record_is_read_as_todays(tmp_path):
    old = an_old_record()
    new = migrations.current(old)
    decides = records.identity(RunConfig(rule="nnm+krum", attack="gaussian", n_byz=2), "digits", Fingerprint("d" * 64))
    assert new == {"id": records.identifier(decides), **decides} and new["id"] != old["id"]
    assert old["rule_args"] == {"definition": "blanchard2017"} and old["attack_args"]["mode"] == "replace"
    (tmp_path / "failures.jsonl").write_text(json.dumps(old | {"failed": "MemoryError"}) + "\n")
    (failure,) = records.read(tmp_path / "failures.jsonl", fields=frozenset({"id", "failed"}))
    assert failure["id"] == new["id"]


def test_an_edited_record_keeps_an_id_that_is_not_its_own():
    old = an_old_record() | {"lr": 9.0}
    assert migrations.current(old)["id"] == old["id"]


# Folders


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("smoke+options=krum.definition=byzfl", {"options": ("krum.variant=byzfl",)}),
        ("smoke+options=alie.variant=krum", {"options": ("alie.supporters=all",)}),
        (
            "smoke+options=alie.formula=all-bulyan.theta=m-2f-2",
            {"options": ("bulyan.theta=m-2f-2", "alie.variant=krum")},
        ),
        (
            "smoke+quick+lr=0.25+options=mkrum.definition=byzfl",
            {"lr": (0.25,), "options": ("multi_krum.variant=byzfl",)},
        ),
    ],
)
def test_a_folder_under_an_old_name_stays_in_use(tmp_path, name, settings):
    quick = "+quick" in name
    base = plan.shortened(TABLES["smoke"]) if quick else TABLES["smoke"]
    table = plan.override(base, settings)
    fresh = folders.place(tmp_path, base, table, quick=quick)
    assert fresh.name != name
    (tmp_path / name).mkdir()
    assert folders.place(tmp_path, base, table, quick=quick) == tmp_path / name
    assert folders.place(tmp_path, base, plan.override(table, {"m": (5,)}), quick=quick).name != name
    fresh.mkdir()
    assert folders.place(tmp_path, base, table, quick=quick) == fresh


def test_an_old_config_is_read_under_todays_names(tmp_path):
    old = {"rules": ["mkrum", "aksel"], "options": ["mkrum.definition=byzfl", "aksel.mode=n-f"]}
    known = {"table": "smoke", "quick": False, "title": None, "labels": [], "plugins": [], "config": old}
    (tmp_path / "config.json").write_text(json.dumps(known))
    table = folders.read(tmp_path).table
    assert {k: v for k, v in table.base.items() if "." in k} == {"aksel.count": "m-f", "multi_krum.variant": "byzfl"}
    assert migrations.current_settings({"options": ["not an option"]}) == {"options": ["not an option"]}


@pytest.mark.parametrize(
    "options",
    [
        ("krum.variant=byzfl",),
        ("krum.variant=byzfl", "gaussian.sigma=200"),
        ("gaussian.sigma=2e2", "krum.variant=byzfl", "gaussian.noise=replace"),
    ],
)
def test_one_configuration_has_one_folder(tmp_path, options):
    table = plan.override(TABLES["smoke"], {"options": options})
    assert {name: value for name, value in table.base.items() if "." in name} == {"krum.variant": "byzfl"}
    name = "smoke+options=krum.variant=byzfl"
    assert folders.place(tmp_path, TABLES["smoke"], table, quick=False).name == name


# Fields that come later


@dataclasses.dataclass(frozen=True, kw_only=True)
class Later(RunConfig):
    """A run with a field more."""

    delay: int = dataclasses.field(default=0, metadata=LATER)


def test_a_later_field_counts_only_where_it_is_not_its_default(monkeypatch):
    data = Fingerprint("d" * 64)
    before = records.identity(RunConfig(), "digits", data)
    monkeypatch.setattr(identities, "RunConfig", Later)
    assert records.identity(Later(), "digits", data) == before
    after = records.identity(Later(delay=3), "digits", data)
    assert after == before | {"delay": 3}
    assert records.changes(before, after) == ["delay 0 -> 3"] and records.changes(after, before) == ["delay 3 -> 0"]
    old, new = ({"id": records.identifier(each), **each} for each in (before, after))
    assert records.config_of(old) == Later() and records.config_of(new) == Later(delay=3)
    assert records.matching([old, new], [("digits", Later())]) == [old]
    assert records.matching([old, new], [("digits", Later(delay=3))]) == [new]
