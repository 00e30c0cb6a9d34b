"""Notebooks as pages, executed when the site is built; an executed one is kept until it or byzsim's code changes."""

import hashlib
import logging
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import byzsim
import nbformat
from jupyter_client.kernelspec import KernelSpecManager
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from nbconvert import MarkdownExporter

TIMEOUT = 600  # seconds for a cell
TOGETHER = 2  # notebooks that are executed at once


def pages(folder: Path, cache: Path) -> tuple[dict[str, str], dict[str, bytes]]:
    """(address -> Markdown, address -> picture) of the notebooks of a folder."""
    texts, pictures = {}, {}
    paths = sorted(folder.glob("*.ipynb"))
    with ThreadPoolExecutor(TOGETHER) as pool:
        books = list(pool.map(lambda path: _executed(path, cache), paths))
    for path, book in zip(paths, books, strict=True):
        exporter = MarkdownExporter()
        text, resources = exporter.from_notebook_node(book, {"output_files_dir": f"{path.stem}_files"})
        texts[f"tutorials/{path.stem}.md"] = text.replace('<table border="1" class="dataframe">', "<table>")
        pictures |= {f"tutorials/{name}": content for name, content in resources["outputs"].items()}
    return texts, pictures


def _executed(path: Path, cache: Path) -> nbformat.NotebookNode:
    kept = cache / f"{path.stem}-{_digest(path)}.ipynb"
    if kept.is_file():
        return nbformat.read(kept, as_version=4)
    logging.getLogger("mkdocs.hooks").info("executing %s", path.name)
    book = nbformat.read(path, as_version=4)
    with tempfile.TemporaryDirectory() as kernels:
        _install_kernel(Path(kernels))
        manager = KernelSpecManager(kernel_dirs=[kernels])
        client = NotebookClient(
            book,
            timeout=TIMEOUT,
            kernel_name="byzsim",
            resources={"metadata": {"path": str(path.parent)}},
            extra_arguments=["--log-level=ERROR"],  # its warning that it speaks without encryption, to this machine
        )
        client.create_kernel_manager().kernel_spec_manager = manager
        try:
            client.execute()
        except CellExecutionError as error:
            error.add_note(f"in the notebook {path}")
            raise
    cache.mkdir(parents=True, exist_ok=True)
    nbformat.write(book, kept)
    return book


def _install_kernel(folder: Path) -> None:
    """A kernel of this very interpreter."""
    from ipykernel.kernelspec import write_kernel_spec

    write_kernel_spec(folder / "byzsim")


def _digest(path: Path) -> str:
    """Of the notebook, of byzsim's code except the site's, and of the interpreter."""
    total = hashlib.sha256(path.read_bytes() + sys.version.encode())
    sources = Path(str(byzsim.__file__)).parent, Path(__file__).parents[1]
    for file in sorted(each for folder in sources for each in folder.rglob("*.py")):
        if Path(__file__).parent not in file.parents:
            total.update(file.read_bytes())
    return total.hexdigest()[:16]
