"""Tables, their settings, and the runs that follow from the settings."""

import contextlib
import dataclasses
import inspect
import itertools
import math
import typing
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Literal

import pandas as pd
from byzsim import AGGREGATORS, ATTACKS, MODELS, MODIFIERS, PREAGGREGATORS, RunConfig, Spec
from byzsim.experiments.errors import UserError, unknown
from byzsim.names import attack_spec, canonical, rule_spec
from byzsim.options import options, resolved
from byzsim.partitions import PARTITIONS
from byzsim.run_config import Momentum
from tyro.constructors import PrimitiveConstructorSpec

PAPER = Path(__file__).parent / "tables" / "published"
AXES = ("rules", "attacks", "alphas", "seeds")  # these settings select runs; the others change them
MEMBERS = (AGGREGATORS, PREAGGREGATORS, ATTACKS, MODIFIERS)


def fraction(text: str) -> float:
    """Parse a fraction, written as a number or as a count of workers out of all: 0.2 or 2/10.

    Raises:
        ValueError: for any other text.
    """
    try:
        part, slash, whole = text.partition("/")
        return int(part) / int(whole) if slash else float(text)
    except (ValueError, ArithmeticError):
        raise ValueError(f"{text!r} is neither a number such as 0.2 nor a count of workers such as 2/10") from None


def _read_alpha(words: list[str]) -> float:
    try:
        return fraction(words[0])
    except ValueError as error:
        raise UserError(f"--alphas: {error}") from None  # tyro's own message would be shorter


Alpha = Annotated[
    float,
    PrimitiveConstructorSpec(
        nargs=1,
        metavar="FRACTION",
        instance_from_str=_read_alpha,
        is_instance=lambda given: isinstance(given, float | int),
        str_from_instance=lambda given: [f"{given:.4g}"],
    ),
]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """The settings of a table, all of which can be changed on the command line."""

    rules: tuple[str, ...]
    """aggregation rules, the table's columns"""
    attacks: tuple[str, ...]
    """attacks, the table's rows"""
    alphas: tuple[Alpha, ...]
    """Byzantine fractions, as a number (0.2) or as a count of m workers (2/11); alpha times m has to be whole"""
    seeds: tuple[int, ...] = (0,)
    """one run for each run; equal seeds give equal shards, batches and initial parameters in every run"""
    data: str = "fashion_mnist"
    """data set"""
    model: str = "lenet"
    m: int = 20
    """workers"""
    declared_f: Literal["true", "capped"] = "true"
    """the f that the rule is given: n_byz, or n_byz capped at the rule's guarantee"""
    batch: int = 8
    """samples in a worker's batch"""
    epochs: int = 1
    steps: int | None = None
    """steps in an epoch; None: the whole shard"""
    lr: float = 0.03
    """server learning rate"""
    optimizer: str = "sgd"
    """the server's optimizer, a name in optax"""
    momentum: Momentum = "none"
    """the workers' momentum: "ema" v = beta v + (1 - beta) g, "classic" v = beta v + g"""
    momentum_beta: float = 0.9
    partition: str = "iid"
    """how training data are dealt out to workers; its options are given as in dirichlet.alpha=0.1"""
    options: tuple[str, ...] = ()
    """options of a rule, an attack or the model, such as krum.variant=byzfl gaussian.sigma=100 lenet.padding=0"""

    def __post_init__(self):
        counts = ((alpha, _count(alpha, self.m)) for alpha in self.alphas)
        object.__setattr__(self, "alphas", tuple(n / self.m if n else alpha for alpha, n in counts))

    def in_canonical_form(self) -> "Config":
        """Replace aliases, such as rfa, by names, and shorten options to the fewest with the same meaning.

        So equal settings are equal, however they were written. To be called after plugins are loaded, whose names have
        priority over aliases.
        """
        rules, attacks = (tuple(map(canonical, names)) for names in (self.rules, self.attacks))
        return dataclasses.replace(self, rules=rules, attacks=attacks, options=canonical_options(self.options))


def changed(base: Config, config: Config) -> list[str]:
    """The changed settings of the runs, such as "lr 0.03 -> 0.1", without the settings that only select runs."""
    names = [field.name for field in dataclasses.fields(Config) if field.name not in AXES]
    pairs = {name: (_value(base, name), _value(config, name)) for name in names}
    return [f"{name} {_text(a)} -> {_text(b)}" for name, (a, b) in pairs.items() if a != b]


