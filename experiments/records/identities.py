"""The identity of a run as a hash, its key in a table, and the differences between two runs."""

import dataclasses
import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import jax
from byzsim import RunConfig
from byzsim.engine import NUMERICS
from byzsim.experiments.datasets import Dataset, Fingerprint
from byzsim.experiments.errors import UserError
from byzsim.names import own
from byzsim.run_config import later_fields

Record = dict[str, Any]
MATMUL = "highest"  # precision of matrix products; the default of an accelerator is TF32 or bf16
SETTINGS = ("enable_x64", "threefry_partitionable", "random_seed_offset")  # of JAX, which change results


def identity(run_config: RunConfig, data_name: str, data: Dataset | Fingerprint) -> Record:
    """Everything that decides a run's result: its configuration with all defaults, data, numerics, precision.

    Raises:
        UserError: a member was registered without a digest of its source, which identifies its version.
    """
    for name, source in own(*run_config.members).items():
        if not source:
            raise UserError(
                f"{name} was registered without a digest of its source, so records of its versions could not be "
                "distinguished: put it into a module and name the module with --plugins"
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
    """A hash of an identity."""
    return hashlib.sha256(json.dumps(decides, sort_keys=True).encode()).hexdigest()[:16]


def deciding() -> list[str]:
    """The fields of a record that its identifier is made of, if the record has them."""
    of_a_run = [field.name for field in dataclasses.fields(RunConfig)]
    return [*of_a_run, "alpha", "sources", "revisions", "data", "data_digest", "numerics", "jax"]


def spelled_out(found: Mapping[str, Any]) -> Record:
    """Add the `later` fields that a record leaves out, with their defaults."""
    return later_fields(RunConfig) | dict(found)


def matching(found: Iterable[Record], runs: Iterable[tuple[str, RunConfig]]) -> list[Record]:
    """The records of these runs, of (data set, configuration), under any seed; of several for one run, the last."""
    wanted = {run_id(*run) for run in runs}
    latest = {(key, each["seed"]): each for each in found if (key := run_id_of(each)) in wanted}
    return list(latest.values())


def config_of(found: Mapping[str, Any]) -> RunConfig | None:
    """The configuration of a record, with defaults for missing fields; None if this version has no such run."""
    try:
        return RunConfig(
            **{field.name: found[field.name] for field in dataclasses.fields(RunConfig) if field.name in found}
        )
    except (TypeError, ValueError):
        return None


def run_id(data_name: str, run_config: RunConfig) -> str:
    """What a run is, but for its seed and for the versions of data and code."""
    return _text(run_config.as_dict(), data_name)


def run_id_of(found: Mapping[str, Any]) -> str | None:
    """`run_id` of the run of a record, with the sources that it was made with; None if there is no such run."""
    run_config = config_of(found)
    if run_config is None:
        return None
    return _text(run_config.as_dict() | {"sources": found.get("sources")}, found.get("data"))


def _text(values: Mapping[str, Any], data_name: str | None) -> str:
    return json.dumps({"sources": None, **values, "seed": None, "data": data_name}, sort_keys=True)


RunKey = tuple[Any, ...]
"""rule, attack, alpha, seed, and the values of further fields by which the runs of a table differ"""
AXES = ("rule", "attack", "alpha", "seed")
KINDS = ("rule", "attack", "task", "model", "partition", "schedule", "optimizer")
"""fields whose values have options, in the field KIND_args"""


def key_of(found: Mapping[str, Any], further: Sequence[str] = ()) -> RunKey:
    """What tells the runs of a table apart; runs with the same key may differ in other settings.

    Args:
        found: a record, or what `identity` gives.
        further: fields, from `plan.further_fields`.
    """
    spelled = spelled_out(found) if further else found
    return tuple(spelled[name] for name in AXES) + tuple(_hashable(_value(spelled, name)) for name in further)


def _value(found: Mapping[str, Any], name: str) -> Any:
    """Of a field, or of an option such as "krum.variant"; None for an option of what the run does not have."""
    member, dot, option = name.rpartition(".")
    if not dot:
        return found.get(name)
    kinds = {"local_optimizer": f"local_{found.get('local_optimizer')}"} | {kind: found.get(kind) for kind in KINDS}
    args = [found.get(f"{kind}_args") or {} for kind, own in kinds.items() if own and member in (own, *own.split("+"))]
    return next((each[option] for each in args if option in each), None)


def _hashable(value: Any) -> Any:
    return json.dumps(value, sort_keys=True) if isinstance(value, dict | list | tuple) else value


def label(key: RunKey, further: Sequence[str] = ()) -> str:
    """A key as printed, without options of what the run does not have."""
    rule, attack, alpha, seed, *others = key
    pairs = zip(further, others, strict=True)
    words = [f"{name} {value}" for name, value in pairs if "." not in name or value is not None]
    return ", ".join([rule, attack, f"alpha {alpha:.4g}", f"seed {seed}", *words])


def changes(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """The differences in what decides two results, such as "lr 0.03 -> 0.1".

    Args:
        old, new: records or identities.
    """
    before, after = ({name: each[name] for name in deciding() if name in each} for each in map(spelled_out, (old, new)))
    pairs = dict(_pairs(before, after))
    absent = [name for name, pair in pairs.items() if ABSENT in pair]
    words = [f"{name} {_brief(a)} -> {_brief(b)}" for name, (a, b) in pairs.items() if name not in absent]
    return words + ([f"not recorded: {', '.join(absent)}"] if absent else [])


ABSENT = object()


def _pairs(old: Record, new: Record, prefix: str = "") -> Iterator[tuple[str, tuple[Any, Any]]]:
    """Name and both values of each difference; dictionaries are compared key by key."""
    for key in {**old, **new}:
        a, b = old.get(key, ABSENT), new.get(key, ABSENT)
        if isinstance(a, dict) and isinstance(b, dict):
            yield from _pairs(a, b, f"{prefix}{key}.")
        elif a != b:
            yield prefix + key, (a, b)


def _brief(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 40 else f"{text[:12]}..."
