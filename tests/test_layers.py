"""The shape of the code itself: what `sim` may import, and what a file of a zoo looks like."""

import ast
import importlib
import inspect
import re
import sys
from pathlib import Path

import byzsim
import pytest

ROOT = Path(byzsim.__file__).parent
FILES = sorted(ROOT.rglob("*.py"))
ZOOS = {"aggregators": byzsim.AGGREGATORS, "attacks": byzsim.ATTACKS, "models": byzsim.MODELS}
MEMBERS = [path for path in FILES if path.parent.name in ZOOS and not path.name.startswith("_")]
ALLOWED = {"byzsim", "jax", "flax", "optax", "numpy", "jaxtyping"} | sys.stdlib_module_names


def name(path):
    return str(path.relative_to(ROOT))


def tree(path):
    return ast.parse(path.read_text(encoding="utf-8"))


def imported(path):
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative import"
            yield node.module


@pytest.mark.parametrize("path", FILES, ids=name)
def test_the_core_imports_little(path):
    assert {module.partition(".")[0] for module in imported(path)} <= ALLOWED


EXPERIMENTS = ROOT.parent / "experiments"
# From the ground up: each imports only from those before it, and from itself.
ROOMS = [
    "errors",
    "arguments",
    "files",
    "datasets",
    "partitioning",
    "meanings",
    "detection",
    "slopes",
    "plan",
    "tables",
    "plugins",
    "records",
    "run",
    "report",
    "results",
    "catalogue",
    "bench",
    "cli",
    "interactive",
    "site",
]
# What help and the listing need, and what is tested without JAX.
LIGHT = [
    "errors",
    "cli/__init__",
    "cli/help",
    "cli/listing",
    "cli/output",
    "cli/commands/__init__",
    "cli/commands/list",
]
LIGHT += ["run/__init__", "run/interrupt", "run/schedule", "run/estimate"]


@pytest.mark.parametrize("path", sorted(EXPERIMENTS.rglob("*.py")), ids=lambda p: str(p.relative_to(EXPERIMENTS)))
def test_rooms_of_the_harness_have_no_arrow_upward(path):
    room = path.relative_to(EXPERIMENTS).with_suffix("").parts[0]
    if room in ROOMS:  # and not the package's own two files
        modules = [node.module for node in ast.walk(tree(path)) if isinstance(node, ast.ImportFrom)]
        inside = [module.removeprefix("byzsim.experiments.").partition(".")[0] for module in modules if module]
        direct = [alias.name for node in ast.walk(tree(path)) if isinstance(node, ast.ImportFrom)
                  and node.module == "byzsim.experiments" for alias in node.names]  # fmt: skip
        used = {each for each in (*inside, *direct) if each in ROOMS}
        assert used <= {*ROOMS[: ROOMS.index(room) + 1]}


def test_every_room_has_its_place():
    rooms = {path.stem for path in EXPERIMENTS.iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()}
    assert rooms - {"__init__", "__main__"} == {*ROOMS}


@pytest.mark.parametrize("name", LIGHT)
def test_what_is_light_imports_neither_jax_nor_the_core(name):
    body = tree(EXPERIMENTS / f"{name}.py").body
    modules = {node.module for node in body if isinstance(node, ast.ImportFrom)}
    modules |= {alias.name for node in body if isinstance(node, ast.Import) for alias in node.names}
    known = {"byzsim", *(f"byzsim.experiments.{part}" for part in ("cli", "cli.help", "cli.listing", "errors", "run"))}
    assert {each for each in modules if each.partition(".")[0] not in sys.stdlib_module_names} <= known


@pytest.mark.parametrize("path", sorted(EXPERIMENTS.rglob("*.py")), ids=lambda path: path.name)
def test_text_has_an_encoding_of_its_own(path):
    """Not the locale's: files are read by others, in other places."""
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func).rpartition(".")[2]
            given = {word.arg: ast.unparse(word.value) for word in node.keywords}
            mode = given.get("mode") or " ".join(ast.unparse(arg) for arg in node.args[:2])
            binary = called == "open" and ("b'" in mode or "tarfile" in ast.unparse(node.func))
            text = called in ("read_text", "write_text", "fdopen", "TextIOWrapper") or (called == "open" and not binary)
            known = ("os.open", "gzip.open", "stored.open", "Pillow.open")  # numbers and bytes
            if (text and ast.unparse(node.func) not in known) or "text" in given or "universal_newlines" in given:
                assert "encoding" in given, f"line {node.lineno}"


