"""A user's own rules and attacks: from modules that the user names, imported then and never otherwise."""

import ast
import hashlib
import importlib
import importlib.util
import os
import sys
import traceback
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import ModuleType

from byzsim import Spec, register
from byzsim.experiments.errors import UserError

INSTALLED = frozenset({"site-packages", "dist-packages"})
OURS = frozenset({"byzsim"})


def load(modules: Sequence[str]) -> dict[str, Spec]:
    """Import these modules, from this folder or Python's path, and register their members.

    A module that ends in `SPEC = Spec(...)` is one member, called as its file is; a package may also import several
    such modules of its own.

    Raises:
        UserError: a module that is not found or cannot be imported, or members that cannot be used.
    """
    if modules and os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())
    found: dict[str, Spec] = {}
    for name in modules:
        for member, module in _members(_imported(name)).items():
            if member in found:
                raise UserError(f"plugin {name}: another plugin has a {member!r} too; rename one of both")
            spec = module.SPEC
            try:
                register(member, spec._replace(digest=digest(module)) if isinstance(spec, Spec) else spec)
            except ValueError as error:
                raise UserError(f"plugin {name}: {error}") from error
            found[member] = spec
    return found


def _imported(name: str) -> ModuleType:
    if name.endswith(".py") or not all(part.isidentifier() for part in name.split(".")):
        raise UserError(f"--plugins {name!r} is no module name: for the file my_rule.py of this folder, give my_rule")
    importlib.invalidate_caches()
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name and f"{name}.".startswith(f"{error.name}."):
            raise UserError(f"plugin {name}: no module {error.name!r} in this folder or on Python's path") from error
        raise UserError(f"plugin {name}: {_where(error)}: {error}") from error
    except SyntaxError as error:
        raise UserError(f"plugin {name}: {error.filename}, line {error.lineno}: {error.msg}") from error
    except (Exception, SystemExit) as error:  # it is the user's code
        raise UserError(f"plugin {name}: {_where(error)}: {type(error).__name__}: {error}") from error


def _where(error: BaseException) -> str:
    last = traceback.extract_tb(error.__traceback__)[-1]
    return f"{last.filename}, line {last.lineno}"


def _members(module: ModuleType) -> dict[str, ModuleType]:
    inside = [each for each in vars(module).values() if isinstance(each, ModuleType)]
    inside = [each for each in inside if each.__name__.startswith(f"{module.__name__}.")]
    found = {each.__name__.rpartition(".")[2]: each for each in (module, *inside) if hasattr(each, "SPEC")}
    if not found:
        raise UserError(
            f"plugin {module.__name__}: {getattr(module, '__file__', None) or 'a folder'} has no "
            "SPEC = Spec(...), nor has a module of its own that it imports"
        )
    return found


def digest(module: ModuleType) -> str:
    """SHA-256 (hex) of the sources of a module and of all that it imports, installed packages and ours left out.

    Modules that are imported by computed names, and data files, are not seen.
    """
    total = hashlib.sha256()
    for name, source in sorted(sources(module.__name__).items()):
        total.update(f"{name} {len(source)};".encode() + source)
    return total.hexdigest()


def sources(name: str) -> dict[str, bytes]:
    """Of a module and of all that it imports, by module name; as `digest` counts them."""
    top, todo, found = name.partition(".")[0], [name], {}
    while todo:
        each = todo.pop()
        file = None if each in found else _file(each, top)
        if file:
            found[each] = file.read_bytes()
            if file.suffix == ".py":
                package = each if file.name == "__init__.py" else each.rpartition(".")[0]
                todo += _imports(ast.parse(found[each]), package)
    return found


def _file(name: str, top: str) -> Path | None:
    """Where a module of the user's is."""
    first = name.partition(".")[0]
    if first in sys.stdlib_module_names or first in OURS:
        return None
    try:
        spec = importlib.util.find_spec(name)
    except (ImportError, AttributeError, ValueError):
        return None  # an attribute, or an import that is tried and not needed
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
