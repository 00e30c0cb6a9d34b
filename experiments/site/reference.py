"""The reference: every public name from its docstring, and every command from its own help."""

import contextlib
import io
import os
from pathlib import Path

import byzsim
import griffe
from byzsim import experiments
from byzsim.experiments import cli
from byzsim.experiments.cli.help import HELP, USAGE
from byzsim.experiments.errors import UserError
from byzsim.experiments.site.markup import code

PACKAGES = {"byzsim": byzsim, "byzsim.experiments": experiments}
GROUPS = {
    "reference/calls.md": ("Calls", "byzsim", "function"),
    "reference/types.md": ("Types", "byzsim", "class"),
    "reference/registries.md": ("Registries", "byzsim", "attribute"),
    "reference/ops.md": ("byzsim.ops", "byzsim.ops", ""),
    "reference/testing.md": ("byzsim.testing", "byzsim.testing", ""),
    "reference/experiments.md": ("byzsim.experiments", "byzsim.experiments", ""),
}
FACTORIES = (
    "Every factory of a rule, preaggregator, attack or modifier is public under its name too, as `byzsim.krum`: the "
    "[catalogue](../catalogue/index.md) has each with its options."
)
LONG = ("run", "report", "verify")  # their options are those of a table


def pages(sources: Path) -> dict[str, str]:
    """Address -> Markdown. `sources` has the folders byzsim and byzsim/experiments, as griffe looks for them.

    Raises:
        UserError: a public name has no docstring.
    """
    loaded = griffe.load("byzsim", search_paths=[sources], try_relative_path=False)
    homes = _homes()
    missing = [name for name, home in homes.items() if not _described(loaded, home)]
    if missing:
        raise UserError(
            f"public names without a docstring: {', '.join(missing)}. Write one: the reference has every name"
        )
    found = {"reference/cli.md": _commands()}
    for address, (title, package, kind) in GROUPS.items():
        chosen = {
            name: home
            for name, home in homes.items()
            if name.rpartition(".")[0] == package and (not kind or _object(loaded, home).kind.value == kind)
        }
        intro = "" if kind else f"::: {package}\n    options:\n      members: false\n      show_root_heading: false\n"
        intro = FACTORIES if title == "Registries" else intro
        parts = [f"# {title}", intro, *(f"::: {home}" for home in chosen.values())]
        found[address] = "\n\n".join(part for part in parts if part) + "\n"
    return found


def _homes() -> dict[str, str]:
    """Public name -> where it is defined."""
    found = {}
    for package, module in PACKAGES.items():
        for name, home in module.HOMES.items():
            found[f"{package}.{name}"] = ".".join(filter(None, (package, home, name)))
    for part in ("ops", "testing"):
        found |= {f"byzsim.{part}.{name}": f"byzsim.{part}.{name}" for name in getattr(byzsim, part).__all__}
    return found


def _object(loaded: griffe.Object | griffe.Alias, home: str) -> griffe.Object | griffe.Alias:
    found = loaded[home.removeprefix("byzsim.")]
    return found.final_target if isinstance(found, griffe.Alias) else found


def _described(loaded: griffe.Object | griffe.Alias, home: str) -> bool:
    return _object(loaded, home).docstring is not None


def _commands() -> str:
    parts = ["# Command line", "Each command's own help.", code(USAGE, "text")]
    for name, text in HELP.items():
        options = [] if name == "list" else [*([name, "smoke"] if name in LONG else [name]), "--help"]
        parts += [f"## byzsim {name}", code(text, "text")]
        if options and (shown := _help(options).removeprefix(text).strip()):
            title = f"Options of `byzsim {' '.join(options[:-1])}`"
            parts.append(
                f'??? abstract "{title}"\n\n' + "\n".join(f"    {line}" for line in code(shown, "text").splitlines())
            )
    return "\n\n".join(parts) + "\n"


def _help(args: list[str]) -> str:
    """What a command prints, at a width that fits a page."""
    said, width = io.StringIO(), os.environ.get("COLUMNS")
    os.environ["COLUMNS"] = "100"
    try:
        with contextlib.redirect_stdout(said), contextlib.suppress(SystemExit):
            if failed := cli.main(args):
                raise UserError(f"byzsim {' '.join(args)} ends with exit code {failed}")
    finally:
        os.environ.pop("COLUMNS")
        os.environ |= {"COLUMNS": width} if width else {}
    return said.getvalue()
