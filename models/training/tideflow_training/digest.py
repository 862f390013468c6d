"""The digest of a model's folder: the one that the graphs compute and write beside every score."""

from __future__ import annotations

import hashlib
from pathlib import Path


def folder_digest(folder: Path | str) -> str:
    """SHA-256, 64 hexadecimal digits, over every file below `folder`.

    Files come in the byte order of their paths relative to the folder, written with `/`. Each adds
    the length of its path (8 bytes, little endian), its path, the length of its content (8 bytes,
    little endian) and its content. Links are followed; empty folders do not count.
    `digest` in `models/src/folder.rs` is the same.
    """
    folder = Path(folder)
    files = sorted(
        (str(path.relative_to(folder).as_posix()).encode(), path) for path in _files(folder)
    )
    digest = hashlib.sha256()
    for name, path in files:
        content = path.read_bytes()
        for part in (name, content):
            digest.update(len(part).to_bytes(8, "little"))
            digest.update(part)
    return digest.hexdigest()


def _files(folder: Path):
    for path in folder.iterdir():
        if path.is_dir():
            yield from _files(path)
        else:
            yield path
