"""What MkDocs calls while it builds the site (mkdocs.yml names this file)."""

import os
from pathlib import Path
from typing import Any

import jax
from byzsim.experiments.site import pages, reference, typeset
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

made: list[pages.Site] = []  # from on_config to on_files
# The small inputs of the catalogue are programs that run once: they are compiled fast, to slower code.
FAST = "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Make all pages, which decide the navigation."""
    root = Path(config.config_file_path).parent
    cache = root / "build" / "site"
    looked_up = reference.pages(root / ".venv" / "links")  # some commands' help sets up JAX, so before JAX starts
    _start_jax()
    jax.config.update("jax_compilation_cache_dir", str(cache / "compiled"))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    named = str(config.extra.get("members") or "").split()
    made[:] = [pages.site(root, looked_up, named=named, cache=cache)]
    config.nav = made[0].nav
    return config


def _start_jax() -> None:
    """With the flags of `FAST`, which the kernels of notebooks do not inherit."""
    flags = os.environ.get("XLA_FLAGS")
    os.environ["XLA_FLAGS"] = f"{flags or ''} {FAST}"
    jax.devices()
    os.environ.pop("XLA_FLAGS")
    os.environ |= {"XLA_FLAGS": flags} if flags else {}


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages; where docs/ has the file, ours has its links right."""
    for address, content in {**made[0].texts, **made[0].files}.items():
        old = files.get_file_from_path(address)
        if old is not None:
            files.remove(old)
        files.append(File.generated(config, address, content=content))
    return files


def on_page_content(html: str, **_: Any) -> str:
    """LaTeX as MathML."""
    return typeset.mathml(html)
