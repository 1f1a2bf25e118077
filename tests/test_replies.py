"""Kept replies: what was paid for, and nothing else; a kill loses none."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from auditor.errors import StoreError
from auditor.replies import Replies, Reply, key_of

MESSAGES = [{"role": "user", "content": "hi"}]


def test_the_key_changes_with_all_that_changes_the_reply():
    base = key_of(None, "m", {"temperature": 0}, MESSAGES, {"type": "object"})
    others = [
        key_of("http://x/v1", "m", {"temperature": 0}, MESSAGES, {"type": "object"}),
        key_of(None, "n", {"temperature": 0}, MESSAGES, {"type": "object"}),
        key_of(None, "m", {"temperature": 1}, MESSAGES, {"type": "object"}),
        key_of(None, "m", {"temperature": 0}, [{"role": "user", "content": "ho"}], {"type": "object"}),
        key_of(None, "m", {"temperature": 0}, MESSAGES, None),
        key_of(None, "m", {"temperature": 0}, MESSAGES, {"type": "object"}, 1),
    ]
    assert len({base, *others}) == 7
    assert base == key_of(None, "m", {"temperature": 0}, MESSAGES, {"type": "object"})


def test_only_what_was_paid_for_is_kept(tmp_path):
    replies = Replies.open(tmp_path / "llm.sqlite")
    for status in ("ok", "refused", "truncated", "too_long", "error", "skipped"):
        replies.put(status, Reply(status=status, text="t\ud800", cost=0.5, prompt_tokens=3))
    assert [s for s in ("ok", "refused", "truncated", "too_long", "error", "skipped") if replies.get(s)] == [
        "ok",
        "refused",
        "truncated",
    ]
    kept = replies.get("ok")
    assert kept is not None
    assert (kept.cached, kept.cost, kept.prompt_tokens) == (True, 0.0, 3)
    replies.close()


def test_the_secret_stays_the_same(tmp_path):
    first = Replies.open(tmp_path / "llm.sqlite")
    secret = first.secret()
    first.close()
    second = Replies.open(tmp_path / "llm.sqlite")
    assert second.secret() == secret
    assert len(secret) == 32
    second.close()


def test_a_reply_survives_kill_9(tmp_path):
    code = (
        "import os, signal; from auditor.replies import *; r = Replies.open('llm.sqlite'); r.put('k', Reply(status='ok', text='paid'));"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=False)
    assert done.returncode == -signal.SIGKILL
    replies = Replies.open(tmp_path / "llm.sqlite")
    assert replies.get("k").text == "paid"
    replies.close()


def test_batches_are_remembered_until_they_are_done(tmp_path):
    replies = Replies.open(tmp_path / "llm.sqlite")
    replies.submit("b1", ["k1", "k2"], "e", "m")
    assert replies.submitted() == {"b1": 2}
    assert replies.waiting("k1")
    replies.done("b1")
    assert not replies.submitted()
    assert not replies.waiting("k1")
    replies.close()


def test_a_file_of_something_else_is_one_line(tmp_path):
    (tmp_path / "llm.sqlite").write_bytes(b"not a database, only text that is long enough to be one" * 20)
    with pytest.raises(StoreError, match=r"llm\.sqlite: cannot be used"):
        Replies.open(tmp_path / "llm.sqlite")
    assert os.path.exists(tmp_path / "llm.sqlite")
