"""What a table is, what a user may change about it, and the runs that follow."""

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
from byzsim.run_config import Momentum, Partition
from tyro.constructors import PrimitiveConstructorSpec

PAPER = Path(__file__).parent / "tables" / "published"
PARTS = ("rules", "attacks", "alphas", "seeds")  # which runs there are, not how they are run
MEMBERS = (AGGREGATORS, PREAGGREGATORS, ATTACKS, MODIFIERS)


def fraction(text: str) -> float:
    """A number, or a count of workers as a part of all: 0.2 or 2/10.

    Raises:
        ValueError: if it is neither.
    """
    try:
        part, slash, whole = text.partition("/")
        return int(part) / int(whole) if slash else float(text)
    except (ValueError, ArithmeticError):
        raise ValueError(f"{text!r} is neither a fraction such as 0.2 nor a part of all workers such as 2/10") from None


def _read_alpha(words: list[str]) -> float:
    try:
        return fraction(words[0])
    except ValueError as error:
        raise UserError(f"--alphas: {error}") from None  # tyro would say less


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
    """Everything about a table that can be changed on the command line."""

    rules: tuple[str, ...]
    """aggregation rules, the table's columns"""
    attacks: tuple[str, ...]
    """attacks, the table's rows"""
    alphas: tuple[Alpha, ...]
    """Byzantine fractions, such as 0.2 or, as a count of m workers, 2/11; alpha times m has to be whole"""
    seeds: tuple[int, ...] = (0,)
    """one run for each rule, attack, alpha and seed; the same seed means the same shards, batches and start"""
    data: str = "fashion_mnist"
    """data set"""
    model: str = "lenet"
    m: int = 20
    """workers"""
    declared: Literal["known", "bounded"] = "known"
    """the f that the rule is told: n_byz itself, or at most what its guarantee covers"""
    batch: int = 8
    """samples in a worker's batch"""
    epochs: int = 1
    steps: int | None = None
    """steps in an epoch; None: the whole shard"""
    lr: float = 0.03
    """server learning rate"""
    optimizer: str = "sgd"
    """the server's, a name in optax"""
    momentum: Momentum = "none"
    """the workers': "ema" v = beta v + (1 - beta) g, "classic" v = beta v + g"""
    momentum_beta: float = 0.9
    partition: Partition = "iid"
    """equal disjoint shards, uniform or with Dirichlet label skew"""
    dirichlet_alpha: float = 1.0
    """the skew: small is extreme"""
    options: tuple[str, ...] = ()
    """options of a rule, an attack or the model, such as krum.variant=byzfl gaussian.sigma=100 lenet.padding=0"""

    def __post_init__(self):
        counts = ((alpha, _count(alpha, self.m)) for alpha in self.alphas)
        object.__setattr__(self, "alphas", tuple(n / self.m if n else alpha for alpha, n in counts))

    def with_our_names(self) -> "Config":
        """Names of others, such as rfa, become ours, and options the fewest that say the same: so that equal settings
        are equal, however they were written. To be called when plugins are loaded, whose names go first."""
        rules, attacks = (tuple(map(canonical, names)) for names in (self.rules, self.attacks))
        return dataclasses.replace(self, rules=rules, attacks=attacks, options=canonical_options(self.options))


def changed(base: Config, config: Config) -> list[str]:
    """Settings of the runs that differ, in words such as "lr 0.03 -> 0.1"; which runs there are is none of them."""
    names = [field.name for field in dataclasses.fields(Config) if field.name not in PARTS]
    pairs = {name: (_value(base, name), _value(config, name)) for name in names}
    return [f"{name} {_text(a)} -> {_text(b)}" for name, (a, b) in pairs.items() if a != b]


def _value(config: Config, name: str) -> object:
    value = getattr(config, name)
    return sorted(value) if name == "options" else value


def _text(value: object) -> str:
    return (" ".join(map(str, value)) or "none") if isinstance(value, list) else str(value)