def _value(config: Config, name: str) -> object:
    value = getattr(config, name)
    return sorted(value) if name == "options" else value


def _text(value: object) -> str:
    return (" ".join(map(str, value)) or "none") if isinstance(value, list) else str(value)


# (mean, sd, number of seeds, number of diverged seeds, published number), accuracies in percent -> the printed mark.
Verdict = Callable[[float, float, int, int, float], str]
Labels = Mapping[str, str]  # name of a rule, attack or verdict -> printed text
NO_LABELS: Labels = MappingProxyType({})


def label(name: str, labels: Labels) -> str:
    """The printed text of a rule, attack or verdict: its label, or its name with spaces for underscores."""
    return labels.get(name, name.replace("_", " "))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Table:
    """A table of a paper or of this project: its runs, and the numbers that they are compared with."""

    name: str
    title: str
    source: str
    """source of the published numbers"""
    config: Config
    quick: Mapping[str, Any]
    """settings that `--quick` changes"""
    verdict: Verdict
    """fixed before any run"""
    published: str | None = None
    """a file in experiments/tables/published with columns rule, attack, alpha, accuracy (percent), source"""
    labels: Labels = dataclasses.field(default_factory=dict)
    """the printed text of names, and the meaning of the marks of `verdict`"""
    appendix: Callable[[pd.DataFrame, Labels], str] | None = None
    """makes an additional section of the report from the summary; "" for no section"""

    def paper(self) -> pd.DataFrame | None:
        """Read the published numbers.

        Raises:
            UserError: the file is not a table with these columns.
        """
        return None if self.published is None else _published(PAPER / self.published)


def _published(path: Path) -> pd.DataFrame:
    try:
        return pd.read_csv(path).astype({"rule": str, "attack": str, "alpha": float, "accuracy": float, "source": str})
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from None
    except (ValueError, KeyError) as error:
        words = str(error).strip("'\"\n ").partition("\n")[0]
        raise UserError(f"{path} is not a table with columns rule, attack, alpha, accuracy, source: {words}") from None


DUPLICATES = (
    ". A table has one variant of each name. To compare variants, run the table once for each, with --options "
    "NAME.variant=VARIANT, and compare the results folders with byzsim diff"
)
CONSTANTS = {"True": True, "False": False, "None": None}
SHARED = {field.name for field in dataclasses.fields(Config)} & {field.name for field in dataclasses.fields(RunConfig)}


def runs(config: Config, only: Sequence[str] = ()) -> list[RunConfig]:
    """One run for each seed, rule, attack and alpha, seeds outermost; the runs with alpha = 0 occur only once.

    Args:
        only: conditions such as "rule=krum,attack=gaussian"; values of one key are alternatives.
    Raises:
        UserError: for a name, a number or a combination that cannot be run, or conditions that no run meets.
    """
    _refuse_duplicates(config)
    wanted = _conditions(only, config)
    unique: dict[str, RunConfig] = {}
    for seed, rule, attack, alpha in itertools.product(config.seeds, config.rules, config.attacks, config.alphas):
        place = {"seed": seed, "rule": rule, "attack": attack, "alpha": alpha}
        if all(place[key] in values for key, values in wanted.items()):
            run_config = _run_config(config, seed=seed, rule=rule, attack=attack, alpha=alpha)
            unique.setdefault(repr(run_config), run_config)
    if not unique:
        raise UserError("no runs: " + (f"none meets --only {' '.join(only)}" if only else "a list is empty"))
    return list(unique.values())


def _refuse_duplicates(config: Config) -> None:
    for name in ("rules", "attacks", "alphas", "seeds"):
        values = getattr(config, name)
        duplicates = [value for i, value in enumerate(values) if value in values[:i]]
        if duplicates:
            more = DUPLICATES if name in ("rules", "attacks") else ""
            raise UserError(f"--{name} has {duplicates[0]} twice{more}")