@pytest.mark.parametrize("path", MEMBERS, ids=name)
def test_members_do_not_know_each_other(path):
    others = {f"byzsim.{other.parent.name}.{other.stem}" for other in MEMBERS}
    rooms = ("byzsim.engine", "byzsim.grid", "byzsim.oneshot", "byzsim.api")
    assert not set(imported(path)) & others and not any(module.startswith(rooms) for module in imported(path))


@pytest.mark.parametrize("path", MEMBERS, ids=name)
def test_a_file_is_registered_under_its_name(path):
    spec = ZOOS[path.parent.name][path.stem]
    assert spec.factory.__name__ == path.stem
    assert importlib.import_module(f"byzsim.{path.parent.name}.{path.stem}").SPEC is spec


@pytest.mark.parametrize("zoo", ZOOS)
def test_nothing_else_is_registered(zoo):
    assert set(ZOOS[zoo]) == {path.stem for path in MEMBERS if path.parent.name == zoo}


@pytest.mark.parametrize("path", FILES, ids=name)
def test_modules_and_public_functions_have_docstrings(path):
    module = tree(path)
    assert ast.get_docstring(module)
    public = [
        node
        for node in module.body
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_")
    ]
    models = "models" in path.parts  # a Flax module is described by its factory
    missing = [n.name for n in public if not ast.get_docstring(n) and not (models and isinstance(n, ast.ClassDef))]
    assert not missing


MOST_OPEN = 23  # may only shrink


def test_open_verifications_are_one_list():
    """Each row of docs/open-verifications.md has words of its file; no docstring has asides on what is not verified."""
    text = {path.relative_to(ROOT).as_posix(): " ".join(path.read_text(encoding="utf-8").split()) for path in FILES}
    page = (ROOT.parent / "docs" / "open-verifications.md").read_text(encoding="utf-8")
    _, _, *rows = [line.strip("| ").split(" | ") for line in page.splitlines() if line.startswith("| ")]
    assert all(len(row) == 4 and all(row) for row in rows) and len(rows) <= MOST_OPEN
    assert not [(file, words) for file, words, _, _ in rows if words.strip("`") not in text[file]]
    assert not [name for name, said in text.items() if re.search(r"from memory|not verified", said, re.IGNORECASE)]


HEADINGS = ("Args", "Returns", "Raises", "Tolerates", "Cost", "Notes", "References")
REGISTRIES = (*ZOOS.values(), byzsim.PREAGGREGATORS, byzsim.MODIFIERS)
DOCUMENTED = [(name, spec) for members in REGISTRIES for name, spec in members.items()]


@pytest.mark.parametrize(("name", "spec"), DOCUMENTED, ids=[name for name, _ in DOCUMENTED])
def test_docstrings_of_members_have_one_order(name, spec):
    """A summary, formulas in fences, then the sections in the order of `HEADINGS`, of which Args has every option."""
    doc = inspect.getdoc(spec.factory)
    summary, _, rest = doc.partition("\n")
    assert summary.endswith((".", ")")) and (not rest or rest.startswith("\n"))
    assert doc.count("```") % 2 == 0 and doc.count("```text\n") == doc.count("```") // 2
    outside = re.sub(r"```text\n.*?```", "", doc, flags=re.DOTALL)
    found = re.findall(r"^(\w+)(?: \([^)]*\))?:", outside, re.MULTILINE)
    assert found == [heading for heading in HEADINGS if heading in found]
    parts = re.split(rf"^(?:{'|'.join(HEADINGS)}):\n", outside, flags=re.MULTILINE)
    assert len(parts) == len(found) + 1 and all(part.startswith("    ") for part in parts[1:])  # on a line of its own
    before = parts[0]
    assert not [line for line in before.splitlines() if line.startswith("    ")]  # a formula stands in a fence
    args = parts[1 + found.index("Args")] if "Args" in found else ""
    described = {each for names in re.findall(r"^    (\w[\w, ]*): ", args, re.MULTILINE) for each in names.split(", ")}
    assert described == set(inspect.signature(spec.factory).parameters)
    for text in re.split(r"^    (?=\w)", args, flags=re.MULTILINE)[1:]:
        assert re.search(r"\b([Ss]tatic|[Tt]raced)\b", text), text


@pytest.mark.parametrize("zoo", ZOOS)
def test_a_submodule_is_not_hidden_by_its_factory(zoo):
    """`byzsim.aggregators.krum` is the module; the factory is `AGGREGATORS["krum"].factory`."""
    package = importlib.import_module(f"byzsim.{zoo}")
    for member in ZOOS[zoo]:
        assert getattr(package, member) is sys.modules[f"byzsim.{zoo}.{member}"]
