"""What people install: a wheel in an environment of its own, used beside modules that are named as our folders are."""

import importlib.util
import os
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


def run(*command, cwd, **environment):
    env = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"} | environment
    done = subprocess.run(command, cwd=cwd, env=env, capture_output=True, encoding="utf-8", check=False)
    return done.returncode, done.stdout + done.stderr


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """Made from an sdist, as a package index would have it."""
    folder = tmp_path_factory.mktemp("dist")
    code, said = run(sys.executable, "-m", "build", "--no-isolation", "--outdir", folder, ROOT, cwd=folder)
    assert code == 0, said
    (path,) = folder.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def python(wheel, tmp_path_factory):
    """An environment with the wheel; only what byzsim depends on comes from the environment of the tests."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, with_pip=False, symlinks=True)
    site = Path(sysconfig.get_path("purelib", vars={"base": str(folder)}))
    with zipfile.ZipFile(wheel) as content:
        content.extractall(site)
    (site / "dependencies.pth").write_text(
        sysconfig.get_path("purelib"), "utf-8"
    )  # a folder: its own .pth do not count
    return folder / "bin" / "python"


@pytest.fixture
def elsewhere(tmp_path):
    (tmp_path / "sim.py").write_text("raise SystemExit('the sim of somebody else')", "utf-8")
    (tmp_path / "experiments").mkdir()
    (tmp_path / "experiments" / "__init__.py").write_text(
        "raise SystemExit('the experiments of somebody else')", "utf-8"
    )
    return tmp_path


@pytest.mark.slow
def test_a_wheel_holds_the_package_and_nothing_else(wheel):
    with zipfile.ZipFile(wheel) as content:
        names = content.namelist()
    assert {name.partition("/")[0] for name in names} == {"byzsim", wheel.name.rpartition("-py3")[0] + ".dist-info"}
    assert not [name for name in names if "/bench/" in name or "/tests/" in name or "peers" in name]
    commands, numbers = "experiments/cli/__init__.py", "experiments/tables/published/brsgd_table1.csv"
    for name in ("py.typed", "aggregators/krum.py", commands, numbers):
        assert f"byzsim/{name}" in names


@pytest.mark.slow
def test_it_works_beside_modules_of_the_same_names(python, elsewhere):
    script = "import byzsim; print(byzsim.__file__, byzsim.aggregate('median', [[1.0], [2.0], [9.0]], f=1))"
    code, said = run(python, "-c", script, cwd=elsewhere)
    assert code == 0 and "site-packages" in said and "[2.]" in said, said
    code, said = run(python, "-m", "byzsim.experiments", "run", "smoke", "--quick", cwd=elsewhere)
    assert code == 0 and (elsewhere / "results" / "smoke+quick" / "README.md").exists(), said
    code, said = run(python, "-m", "byzsim.experiments", "bench", cwd=elsewhere)
    assert code == 2 and "use a checkout" in said, said


def test_the_source_folder_says_what_to_import():
    code, said = run(sys.executable, "-c", "import sim", cwd=ROOT)
    assert code == 1 and "import byzsim" in said


def test_a_type_checker_finds_the_package(tmp_path):
    """By the links of `make links`: the import hook of an editable install is not for it."""
    if importlib.util.find_spec("ty") is None:
        pytest.skip("ty is not installed")
    file = tmp_path / "user.py"
    file.write_text("import byzsim\nx: int = byzsim.median()\n", "utf-8")
    links = tmp_path / "links" / "byzsim"
    links.mkdir(parents=True)
    for path in (*(ROOT / "sim").iterdir(), ROOT / "experiments"):
        (links / path.name).symlink_to(path)
    command = (sys.executable, "-m", "ty", "check", "--python", sys.prefix, "--extra-search-path", links.parent, file)
    code, said = run(*command, cwd=tmp_path)
    assert code == 1 and "Aggregator" in said and "not assignable" in said, said