def _run_config(config: Config, *, seed: int, rule: str, attack: str, alpha: float) -> RunConfig:
    n_byz = workers(alpha, config.m)
    fields: dict[str, Any] = {name: getattr(config, name) for name in SHARED}
    fields |= {"rule": rule, "attack": attack if n_byz else "none", "n_byz": n_byz, "seed": seed}
    given = parse_options(config)
    for kind in ("rule", "attack", "model", "partition"):
        name = fields[kind]
        fields[f"{kind}_args"] = {
            k: v for part in dict.fromkeys((*name.split("+"), name)) for k, v in given.get(part, {}).items()
        }
    try:
        run_config = RunConfig(**fields)
        return (
            run_config
            if config.declared_f == "true"
            else dataclasses.replace(run_config, f=min(n_byz, run_config.max_f))
        )
    except ValueError as error:
        raise UserError(f"{error}{_own(rule, attack)}") from None


def _own(*names: str) -> str:
    """A hint if one of the names is not registered but is a module in the current folder."""
    parts = {part for name in names for part in name.split("+")} - {name for zoo in MEMBERS for name in zoo}
    files = [part for part in sorted(parts) if part.isidentifier() and Path(f"{part}.py").is_file()]
    return f" This folder has {files[0]}.py: --plugins {files[0]} registers its SPEC." if files else ""


def workers(alpha: float, m: int) -> int:
    """alpha times m as a whole number of workers; 0.1818 counts as 2 of 11.

    Raises:
        UserError: it is not whole, with the nearest fractions that are.
    """
    if not 0 <= alpha <= 1:
        raise UserError(f"alpha={alpha:g} is not a fraction from 0 to 1")
    n_byz = _count(alpha, m)
    if n_byz is None:
        low = int(alpha * m)
        raise UserError(
            f"alpha={alpha:g} of m={m} is {alpha * m:g} workers, not a whole number. Try {low}/{m} or {low + 1}/{m}."
        )
    return n_byz


def _count(alpha: float, m: int) -> int | None:
    """The whole number of workers that alpha stands for, given four of its digits; None if there is none."""
    if not 0 <= alpha <= 1:
        return None
    n = round(alpha * m)
    return n if abs(alpha * m - n) <= max(1e-6, min(5.001e-5 * m, 0.01)) else None


def parse_options(config: Config) -> dict[str, dict[str, Any]]:
    """{"gaussian": {"sigma": 100.0}} from ("gaussian.sigma=100",), for names that the config uses; variants resolved.

    Raises:
        UserError: for text of another form, or a name that the table does not use.
    """
    members = {*config.rules, *config.attacks, config.model, config.partition}
    used = members | {part for name in members for part in name.split("+")}
    given = _split_options(config.options, used)
    return {name: _resolved(name, options) for name, options in given.items()}


def canonical_options(texts: Sequence[str]) -> tuple[str, ...]:
    """The options in a canonical form: variants as single options, without defaults, sorted.

    Options that `parse_options` or a member would reject stay unchanged.
    """
    try:
        return tuple(
            f"{name}.{option}={_shortest(value)}"
            for name, given in sorted(_split_options(texts).items())
            for option, value in sorted(_not_default(name, given).items())
        )
    except (ValueError, KeyError, UserError):
        return tuple(texts)


def _shortest(value: Any) -> str:
    """The shortest text that is parsed as this value: 100 for 100.0, which a real-valued option converts back."""
    text = f"{value:g}" if isinstance(value, float) else str(value)
    return text if not isinstance(value, float) or float(text) == value else repr(value)


def _not_default(name: str, given: Mapping[str, Any]) -> dict[str, Any]:
    spec = _spec(name)
    filled, defaults = options(name, spec, given), options(name, spec, {})
    return {option: value for option, value in filled.items() if value != defaults[option]}


def _spec(name: str) -> Spec:
    """The rule, attack, preaggregator, modifier or model of that name."""
    last = name.rpartition("+")[2]
    if "+" in name:
        return rule_spec(name) if last in AGGREGATORS else attack_spec(name)
    return {name: spec for zoo in (*MEMBERS, MODELS, PARTITIONS) for name, spec in zoo.items()}[name]


