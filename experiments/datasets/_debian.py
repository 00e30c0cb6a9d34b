"""Downloads and unpacks a Debian package without root and without installing it."""

import shutil
import subprocess
from pathlib import Path

from byzsim.experiments.datasets._base import Missing

SECONDS = 300.0  # for each command: 31 MB over a slow connection
NET = ("-o", "Acquire::Retries=0", "-o", "Acquire::http::Timeout=10", "-o", "Acquire::https::Timeout=10")


def unpack(package: str, *, folder: Path) -> Path:
    """Download a package into `folder` and unpack it there; return the root of its file tree.

    Without package lists, apt downloads them into `folder` too, which needs no root.

    Raises:
        Missing: there is no apt-get or dpkg-deb, or one of them failed.
    """
    for tool in ("apt-get", "dpkg-deb"):
        if shutil.which(tool) is None:
            raise Missing(f"no {tool} on this system.")
    try:
        _run("apt-get", *NET, "download", package, folder=folder)
    except Missing:
        own = ("-o", f"Dir::State={folder / 'state'}", "-o", f"Dir::Cache={folder / 'cache'}")
        for name in ("state", "cache"):
            (folder / name).mkdir()
        _run("apt-get", *NET, *own, "update", folder=folder)
        _run("apt-get", *NET, *own, "download", package, folder=folder)
    (deb,) = folder.glob("*.deb")
    _run("dpkg-deb", "-x", str(deb), "root", folder=folder)
    return folder / "root"


def _run(*command: str, folder: Path) -> None:
    try:
        subprocess.run(
            command, cwd=folder, check=True, capture_output=True, encoding="utf-8", errors="replace", timeout=SECONDS
        )
    except (OSError, subprocess.SubprocessError) as error:
        printed = (getattr(error, "stderr", None) or str(error)).strip().splitlines()
        raise Missing(f"{' '.join(command)} failed ({printed[-1]}).") from error
