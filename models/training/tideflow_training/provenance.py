"""Where a model comes from: the commit, the libraries."""

from __future__ import annotations

import platform
import subprocess
from importlib import metadata
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf


def git_commit() -> str:
    """The commit of this checkout, with `-dirty` where files differ from it; `unknown` outside of
    one."""
    try:
        commit = _git("rev-parse", "HEAD")
        dirty = _git("status", "--porcelain", "--untracked-files=normal")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return f"{commit}-dirty" if dirty else commit


def _git(*arguments: str) -> str:
    ran = subprocess.run(
        ["git", *arguments],
        cwd=Path(__file__).parent,
        capture_output=True,
        check=True,
        text=True,
    )
    return ran.stdout.strip()


def libraries() -> dict[str, str]:
    """The versions of Python and of what trains and exports."""
    return {
        "python": platform.python_version(),
        "tensorflow": tf.__version__,
        "keras": keras.__version__,
        "numpy": np.__version__,
    }


def environment() -> str:
    """Everything that is installed, as `pip freeze` lists it."""
    found = {f"{each.name}=={each.version}\n" for each in metadata.distributions()}
    return f"# Python {platform.python_version()}\n" + "".join(sorted(found, key=str.lower))
