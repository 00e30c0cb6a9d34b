"""The sources of a user's members, by which the records of their versions are told apart."""

import ast
import hashlib
import importlib.util
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

from byzsim.experiments.plan import Table

INSTALLED = frozenset({"site-packages", "dist-packages"})
BUILT_IN_PACKAGES = frozenset({"byzsim"})


def digest(module: ModuleType) -> str:
    """SHA-256 (hex) of the sources of a module and of what it imports, without installed packages and byzsim.

    Modules that are imported by computed names, and data files, are not included. Of a module with a table, only what
    its members use is included: the table itself, and its functions such as the verdict, decide no run.
    """
    has_table = isinstance(getattr(module, "SPEC", None), Table)
    total = hashlib.sha256()
    for name, source in sorted(sources(module.__name__, without_table if has_table else lambda text: text).items()):
        total.update(f"{name} {len(source)};".encode() + source)
    return total.hexdigest()


def sources(name: str, part: Callable[[bytes], bytes] = lambda text: text) -> dict[str, bytes]:
    """The sources that `digest` includes, by module name.

    Args:
        part: what of the first module counts, from its text.
    """
    top, todo, found = name.partition(".")[0], [name], {}
    while todo:
        each = todo.pop()
        file = None if each in found else _file(each, top)
        if file:
            text = file.read_bytes()
            found[each] = part(text) if each == name else text
            if file.suffix == ".py":
                package = each if file.name == "__init__.py" else each.rpartition(".")[0]
                todo += _imports(ast.parse(found[each]), package)
    return found


def is_own(name: str, top: str) -> bool:
    """Whether a module is the user's, and not of Python, byzsim or an installed package other than `top`."""
    return _file(name, top) is not None


def without_table(text: bytes) -> bytes:
    """The statements of a module that its SPECS use, however indirectly, and those that define nothing."""
    body = ast.parse(text).body
    bound = [_bound(statement) for statement in body]
    kept, todo = set(), [i for i, names in enumerate(bound) if not names or "SPECS" in names]
    while todo:
        i = todo.pop()
        if i not in kept:
            kept.add(i)
            used = {node.id for node in ast.walk(body[i]) if isinstance(node, ast.Name)}
            todo += [j for j, names in enumerate(bound) if names & used]
    lines = text.splitlines(keepends=True)
    return b"".join(b"".join(lines[_first_line(body[i]) - 1 : body[i].end_lineno]) for i in sorted(kept))


def _bound(statement: ast.stmt) -> set[str]:
    """The names that a definition, an assignment or an import defines; none for any other statement."""
    if isinstance(statement, ast.FunctionDef | ast.ClassDef):
        return {statement.name}
    if isinstance(statement, ast.Import | ast.ImportFrom):
        return {(alias.asname or alias.name).partition(".")[0] for alias in statement.names} - {"*"}
    if isinstance(statement, ast.Assign | ast.AnnAssign | ast.AugAssign):
        targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
        nodes = [node for target in targets for node in ast.walk(target) if isinstance(node, ast.Name)]
        return {node.id for node in nodes if isinstance(node.ctx, ast.Store)}
    return set()


def _first_line(statement: ast.stmt) -> int:
    return min([statement.lineno, *(each.lineno for each in getattr(statement, "decorator_list", ()))])


def _file(name: str, top: str) -> Path | None:
    """The file of a module; None for modules that are not the user's."""
    first = name.partition(".")[0]
    if first in sys.stdlib_module_names or first in BUILT_IN_PACKAGES:
        return None
    try:
        spec = importlib.util.find_spec(name)
    except (ImportError, AttributeError, ValueError):
        return None  # an attribute, or an optional import
    if spec is None or not spec.has_location or not spec.origin:
        return None
    path = Path(spec.origin)
    return None if first != top and INSTALLED & set(path.parts) else path


def _imports(tree: ast.AST, package: str) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                base = importlib.util.resolve_name("." * node.level + base, package)
            yield base
            yield from (f"{base}.{alias.name}" for alias in node.names)
