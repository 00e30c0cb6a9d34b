"""All members of the registries, read from the text of the files, since importing JAX takes seconds."""

import ast
from pathlib import Path
from typing import NamedTuple

import byzsim

FOLDERS = {"byzsim.experiments": Path(__file__).parents[1], "byzsim": Path(str(byzsim.__file__)).parent}
PACKAGES = {
    "aggregation rules": "byzsim.aggregators",
    "preaggregators, as in nnm+krum": "byzsim.preaggregators",
    "attacks": "byzsim.attacks",
    "modifiers of attacks, as in burst+alie": "byzsim.modifiers",
    "tasks": "byzsim.tasks",
    "models": "byzsim.models",
    "partitions": "byzsim.partitions",
    "data sets": "byzsim.experiments.datasets",
    "tables": "byzsim.experiments.tables",
}


class Member(NamedTuple):
    """One line of the listing."""

    name: str
    summary: str
    source: str


def everything() -> dict[str, list[Member]]:
    """Kind -> its members, in the order of their registry."""
    found = {kind: members(package) for kind, package in PACKAGES.items()}
    return {**found, "schedules": schedules()}


def schedules() -> list[Member]:
    """Ours, by their functions in the file that names them; and where to find those of optax."""
    functions = [node for node in _parsed(FOLDERS["byzsim"] / "schedules.py").body if isinstance(node, ast.FunctionDef)]
    ours = {node.name: (ast.get_docstring(node) or "").partition("\n")[0] for node in functions}
    named = [Member(name, ours[name], "byzsim") for name in ("step_decay", "piecewise")]
    optax = Member("..._schedule", "Every schedule of optax by its name, such as cosine_decay_schedule", "optax")
    return [Member("constant", "The learning rate as it is", "byzsim"), *named, optax]


def members(package: str) -> list[Member]:
    """The members that the package's import list names."""
    folder = next(FOLDERS[above] / name for above, _, name in [package.rpartition(".")])
    imports = [node for node in _parsed(folder / "__init__.py").body if isinstance(node, ast.ImportFrom)]
    names = [alias.name for node in imports if node.module == package for alias in node.names]
    return [_member(name, folder / f"{name}.py") for name in names]


def _member(name: str, file: Path) -> Member:
    """From `SPEC = Spec(factory, source="...", ...)`, whose source and summary or title are literals."""
    body = _parsed(file).body
    assigned = {ast.unparse(node.targets[0]): node.value for node in body if isinstance(node, ast.Assign)}
    spec = assigned["SPEC"]
    assert isinstance(spec, ast.Call)
    keywords = {word.arg: word.value for word in spec.keywords}
    summary = keywords.get("summary") or keywords.get("title")
    text = ast.literal_eval(summary) if summary else _first_line(body, spec)
    return Member(name, text, ast.literal_eval(keywords["source"]))


def _first_line(body: list[ast.stmt], spec: ast.Call) -> str:
    """The first line of the factory's docstring; the factory is the spec's first argument."""
    (made,) = (arg.id for arg in spec.args[:1] if isinstance(arg, ast.Name))
    factory = next(node for node in body if isinstance(node, ast.FunctionDef) and node.name == made)
    return (ast.get_docstring(factory) or "").partition("\n")[0]


def _parsed(file: Path) -> ast.Module:
    return ast.parse(file.read_text(encoding="utf-8"), str(file))
