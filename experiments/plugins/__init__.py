"""Members and tables of a user: modules and files that the user names, and only these, are imported."""

import dataclasses
import importlib
import importlib.util
import os
import sys
import traceback
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import ModuleType

from byzsim import Spec, check_shapes, register, registration
from byzsim.experiments import datasets
from byzsim.experiments.errors import UserError
from byzsim.experiments.plan import Table
from byzsim.experiments.plugins.sources import digest, is_own, sources
from byzsim.experiments.tables import TABLES
from byzsim.names import BUILT_IN

__all__ = ["digest", "load", "sources", "table_of"]

TAKEN = BUILT_IN | datasets.BUILT_IN
TABLES_BUILT_IN = frozenset(TABLES)


def load(plugins: Sequence[str]) -> dict[str, Spec | Table]:
    """Import modules and files, and register what they define.

    A module has `SPEC = Spec(...)`, one member that is called as its file, or `SPECS = {"name": Spec(...), ...}`, or
    both. The factory of a `Spec` says by what it makes whether the member is a rule, an attack, a model, a data set and
    so on: see `byzsim.register` and `byzsim.experiments.datasets.register`. In place of a `Spec` there may be a
    `Table`. What a module imports from modules beside it, as in `import my_rule`, is registered too.

    Args:
        plugins: names of modules in the current folder or on Python's path, or files that end in .py.
    Returns:
        The members and the tables, by name.
    Raises:
        UserError: a module is not found or cannot be imported, or a member cannot be used.
    """
    if plugins and os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())
    found: dict[str, tuple[ModuleType, Spec | Table]] = {}
    for plugin in plugins:
        for name, (module, spec) in _members(plugin, _imported(plugin)).items():
            if name in found and found[name][0] is not module:
                raise UserError(f"plugin {plugin}: {found[name][0].__name__} also defines {name!r}; rename one of them")
            if name not in found:
                _register(plugin, name, module, spec)
            found[name] = module, spec
    return {name: spec for name, (_, spec) in found.items()}


def table_of(file: str) -> Table:
    """The table that a file defines, with published numbers from a file beside it; its members are registered.

    Raises:
        UserError: the file defines none, or several.
    """
    module = _imported(file)
    load([file])
    tables = [spec for spec in _defined(module).values() if isinstance(spec, Table)]
    if len(tables) != 1:
        raise UserError(f"{file} defines {len(tables) or 'no'} tables; expected one, as SPEC = Table(...)")
    beside = Path(file).parent / tables[0].published if isinstance(tables[0].published, str | Path) else None
    return dataclasses.replace(tables[0], published=beside) if beside and beside.is_file() else tables[0]


def _register(plugin: str, name: str, module: ModuleType, spec: Spec | Table) -> None:
    try:
        if isinstance(spec, Table):
            if name in TABLES_BUILT_IN:
                raise ValueError(f"{name!r} is a table of byzsim's own; choose another name")
            TABLES[name] = spec
            return
        registration.check_name(name, TAKEN)
        registration.check_spec(name, spec)
        _register_member(name, spec._replace(digest=digest(module)))
    except ValueError as error:
        raise UserError(f"plugin {plugin}: {error}") from error


def _register_member(name: str, spec: Spec) -> None:
    try:
        made = registration.make(spec)
        if not datasets.is_data(made):
            return register(name, spec)
        datasets.register(name, made, summary=spec.summary, source=spec.source)
        registration.forget(name)
    except UserError:
        raise
    except Exception as error:  # the user's code may raise anything
        if isinstance(error, ValueError) and str(error).startswith(f"{name} cannot be used"):
            raise
        raise ValueError(f"{name} cannot be used: {check_shapes.words(error)}") from error


def _imported(plugin: str) -> ModuleType:
    if not (plugin.endswith(".py") or all(part.isidentifier() for part in plugin.split("."))):
        raise UserError(f"--plugins {plugin!r} is neither a module, such as my_rule, nor a file, such as my_rule.py")
    importlib.invalidate_caches()
    try:
        return _from_file(Path(plugin)) if plugin.endswith(".py") else importlib.import_module(plugin)
    except ModuleNotFoundError as error:
        if error.name and f"{plugin}.".startswith(f"{error.name}."):
            raise UserError(f"plugin {plugin}: no module {error.name!r} in this folder or on Python's path") from error
        raise UserError(f"plugin {plugin}: {_where(error)}: {error}") from error
    except SyntaxError as error:
        raise UserError(f"plugin {plugin}: {error.filename}, line {error.lineno}: {error.msg}") from error
    except UserError:
        raise
    except (Exception, SystemExit) as error:  # the user's code may raise anything
        raise UserError(f"plugin {plugin}: {_where(error)}: {type(error).__name__}: {error}") from error


def _from_file(path: Path) -> ModuleType:
    """A file as the module of its name; modules beside it can be imported by it."""
    path, name = path.expanduser().resolve(), path.stem
    if not path.is_file():
        raise UserError(f"there is no file {path}")
    if not name.isidentifier():
        raise UserError(f"{path.name} cannot be a module: expected letters, digits and _ before .py")
    loaded = sys.modules.get(name)
    if loaded is not None and Path(getattr(loaded, "__file__", None) or "").resolve() == path:
        return loaded
    if loaded is not None or name in sys.stdlib_module_names:
        raise UserError(f"{path.name} has the name of another module, {name!r}, which is in use; rename the file")
    if str(path.parent) not in sys.path:
        sys.path.append(str(path.parent))
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _where(error: BaseException) -> str:
    last = traceback.extract_tb(error.__traceback__)[-1]
    return f"{last.filename}, line {last.lineno}"


def _members(plugin: str, module: ModuleType) -> dict[str, tuple[ModuleType, Spec | Table]]:
    """What a module defines, and what the user's modules define that it has imported."""
    found = {name: (each, spec) for each in _modules(module, {}) for name, spec in _defined(each).items()}
    if not found:
        raise UserError(
            f"plugin {plugin}: neither {getattr(module, '__file__', None) or 'the folder'} nor a module that it "
            "imports defines SPEC = Spec(...) or SPECS = {...}"
        )
    return found


def _modules(module: ModuleType, seen: dict[str, ModuleType]) -> Iterator[ModuleType]:
    """The module and, before it, the user's own modules that it holds."""
    seen[module.__name__] = module
    for each in list(vars(module).values()):
        inside = isinstance(each, ModuleType) and each.__name__ not in seen
        if inside and is_own(each.__name__, module.__name__.partition(".")[0]):
            yield from _modules(each, seen)
    yield module


def _defined(module: ModuleType) -> dict[str, Spec | Table]:
    """Name -> member or table, of what the module itself defines."""
    several = vars(module).get("SPECS", {})
    if not isinstance(several, dict):
        raise UserError(f"SPECS of {module.__name__} is {several!r:.200}; expected {{'name': Spec(...), ...}}")
    single = [(module.__name__.rpartition(".")[2], vars(module)["SPEC"])] if "SPEC" in vars(module) else []
    return {spec.name if isinstance(spec, Table) else name: spec for name, spec in (*several.items(), *single)}
