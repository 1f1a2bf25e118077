"""The public face: what `import auditor` gives."""

from __future__ import annotations

import subprocess
import sys

import pytest
from conftest import GREEN, RED, episode, write

import auditor


def test_every_exported_name_is_there_and_documented():
    for name in auditor.__all__:
        assert getattr(auditor, name).__doc__, name
    with pytest.raises(AttributeError):
        _ = auditor.nothing


def test_importing_it_is_light():
    code = "import sys, auditor; assert not {'pandas', 'pyarrow', 'openai', 'duckdb', 'rich'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_from_python(tmp_path):
    write(tmp_path / "logs.jsonl", [episode("red", *RED), episode("green", *GREEN)])
    names = [t.id for t in auditor.read_transcripts(str(tmp_path / "logs.jsonl"))]
    assert names == ["red", "green"]
    made = auditor.scan(auditor.Options(inputs=(str(tmp_path / "logs.jsonl"),), output=str(tmp_path / "audit")))
    assert made.about().summary["episodes"] == 2
    assert auditor.open_audit(str(tmp_path / "audit")).about().finished
    with pytest.raises(auditor.AuditorError, match="no audit here"):
        auditor.open_audit(str(tmp_path))
