"""The command `byzsim`: exit codes, errors in one line, and the choice of a command.

Nothing slow is imported here, so that help, the listing and misspelt commands are answered without JAX.
"""

import importlib
import importlib.metadata
import io
import os
import re
import sys
import traceback
from collections.abc import Sequence

from byzsim.experiments.cli import listing, output
from byzsim.experiments.cli.help import HELP, OPTIONS, USAGE
from byzsim.experiments.errors import Incomplete, UserError, unknown
from byzsim.experiments.run import interrupt

HELP_FLAGS = {"-h", "--help"}
COMMANDS = tuple(HELP)
TABLE_FIRST = ("run", "report", "verify")
WRITE_FILES = frozenset({"run", "report", "zoo", "angles", "bench"})  # commands whose results are files

ENVIRONMENT = {
    "MPLBACKEND": "agg",  # figures are files, which need no display
    "JAX_NUMPY_DTYPE_PROMOTION": "standard",  # stricter settings would reject code that was not written for them
    "JAX_NUMPY_RANK_PROMOTION": "allow",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Return the exit code: 0: done; 1: differs or failed; 2: invalid input; 70: an error in byzsim; 130: Ctrl-C."""
    args = list(sys.argv[1:] if argv is None else argv)
    debug = "--debug" in args
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a path may not fit the terminal's encoding
    try:
        return _command([each for each in args if each != "--debug"]) or 0
    except KeyboardInterrupt as stopped:
        print(f"\n{str(stopped) or interrupt.MESSAGE}", file=sys.stderr)
        return interrupt.EXIT_CODE
    except Exception as error:
        if debug:
            traceback.print_exc()
        code, message = _explained(error)
        print(f"byzsim: {message}", file=sys.stderr)
        return code


def _explained(error: Exception) -> tuple[int, str]:
    """(exit code, message)"""
    if setting := _setting(error):
        return 2, setting
    if isinstance(error, UserError | Incomplete):
        return 1 if isinstance(error, Incomplete) else 2, str(error)
    if isinstance(error, ModuleNotFoundError):
        return 2, _not_installed(error.name or "")
    first = str(error).strip().partition("\n")[0]
    if isinstance(error, MemoryError) or "RESOURCE_EXHAUSTED" in first:
        return 2, f"out of memory ({first}). Try fewer workers, smaller batches or a smaller model."
    return 70, (
        f"{type(error).__name__}: {first}. This is an error in byzsim, or in a plugin if one was named; records are "
        "safe. Please report it with the command and the traceback, which --debug shows."
    )


def _not_installed(module: str) -> str:
    """How to get a missing module of byzsim; `plugins.load` explains those of plugins."""
    if module.startswith("byzsim.experiments.bench"):
        return "an installed byzsim has no benchmarks: use a checkout of byzsim, after `make setup`"
    return f"the command byzsim needs {module}, which is not installed: pip install 'byzsim[experiments]'"


def _setting(error: BaseException) -> str | None:
    """If an environment variable of JAX causes the error: which, and what to do."""
    while error.__cause__:
        error = error.__cause__  # the check of a plugin may be the first use of a device
    if isinstance(error, UserError | Incomplete):
        return None
    message = str(error)
    for name, value in os.environ.items():
        if name.startswith("JAX_") and re.search(f"(flag|environment) '?{name}\\b", message, re.IGNORECASE):
            return f"JAX rejects the environment variable {name}={value}: {message.strip()}. Unset or correct it."
    for name in ("JAX_PLATFORMS", "JAX_PLATFORM_NAME"):
        if os.environ.get(name) and "jax" in sys.modules and not _has_device():
            return (
                f"the environment variable {name}={os.environ[name]} names a device that JAX does not find. Unset it, "
                f"set {name}=cpu, or install the device's libraries (byzsim[cuda] or byzsim[tpu])."
            )
    return None


def _has_device() -> bool:
    try:
        return bool(sys.modules["jax"].devices())
    except Exception:  # JAX raises an assertion or a RuntimeError
        return False


def script() -> None:
    """Run the process `byzsim`; it ends with the exit code of `main`."""
    interrupt.is_cli_process = True
    output.guard()
    os.environ.update(ENVIRONMENT)  # before JAX and Matplotlib read it
    try:
        code = main()
    except SystemExit as end:  # tyro raises it after its help
        code = int(end.code or 0)
    code = _printed(code)
    interrupt.exit_process(code)


def _printed(code: int) -> int:
    """The exit code; 1 instead of 0 if a result that is only printed could not be printed."""
    reason = output.lost()
    if reason:
        print(f"byzsim: not all output could be printed: {reason}", file=sys.stderr)
    command = next((arg for arg in sys.argv[1:] if arg != "--debug"), "")
    return code or int(bool(reason) and command not in WRITE_FILES)


def _command(args: list[str]) -> int | None:
    if not args or args == ["help"] or args[0] in HELP_FLAGS:
        print(USAGE)
        return None
    if args[0] == "--version":
        print(f"byzsim {importlib.metadata.version('byzsim')}")
        return None
    if args[0] == "help":
        args = [*args[1:], "--help"]
    if "" in args:
        raise UserError("an argument is empty; is a shell variable unset?")
    name, *rest = args
    if name not in COMMANDS:
        raise unknown("command", name, COMMANDS)
    if HELP_FLAGS & {*rest} and (not rest or rest[0].startswith("-")):
        _print_help(name)
        if name in (*TABLE_FIRST, "list"):  # the other commands' parsers print their options below
            return None
    with interrupt.exit_on_sigint():
        module = importlib.import_module(f"byzsim.experiments.cli.commands.{name}")  # most import JAX: seconds
    return module.main(rest)


def _print_help(name: str) -> None:
    print(HELP[name])
    if name in (*TABLE_FIRST, "status"):
        tables = ", ".join(member.name for member in listing.members("byzsim.experiments.tables"))
        print(OPTIONS.format(name, tables))