# (mean, sd, seeds, seeds that diverged, the paper's number), accuracies in percent -> the mark to print.
Verdict = Callable[[float, float, int, int, float], str]
Labels = Mapping[str, str]  # a rule's, attack's or verdict's name -> what is printed for it
NO_LABELS: Labels = MappingProxyType({})


def label(name: str, labels: Labels) -> str:
    """What is printed for a rule, attack or verdict: its label, or the name with spaces for underscores."""
    return labels.get(name, name.replace("_", " "))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Table:
    """A table of a paper, or of ours: what is run, and what it is compared with."""

    name: str
    title: str
    source: str
    """where the published numbers come from"""
    config: Config
    quick: Mapping[str, Any]
    """what `--quick` changes in the config"""
    verdict: Verdict
    """fixed before any run"""
    published: str | None = None
    """a file in experiments/tables/published with columns rule, attack, alpha, accuracy (percent), source"""
    labels: Labels = dataclasses.field(default_factory=dict)
    """how names are printed, and what the marks of `verdict` mean"""
    appendix: Callable[[pd.DataFrame, Labels], str] | None = None
    """a section of this table's own for its report, of the summary that is printed; "" where there is nothing to say"""

    def paper(self) -> pd.DataFrame | None:
        """The published numbers.

        Raises:
            UserError: for a file that is no table of these columns.
        """
        return None if self.published is None else _published(PAPER / self.published)


def _published(path: Path) -> pd.DataFrame:
    try:
        return pd.read_csv(path).astype({"rule": str, "attack": str, "alpha": float, "accuracy": float, "source": str})
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from None
    except (ValueError, KeyError) as error:
        words = str(error).strip("'\"\n ").partition("\n")[0]
        raise UserError(f"{path} is no table with columns rule, attack, alpha, accuracy, source: {words}") from None


TWINS = (
    ". A run has one variant of a name: run each by itself, with its --options NAME.variant=VARIANT, and compare the "
    "folders of results with byzsim diff"
)
NAMED = {"True": True, "False": False, "None": None}
SHARED = {field.name for field in dataclasses.fields(Config)} & {field.name for field in dataclasses.fields(RunConfig)}


def runs(config: Config, only: Sequence[str] = ()) -> list[RunConfig]:
    """One run for each seed, rule, attack and alpha, seeds outermost; the same run (alpha = 0) only once.

    Args:
        only: conditions such as "rule=krum,attack=gaussian"; several values of one key are alternatives.
    Raises:
        UserError: for a name, a number or a combination that cannot be run, or conditions that no run meets.
    """
    _refuse_twins(config)
    wanted = _conditions(only, config)
    unique: dict[str, RunConfig] = {}
    for seed, rule, attack, alpha in itertools.product(config.seeds, config.rules, config.attacks, config.alphas):
        place = {"seed": seed, "rule": rule, "attack": attack, "alpha": alpha}
        if all(place[key] in values for key, values in wanted.items()):
            run_config = _run_config(config, seed=seed, rule=rule, attack=attack, alpha=alpha)
            unique.setdefault(repr(run_config), run_config)
    if not unique:
        raise UserError("no run is left" + (f" that meets --only {' '.join(only)}" if only else ": a list is empty"))
    return list(unique.values())


def _refuse_twins(config: Config) -> None:
    for name in ("rules", "attacks", "alphas", "seeds"):
        values = getattr(config, name)
        twins = [value for i, value in enumerate(values) if value in values[:i]]
        if twins:
            more = TWINS if name in ("rules", "attacks") else ""
            raise UserError(f"--{name} has {twins[0]} twice{more}")


