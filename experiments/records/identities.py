"""What decides a run's result, as a hash; where a run stands in its table; and what has changed between two."""

import dataclasses
import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import jax
from byzsim import RunConfig
from byzsim.engine import NUMERICS
from byzsim.experiments.datasets import Dataset, Fingerprint
from byzsim.experiments.errors import UserError
from byzsim.names import own
from byzsim.run_config import later_fields

Record = dict[str, Any]
MATMUL = "highest"  # precision; an accelerator would take TF32 or bf16 without being asked
SETTINGS = ("enable_x64", "threefry_partitionable", "random_seed_offset")  # of JAX: move results


def identity(run_config: RunConfig, data_name: str, data: Dataset | Fingerprint) -> Record:
    """All that decides a run's result: the run with every default spelled out, data, numerics, precision.

    Raises:
        UserError: for a member from outside whose source is not known, as its records could not be told apart.
    """
    for name, source in own(run_config.rule, run_config.attack).items():
        if not source:
            raise UserError(
                f"{name} was registered without a digest of its source, by which records of its versions are told "
                "apart: put it into a module, and name that as a plugin"
            )
    settings = {name: getattr(jax.config, f"jax_{name}") for name in SETTINGS}
    return {
        **run_config.as_dict(),
        "data": data_name,
        "data_digest": data.digest,
        "numerics": NUMERICS,
        "jax": {"default_matmul_precision": MATMUL, **settings},
    }


def identifier(decides: Mapping[str, Any]) -> str:
    """A name for what `identity` gives; equal only if all of it is equal."""
    return hashlib.sha256(json.dumps(decides, sort_keys=True).encode()).hexdigest()[:16]


def deciding() -> list[str]:
    """The fields of a record by which its id is made, as far as it has them."""
    of_a_run = [field.name for field in dataclasses.fields(RunConfig)]
    return [*of_a_run, "alpha", "sources", "revisions", "data", "data_digest", "numerics", "jax"]


def spelled_out(found: Mapping[str, Any]) -> Record:
    """With the fields that it leaves out as they have their defaults: those that are `later` than others."""
    return {field.name: field.default for field in later_fields(RunConfig)} | dict(found)


def matching(found: Iterable[Record], runs: Iterable[RunConfig], data_name: str) -> list[Record]:
    """The records of these runs under any seed; of several for one run, the last."""
    wanted = {_key(run_config.as_dict(), data_name) for run_config in runs}
    latest: dict[tuple[str, int], Record] = {}
    for each in found:
        run_config = run_config_of(each)
        if (
            run_config
            and (key := _key(run_config.as_dict() | {"sources": each.get("sources")}, each.get("data"))) in wanted
        ):
            latest[key, each["seed"]] = each
    return list(latest.values())


def run_config_of(found: Record) -> RunConfig | None:
    """The run of a record; what an older record does not spell out has its default. None if there is no such run."""
    try:
        return RunConfig(
            **{field.name: found[field.name] for field in dataclasses.fields(RunConfig) if field.name in found}
        )
    except (TypeError, ValueError):
        return None


def _key(values: Mapping[str, Any], data_name: str | None) -> str:
    """Of all but the seed; `sources` are those that the record was made with, and not today's."""
    decides = {"sources": None, **values, "seed": None, "data": data_name}
    return json.dumps(decides, sort_keys=True)


Place = tuple[str, str, float, int]


def place(found: Mapping[str, Any]) -> Place:
    """Where a record stands in its table, whatever else decides it: rule, attack, alpha, seed."""
    return found["rule"], found["attack"], found["alpha"], found["seed"]


def label(where: Place) -> str:
    """A place as printed."""
    rule, attack, alpha, seed = where
    return f"{rule}, {attack}, alpha {alpha:.4g}, seed {seed}"


def changes(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """What decides the results of one record and not so of another, in words such as "lr 0.03 -> 0.1".

    Args:
        old, new: records, or what `identity` gives.
    """
    before, after = ({name: each[name] for name in deciding() if name in each} for each in map(spelled_out, (old, new)))
    pairs = dict(_pairs(before, after))
    absent = [name for name, pair in pairs.items() if ABSENT in pair]
    words = [f"{name} {_brief(a)} -> {_brief(b)}" for name, (a, b) in pairs.items() if name not in absent]
    return words + ([f"not recorded: {', '.join(absent)}"] if absent else [])


ABSENT = object()


def _pairs(old: Record, new: Record, prefix: str = "") -> Iterator[tuple[str, tuple[Any, Any]]]:
    """Name and both values of what differs; dictionaries are compared key by key."""
    for key in {**old, **new}:
        a, b = old.get(key, ABSENT), new.get(key, ABSENT)
        if isinstance(a, dict) and isinstance(b, dict):
            yield from _pairs(a, b, f"{prefix}{key}.")
        elif a != b:
            yield prefix + key, (a, b)


def _brief(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 40 else f"{text[:12]}..."