def _split_options(texts: Sequence[str], used: Collection[str] | None = None) -> dict[str, dict[str, Any]]:
    given: dict[str, dict[str, Any]] = {}
    for text in texts:
        target, equals, value = text.partition("=")
        name, dot, option = target.partition(".")
        name = canonical(name)
        if not (equals and dot and option and value):
            raise UserError(f"--options {text!r} is not of the form NAME.OPTION=VALUE, such as gaussian.sigma=100")
        if used is not None and name not in used:
            raise unknown("rule, attack or model of this table in --options", name, used)
        if option in given.setdefault(name, {}):
            raise UserError(f"--options has {name}.{option} twice")
        given[name][option] = _literal(value)
        _check_one(name, option, given[name][option])
    return given


def _resolved(name: str, given: dict[str, Any]) -> dict[str, Any]:
    """With a variant of a member, or of the last of several, as its options: each part has a variant of its own."""
    last = name.rpartition("+")[2]
    for spec in (zoo[last] for zoo in (*MEMBERS, MODELS, PARTITIONS) if last in zoo):
        try:
            return dict(resolved(name, spec.factory, spec.variants, given))
        except ValueError as error:
            raise UserError(f"--options: {error}") from None
    return given


def _check_one(name: str, option: str, value: Any) -> None:
    """A member that does not check its options itself is not to get words, or a list, for a number.

    Raises:
        UserError: for text where the option takes none, as far as its default and its annotation say.
    """
    for parameter in (each for part in name.split("+") for each in _parameters(part) if each.name == option):
        default = parameter.default
        kind = "True or False" if isinstance(default, bool) else "a number" if default is not None else "one value"
        if isinstance(value, str) and not _takes_text(parameter) and (default is not None or "," in value):
            raise UserError(
                f"{name}: {option}={value!r} is not {kind}: an option has one, as in --options "
                f"{name}.{option}={default}; another value is another run"
            )


def _parameters(name: str) -> list[inspect.Parameter]:
    """Of the factory of a member."""
    made = (zoo[name].factory for zoo in (*MEMBERS, MODELS, PARTITIONS) if name in zoo)
    return [each for make in made for each in inspect.signature(make).parameters.values()]


def _takes_text(parameter: inspect.Parameter) -> bool:
    hint = parameter.annotation
    if isinstance(hint, str):  # as the user wrote it, not evaluated
        return "str" in hint or "Literal" in hint
    return isinstance(parameter.default, str) or any(each is str for each in _types(hint))


def _types(hint: Any) -> Iterator[Any]:
    """The types that a hint allows, including those of literals."""
    if typing.get_origin(hint) is Literal:
        yield from map(type, typing.get_args(hint))
    else:
        yield hint
        for part in typing.get_args(hint):
            yield from _types(part)


def _literal(text: str) -> Any:
    """The number, True, False or None that the text is; any other text stays text."""
    if text in CONSTANTS:
        return CONSTANTS[text]
    for kind in (int, float):
        with contextlib.suppress(ValueError):
            return kind(text)
    return text


def _conditions(only: Sequence[str], config: Config) -> dict[str, set[Any]]:
    axes = {"rule": config.rules, "attack": config.attacks, "alpha": config.alphas, "seed": config.seeds}
    wanted: dict[str, set[Any]] = {}
    for text in itertools.chain.from_iterable(part.split(",") for part in only):
        key, equals, value = text.partition("=")
        if not equals:
            raise UserError(f"--only {text!r} is not of the form KEY=VALUE, such as rule=krum,attack=gaussian")
        if key not in axes:
            raise unknown("key in --only", key, axes)
        name = canonical(value) if key in ("rule", "attack") else value
        meant = _alpha(value, config.alphas) if key == "alpha" else [each for each in axes[key] if str(each) == name]
        if not meant:
            raise unknown(f"{key} in --only", value, (f"{x:.4g}" if key == "alpha" else str(x) for x in axes[key]))
        wanted.setdefault(key, set()).update(meant)
    return wanted


def _alpha(text: str, known: Sequence[float]) -> list[float]:
    """The nearest known fraction if at least two given digits agree with it (0.18 is 2/11); otherwise none."""
    try:
        given = fraction(text)
    except ValueError:
        return []
    if not (math.isfinite(given) and known):
        return []
    digits = 0 if "/" in text else -int(Decimal(text).as_tuple().exponent)
    near = min(known, key=lambda each: abs(each - given))
    return [near] if abs(near - given) <= (0.5 * 0.1**digits if digits > 1 else 0) + 1e-9 else []
