"""The notebooks run from top to bottom, and are committed without outputs."""

from pathlib import Path

import nbformat
import pytest
from ipykernel.kernelspec import install
from nbclient import NotebookClient

NOTEBOOKS = sorted((Path(__file__).parent.parent / "notebooks").glob("*.ipynb"))


def test_there_is_one():
    assert [path.name for path in NOTEBOOKS] == ["01_table1.ipynb"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_outputs_are_stripped(path):
    code = [run_config for run_config in nbformat.read(path, as_version=4).cells if run_config.cell_type == "code"]
    assert code and all(not run_config.outputs and run_config.execution_count is None for run_config in code)


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_runs_from_top_to_bottom(path, tmp_path, monkeypatch):
    install(prefix=str(tmp_path), kernel_name="python3")
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path / "share" / "jupyter"))
    book = nbformat.read(path, as_version=4)
    NotebookClient(book, timeout=300, kernel_name="python3", resources={"metadata": {"path": path.parent}}).execute()
    outputs = [output for run_config in book.cells if run_config.cell_type == "code" for output in run_config.outputs]
    assert sum("image/png" in output.get("data", {}) for output in outputs) == 3
    assert any("Model negation" in output.get("data", {}).get("text/html", "") for output in outputs)
