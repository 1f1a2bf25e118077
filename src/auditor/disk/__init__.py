"""Where an audit lies: a folder, or a place on object storage (`s3://`, `gs://`, `az://` …) through fsspec.

Either way a file is whole or absent: a folder gets it by rename, object storage by one put. Names are relative, with `/`.
"""

from __future__ import annotations

import os
from pathlib import Path

from auditor.disk.base import HOUR, Disk, File
from auditor.disk.folder import Folder
from auditor.disk.remote import Remote

__all__ = ["HOUR", "Disk", "File", "Folder", "Remote", "disk"]


def disk(path: str | os.PathLike[str]) -> Disk:
    """The disk of a path or URL."""
    text = os.fspath(path)
    return Remote(text) if "://" in text else Folder(Path(text))
