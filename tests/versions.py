"""`make test-versions`: the fast tests with the oldest and the newest packages that pyproject.toml allows.

    python tests/versions.py FOLDER [PYTHON ...]

Each environment is made in FOLDER, outside of the checkout: for each PYTHON one with the newest packages, and for the
first one also one in which every lower bound of pyproject.toml is the version.
"""

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parent.parent
FAST = ("-m", "pytest", "-n", "2", "--dist", "loadscope", "-m", "not slow and not faults", "-p", "no:cacheprovider")


def lower_bounds() -> list[str]:
    """NAME==VERSION for each NAME>=VERSION that the package and its command line need."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    needed = project["dependencies"] + project["optional-dependencies"]["experiments"]
    return [requirement.replace(">=", "==") for requirement in needed if re.fullmatch(r"[\w-]+>=[\d.]+", requirement)]


def passes(folder: Path, python: str, age: str) -> bool:
    """Whether the fast tests pass in an environment of that interpreter with packages of that age."""
    home = folder / f"{Path(python).name}-{age}"
    subprocess.run([python, "-m", "venv", home], check=True)
    constraints = folder / f"{age}.txt"
    constraints.write_text("\n".join(lower_bounds() if age == "oldest" else []), "utf-8")
    inside = home / "bin" / "python"
    pip = [inside, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--upgrade"]
    subprocess.run([*pip, "--constraint", constraints, "--editable", f"{ROOT}[dev]"], check=True)
    programs = {"JAX_COMPILATION_CACHE_DIR": str(home / "compiled")}
    return subprocess.run([inside, *FAST], cwd=ROOT, env=os.environ | programs, check=False).returncode == 0


def starts(python: str) -> bool:
    """Whether that interpreter is here; a name of pyenv may be there without one."""
    return (
        bool(shutil.which(python)) and not subprocess.run([python, "-V"], capture_output=True, check=False).returncode
    )


def main(folder: str, *named: str) -> int:
    Path(folder).mkdir(parents=True, exist_ok=True)
    pythons = [python for python in named if starts(python)]
    for python in named:
        if python not in pythons:
            print(python, "is not here")
    if not pythons:
        return 1
    pairs = [(pythons[0], "oldest"), *((python, "newest") for python in pythons)]
    failed = [pair for pair in pairs if not passes(Path(folder), *pair)]
    for pair in pairs:
        print(*pair, "failed" if pair in failed else "passed")
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
