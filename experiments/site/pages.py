"""All pages of the site and its navigation."""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from byzsim.experiments import plugins
from byzsim.experiments.site import catalogue, leaderboard, links, tutorials
from byzsim.experiments.site.catalogue import KINDS
from byzsim.experiments.site.facts import Facts
from byzsim.experiments.site.markup import code
from byzsim.experiments.site.settings import settings

# Section -> its pages, of which those are shown that exist; a page of docs/ that is named nowhere stands in How-to.
NAVIGATION: dict[str, tuple[str, ...]] = {
    "Home": ("index.md",),
    "Start": (
        "start/install.md",
        "start/first-run.md",
        "start/commands.md",
        "start/gpu.md",
        "start/cluster.md",
        "start/*",
    ),
    "Tutorials": ("tutorials/*",),
    "How-to": (
        "your-own.md",
        "tables.md",
        "in-your-training.md",
        "robust-pmean.md",
        "results.md",
        "fast-rules.md",
        "examples.md",
        "*",
    ),
    "Catalogue": ("catalogue/index.md", "catalogue/compare.md", "explorer.md", "definitions.md", "catalogue/*"),
    "Results": ("results/leaderboard.md", "results/which-rule.md", "table1.md", "results/*"),
    "Validation": ("validation.md", "aksel.md", "bad-inputs.md", "open-verifications.md"),
    "Reference": (
        "reference/calls.md",
        "reference/types.md",
        "reference/registries.md",
        "reference/ops.md",
        "reference/testing.md",
        "reference/experiments.md",
        "reference/cli.md",
        "records.md",
    ),
    "Design": ("speed.md", "scale.md", "reproducibility.md", "contributing.md", "changelog.md"),
    "Glossary": ("glossary.md",),
}
PROJECT = {"README.md": "index.md", "CONTRIBUTING.md": "contributing.md", "CHANGELOG.md": "changelog.md"}
PICTURES = {".png", ".svg", ".csv", ".tex"}


@dataclasses.dataclass
class Site:
    """What the site is made of, beside the files of docs/."""

    texts: dict[str, str]
    """address -> Markdown"""
    files: dict[str, bytes]
    """address -> content, of pictures and data"""
    nav: list[Any]
    """as in mkdocs.yml"""


def site(root: Path, looked_up: Mapping[str, str], *, named: Sequence[str], cache: Path) -> Site:
    """All pages of the repository `root`.

    Args:
        root: a checkout.
        looked_up: the pages of the reference.
        named: plugins, whose members have pages too.
        cache: a folder for what takes long to make.
    """
    plugins.load(named)
    facts = Facts(root / "results")
    found = settings(facts)
    files = {
        "assets/data.js": catalogue.data(facts, found).encode(),
        **{
            f"results/{path.relative_to(facts.results).as_posix()}": path.read_bytes()
            for path in facts.results.glob("*/*")
            if path.suffix in PICTURES and "+" not in path.parent.name
        },
    }
    with ThreadPoolExecutor(1) as beside:  # the notebooks have processes of their own
        executed = beside.submit(tutorials.pages, root / "notebooks", cache / "notebooks")
        made = {
            **catalogue.pages(facts, found),
            **leaderboard.pages(facts, found),
            **looked_up,
            "examples.md": _examples(root / "examples"),
        }
        notebooks, pictures = executed.result()
    origins = _origins(root)
    addresses = {origin: address for address, origin in origins.items()} | {
        f"notebooks/{Path(address).stem}.ipynb": address for address in notebooks
    } | {"README.md": "index.md", "examples": "examples.md", **_sources_of_members()}  # fmt: skip
    addresses |= {name: name for name in files}
    texts, needed = made, set()
    for address, origin in origins.items():
        text, more = links.rewritten((root / origin).read_text(encoding="utf-8"), origin, address, addresses, root)
        texts[address], needed = text, needed | more
    for address, text in notebooks.items():
        texts[address] = text
    texts |= {links.source_address(path): links.source_page(path, root) for path in needed}
    return Site(texts, files | pictures, navigation(texts))


def _origins(root: Path) -> dict[str, str]:
    """Address -> the file of the repository whose text it has."""
    found = {address: origin for origin, address in PROJECT.items() if origin != "README.md"}
    found |= {
        path.relative_to(root / "docs").as_posix(): path.relative_to(root).as_posix()
        for path in (root / "docs").rglob("*.md")
    }
    for path in (root / "results").glob("*/*.md"):
        if "+" not in path.parent.name and path.name != "table.md":
            name = f"results/{path.parent.name}"
            found[f"{name}.md" if path.name == "README.md" else f"{name}/{path.name}"] = path.relative_to(
                root
            ).as_posix()
    return found


def _sources_of_members() -> dict[str, str]:
    """The file of a member -> its page."""
    folders = {"rules": "aggregators"}
    return {
        f"sim/{folders.get(kind.folder, kind.folder)}/{name}.py": f"catalogue/{kind.folder}/{name}.md"
        for kind in KINDS
        for name in kind.zoo
    }


def _examples(folder: Path) -> str:
    parts = ["# Examples", "Whole files that run as they are: `byzsim run FILE`, or `python FILE` where it says so."]
    for path in sorted(folder.glob("*.py")):
        parts += [f"## {path.stem}", code(path.read_text(encoding="utf-8"))]
    return "\n\n".join(parts) + "\n"


def navigation(texts: Iterable[str]) -> list[Any]:
    """The sections with those of their pages that exist."""
    left = [each for each in texts if "/records/" not in each and not each.startswith("source/")]
    named = {page for pages in NAVIGATION.values() for page in pages if "*" not in page}
    rest: dict[str, list[str]] = {page: [] for pages in NAVIGATION.values() for page in pages if "*" in page}
    for page in sorted(set(left) - named):
        folder = page.partition("/")[0] + "/*" if "/" in page else "*"
        rest.get(folder, rest["*"]).append(page)
    found: list[Any] = []
    for section, pages in NAVIGATION.items():
        listed: list[Any] = []
        for page in pages:
            if page == "catalogue/*":
                listed += [
                    {kind.title: [each for each in rest[page] if each.startswith(f"catalogue/{kind.folder}/")]}
                    for kind in KINDS
                ]
            else:
                listed += rest.get(page, [page] if page in left else [])
        if listed:
            found.append({section: listed[0] if NAVIGATION[section] == tuple(listed) else listed})
    return found