def _run_config(config: Config, *, seed: int, rule: str, attack: str, alpha: float) -> RunConfig:
    n_byz = workers(alpha, config.m)
    fields: dict[str, Any] = {name: getattr(config, name) for name in SHARED}
    fields |= {"rule": rule, "attack": attack if n_byz else "none", "n_byz": n_byz, "seed": seed}
    given = parse_options(config)
    for kind in ("rule", "attack", "model"):
        name = fields[kind]
        fields[f"{kind}_args"] = {
            k: v for part in dict.fromkeys((*name.split("+"), name)) for k, v in given.get(part, {}).items()
        }
    try:
        run_config = RunConfig(**fields)
        return (
            run_config
            if config.declared == "known"
            else dataclasses.replace(run_config, f=min(n_byz, run_config.max_f))
        )
    except ValueError as error:
        raise UserError(f"{error}{_own(rule, attack)}") from None


def _own(*names: str) -> str:
    """A hint, if one of these is not registered and a module of this folder."""
    parts = {part for name in names for part in name.split("+")} - {name for zoo in MEMBERS for name in zoo}
    files = [part for part in sorted(parts) if part.isidentifier() and Path(f"{part}.py").is_file()]
    return f" There is {files[0]}.py in this folder: --plugins {files[0]} makes its SPEC known." if files else ""


def workers(alpha: float, m: int) -> int:
    """alpha times m, which has to be a whole number of workers; 0.1818 is 2 of 11.

    Raises:
        UserError: if it is not, with the nearest fractions that are.
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
    """How many of m workers alpha is, as well as four digits of it can say; None if it is not whole."""
    if not 0 <= alpha <= 1:
        return None
    n = round(alpha * m)
    return n if abs(alpha * m - n) <= max(1e-6, min(5.001e-5 * m, 0.01)) else None


def parse_options(config: Config) -> dict[str, dict[str, Any]]:
    """{"gaussian": {"sigma": 100.0}} from ("gaussian.sigma=100",), for names that the config uses; variants resolved.

    Raises:
        UserError: for text of another form, or a name that nothing in the table has.
    """
    members = {*config.rules, *config.attacks, config.model}
    used = members | {part for name in members for part in name.split("+")}
    given = _split_options(config.options, used)
    return {name: _resolved(name, options) for name, options in given.items()}


def canonical_options(texts: Sequence[str]) -> tuple[str, ...]:
    """The options that say the same in one form: single ones for variants, defaults left out, in order.

    Where there is something about them that `parse_options` or a member refuses, they stay as they are.
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
    """The text that is read as this value: 100 for 100.0, of which an option that is a real number makes that again."""
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
    return {name: spec for zoo in (*MEMBERS, MODELS) for name, spec in zoo.items()}[name]


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
    for spec in (zoo[last] for zoo in (*MEMBERS, MODELS) if last in zoo):
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
    made = (zoo[name].factory for zoo in (*MEMBERS, MODELS) if name in zoo)
    return [each for make in made for each in inspect.signature(make).parameters.values()]


def _takes_text(parameter: inspect.Parameter) -> bool:
    hint = parameter.annotation
    if isinstance(hint, str):  # as the user wrote it, not evaluated
        return "str" in hint or "Literal" in hint
    return isinstance(parameter.default, str) or any(each is str for each in _types(hint))


def _types(hint: Any) -> Iterator[Any]:
    """The types that a hint allows, those of literals too."""
    if typing.get_origin(hint) is Literal:
        yield from map(type, typing.get_args(hint))
    else:
        yield hint
        for part in typing.get_args(hint):
            yield from _types(part)


def _literal(text: str) -> Any:
    """A number, True, False or None where `text` is one; nothing else is read as Python."""
    if text in NAMED:
        return NAMED[text]
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
    """The nearest of the known fractions, if two digits or more were given and are its own: 0.18 is 2/11; else none."""
    try:
        given = fraction(text)
    except ValueError:
        return []
    if not (math.isfinite(given) and known):
        return []
    digits = 0 if "/" in text else -int(Decimal(text).as_tuple().exponent)
    near = min(known, key=lambda each: abs(each - given))
    return [near] if abs(near - given) <= (0.5 * 0.1**digits if digits > 1 else 0) + 1e-9 else []
