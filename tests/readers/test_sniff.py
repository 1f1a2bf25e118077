"""A format is found by content: each real file fits exactly one reader, whatever it is called."""

from __future__ import annotations

import shutil

import pytest
from conftest import LOGS
from test_golden import GOLDEN

from auditor.errors import UnknownFormat
from auditor.readers import files, registry, sniff


@pytest.mark.parametrize("name", sorted(GOLDEN))
def test_exactly_one_reader_takes_a_real_log(logs, name):
    head = files.head(str(logs / name))
    taken = [r for r in registry().values() if r.sniff(head)]
    specific = [r.name for r in taken if not r.generic]
    assert len(specific) == 1 or (not specific and len(taken) == 1), [r.name for r in taken]


def test_the_name_of_a_file_says_nothing(tmp_path):
    if not LOGS.is_dir():
        pytest.skip(f"no real logs at {LOGS}")
    for name in list(GOLDEN)[::9]:
        copy = tmp_path / "transcript.xyz"
        shutil.copy(LOGS / name, copy)
        assert sniff(files.head(str(copy))).name == sniff(files.head(str(LOGS / name))).name


def test_no_more_than_64_kilobytes_are_read(tmp_path):
    path = tmp_path / "big.jsonl"
    path.write_bytes(b'{"messages":[{"role":"user","content":"x"}],"model":"m"}\n' * 200_000)
    with path.open("rb", buffering=0) as raw:
        taken = 0
        real = files.open_bytes

        class Counting:
            def __init__(self, stream):
                self.stream = stream

            def read(self, size=-1):
                nonlocal taken
                data = self.stream.read(size)
                taken += len(data)
                return data

            def __getattr__(self, name):
                return getattr(self.stream, name)

            def __enter__(self):
                return self

            def __exit__(self, *_):
                self.stream.close()

        files.open_bytes = lambda _: Counting(raw)
        try:
            assert sniff(files.head(str(path))).name == "openai_chat"
        finally:
            files.open_bytes = real
    assert taken <= 64 * 1024 + 4


def test_an_unknown_format_names_its_keys_and_the_way_out(tmp_path):
    path = tmp_path / "x.json"
    path.write_bytes(b'{"weather": 1, "tide": 2}')
    with pytest.raises(UnknownFormat, match=r"tide, weather.*--mapping"):
        sniff(files.head(str(path)))


def test_every_reader_says_what_it_is():
    for reader in registry().values():
        assert reader.title
        assert reader.version >= 1
