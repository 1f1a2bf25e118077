"""Edits: what is put into files and taken out of them, every character leading back into what the model wrote."""

from __future__ import annotations

import gc
import json
from time import process_time

import pytest

from auditor.ledger import build
from auditor.ledger.diffs import parse
from auditor.ledger.paths import area_of
from auditor.ledger.prose import of_prose
from auditor.ledger.writes import of_shell
from auditor.transcript import Channel, Message, ToolCall, Transcript, pieces


def edits_of(*messages):
    transcript = Transcript(id="t", messages=messages)
    parts = list(pieces(transcript))
    texts = {(p.message, p.channel): p.text for p in parts}
    found = build(transcript, parts).edits
    for edit in found:
        for lens in (edit.added, edit.removed):
            source = texts[edit.message, edit.channel]
            for i, char in enumerate(lens.text):
                start, end = lens.origin(i, i + 1)
                # A character of a JSON string may be written as an escape: its origin is the backslash.
                assert source[start:end] == char or source[start] == "\\"
            # In one piece, and as long in the original as here: the very same text.
            start, end = lens.origin(0, len(lens.text))
            if end - start == len(lens.text):
                assert source[start:end] == lens.text
    return found


def edits_of_call(name, **arguments):
    return edits_of(Message(role="assistant", tool_calls=(ToolCall(id="1", name=name, arguments=arguments),)))


def rows(found):
    return [(e.path, e.how, e.added.text, e.removed.text) for e in found]


@pytest.mark.parametrize(
    ("name", "arguments", "expected"),
    [
        ("Edit", {"file_path": "a.py", "old_string": "x", "new_string": "y"}, ("a.py", "replace", "y", "x")),
        ("Edit", {"file_path": "a.py", "old_string": "", "new_string": "y"}, ("a.py", "create", "y", "")),
        ("Write", {"file_path": "a.py", "content": "y"}, ("a.py", "create", "y", "")),
        ("write_file", {"path": "a.py", "content": "y"}, ("a.py", "create", "y", "")),
        ("create_file", {"filePath": "a.py", "content": "y"}, ("a.py", "create", "y", "")),
        ("replace", {"file_path": "a.py", "old_string": "x", "new_string": "y"}, ("a.py", "replace", "y", "x")),
        ("NotebookEdit", {"notebook_path": "a.ipynb", "new_source": "y"}, ("a.ipynb", "replace", "y", "")),
        ("str_replace_editor", {"command": "create", "path": "a.py", "file_text": "y"}, ("a.py", "create", "y", "")),
        (
            "str_replace_based_edit_tool",
            {"command": "str_replace", "path": "a.py", "old_str": "x", "new_str": "y"},
            ("a.py", "replace", "y", "x"),
        ),
        (
            "str_replace_editor",
            {"command": "insert", "path": "a.py", "insert_line": 3, "new_str": "y"},
            ("a.py", "replace", "y", ""),
        ),
        (
            "str_replace_editor",
            {"command": "insert", "path": "a.py", "insert_line": 3, "insert_text": "y"},
            ("a.py", "replace", "y", ""),
        ),
        ("delete_file", {"path": "a.py"}, ("a.py", "delete", "", "")),
        (
            "apply_patch",
            {"input": "*** Begin Patch\n*** Update File: a.py\n@@\n-x\n+y\n*** End Patch"},
            ("a.py", "patch", "y\n", "x\n"),
        ),
        ("submit_patch", {"diff": "--- a/a.py\n+++ b/a.py\n@@ -1 +1 @@\n-x\n+y\n"}, ("a.py", "patch", "y\n", "x\n")),
    ],
)
def test_editors(name, arguments, expected):
    assert rows(edits_of_call(name, **arguments)) == [expected]


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("Read", {"file_path": "a.py", "limit": 3}),
        ("str_replace_editor", {"command": "view", "path": "a.py"}),
        ("Grep", {"pattern": "x", "path": "src"}),
        ("read_file", {"path": "a.py", "content": "no"}),
        ("book", {"flights": [{"from": "OSL"}]}),
        ("Bash", {"command": "grep -rn 'a > b' src | head 2>/dev/null"}),
        ("Bash", {"command": "python - <<'E'\nprint(open('a').read())\nE"}),
        ("Bash", {"command": "sed -n '1,5p' a.py; git diff; git checkout main"}),
    ],
)
def test_what_is_no_edit(name, arguments):
    assert edits_of_call(name, **arguments) == ()


def test_many_edits_in_one_call_are_one_each_and_their_escapes_lead_back():
    found = edits_of_call(
        "MultiEdit",
        file_path="pier.py",
        edits=[{"old_string": 'a\n"b"', "new_string": "c\n\td\\e"}, {"old_string": "f", "new_string": "å"}],
    )
    assert rows(found) == [("pier.py", "replace", "c\n\td\\e", 'a\n"b"'), ("pier.py", "replace", "å", "f")]


def test_a_shell_line_inside_a_list_leads_back_through_its_json():
    patch = "apply_patch <<'EOF'\n*** Begin Patch\n*** Add File: b.py\n+x = \"1\" + y\n*** End Patch\nEOF"
    message = Message(
        role="assistant", tool_calls=(ToolCall(id="1", name="shell", arguments={"command": ["bash", "-lc", patch]}),)
    )
    (edit,) = edits_of(message)
    assert rows([edit]) == [("b.py", "patch", 'x = "1" + y\n', "")]
    start, end = edit.added.origin(0, len(edit.added.text) - 1)
    assert json.loads(f'"{message.tool_calls[0].text[start:end]}"') == 'x = "1" + y'


SHELL = [
    ("cat > a.py <<'EOF'\nx = 1\nEOF", [("a.py", "create", "x = 1\n", "")]),
    ("cat <<EOF > a.py\nx\nEOF\nls", [("a.py", "create", "x\n", "")]),
    ("cat >> a.py << 'E'\nx\nE", [("a.py", "patch", "x\n", "")]),
    ("tee -a a.py <<E\nx\nE", [("a.py", "patch", "x\n", "")]),
    ("cd s && cat > a.py <<A && cat > b.py <<B\n1\nA\n2\nB", [("a.py", "create", "1\n", ""), ("b.py", "create", "2\n", "")]),
    ("echo 'x = 1' > a.py", [("a.py", "create", "x = 1", "")]),
    ("printf '%s' y >> a.py", [("a.py", "patch", "%sy", "")]),
    ("echo hi > /dev/null 2>&1", []),
    ("sed -i 's/old/new/g' a.py b.py", [("a.py", "replace", "new", "old"), ("b.py", "replace", "new", "old")]),
    ("sed -i.bak -e 's|a/b|c|' a.py", [("a.py", "replace", "c", "a/b")]),
    ("sed -i '' 's/x/y/' a.py", [("a.py", "replace", "y", "x")]),
    ("sed -i '3d' a.py", [("a.py", "replace", "", "3d")]),
    ("sed -i '2i import os' a.py", [("a.py", "replace", "2i import os", "")]),
    ("perl -pi -e 's/x/y/' a.py", [("a.py", "replace", "y", "x")]),
    ("rm -rf a.py b/", [("a.py", "delete", "", ""), ("b/", "delete", "", "")]),
    ("git rm -q a.py", [("a.py", "delete", "", "")]),
    ("mv a.py b.py", [("a.py", "move", "", "")]),
    ("git mv a.py b.py", [("a.py", "move", "", "")]),
    ("cp a.py b.py", [("b.py", "create", "", "")]),
    ("git checkout -- a.py", [("a.py", "replace", "", "")]),
    ("git restore a.py", [("a.py", "replace", "", "")]),
    (
        "git apply <<'E'\ndiff --git a/a.py b/a.py\n--- a/a.py\n+++ b/a.py\n@@ -1 +1 @@\n-x\n+y\nE",
        [("a.py", "patch", "y\n", "x\n")],
    ),
    ("python - <<'E'\nopen('a','w').write('x')\nE", [(None, "replace", "open('a','w').write('x')\n", "")]),
    ("python -c \"open('a','w').write('x')\"", [(None, "replace", "open('a','w').write('x')", "")]),
    ("bash -c 'echo x > a.py'", [("a.py", "create", "x", "")]),
    ("edit 3:4\nx = 1\nend_of_edit\n", [(None, "replace", "x = 1\n", "")]),
]


@pytest.mark.parametrize(("line", "expected"), SHELL)
def test_shell_lines(line, expected):
    assert rows(edits_of_call("Bash", command=line)) == expected


def test_an_open_file_is_the_one_that_edits_without_a_path_are_of():
    def call(number, line):
        return Message(role="assistant", tool_calls=(ToolCall(id=str(number), name="bash", arguments={"command": line}),))

    found = edits_of(
        call(1, "create kite.py"),
        call(2, "edit 1:1\nx\nend_of_edit\n"),
        call(3, "open src/wind.py 10\n"),
        call(4, "edit 'a' 'b'"),
    )
    assert [(e.path, e.added.text, e.own) for e in found] == [
        ("kite.py", "", True),
        ("kite.py", "x\n", True),
        ("src/wind.py", "b", False),
    ]


DIFF = """\
diff --git a/x.py b/x.py
index 1..2 100644
--- a/x.py
+++ b/x.py
@@ -1,3 +1,4 @@ def f
 a
-b
+c
++++ d

 e
diff --git a/n.txt b/n.txt
new file mode 100644
--- /dev/null
+++ b/n.txt
@@ -0,0 +1,2 @@
+1
+2
--
2.39

- a list
- behind it
"""


def test_a_diff_file_by_file_with_its_prefixes_gone():
    found = list(parse(DIFF))
    assert [(f.path, f.created) for f in found] == [("x.py", False), ("n.txt", True)]
    assert [[DIFF[a:b] for a, b in f.added] for f in found] == [["c\n", "+++ d\n"], ["1\n", "2\n"]]
    assert [[DIFF[a:b] for a, b in f.removed] for f in found] == [["b\n"], []]


def test_lines_that_look_like_heads_inside_a_hunk_are_its_lines():
    text = "--- a/two.py\n+++ b/two.py\n@@ -1 +1 @@\n--- x\n+++ y\n"
    (file,) = parse(text)
    assert [text[a:b] for a, b in file.added + file.removed] == ["++ y\n", "-- x\n"]


def test_a_patch_with_every_verb():
    text = "*** Begin Patch\n*** Update File: a.py\n@@ def f():\n c\n-o\n+n\n*** Add File: b.py\n+hi\n*** Delete File: c.py\n*** Update File: d.py\n*** Move to: e.py\n@@\n+r\n*** End Patch\n"
    assert [(f.path, f.created, f.deleted, f.moved) for f in parse(text)] == [
        ("a.py", False, False, None),
        ("b.py", True, False, None),
        ("c.py", False, True, None),
        ("d.py", False, False, "e.py"),
    ]


def test_a_diff_in_a_submission_is_final():
    found = edits_of(
        Message(role="assistant", content="My patch", tool_calls=(ToolCall(id="1", name="submit", arguments={"patch": DIFF}),))
    )
    assert [(e.channel, e.path, e.how) for e in found] == [(Channel.FINAL, "x.py", "patch"), (Channel.FINAL, "n.txt", "patch")]


PROSE = [
    ("Look:\n```python\nx = 1\n```\n", [(None, "shown", "x = 1\n")]),
    ("```python\n# conftest.py\nx = 1\n```", [("conftest.py", "shown", "# conftest.py\nx = 1\n")]),
    ("Here is `src/kite.py`:\n```py\nx\n```", [("src/kite.py", "shown", "x\n")]),
    ("**kite.go**\n```go\nx\n```", [("kite.go", "shown", "x\n")]),
    ("```python:src/kite.py\nx\n```", [("src/kite.py", "shown", "x\n")]),
    ("I changed a.py and b.py.\n```py\nx\n```", [(None, "shown", "x\n")]),
    ("```bash\nls\n```\n```json\n{}\n```\n```console\n$ ls\n```", []),
    ("```\n3 passed in 0.1s\n```", []),
    ("```\ndef f():\n    return 1\n```", [(None, "shown", "def f():\n    return 1\n")]),
    ("In `a.py`:\n```diff\n-x\n+y\n```", [("a.py", "patch", "y\n")]),
    (
        "```diff\n--- a/a.py\n+++ b/a.py\n@@ -1 +1 @@\n-x\n+y\n```\nand\n```py\nz\n```",
        [("a.py", "patch", "y\n"), (None, "shown", "z\n")],
    ),
    ("Raw:\n--- a/a.py\n+++ b/a.py\n@@ -1 +1 @@\n-x\n+y\n\n- done\n+ more\n", [("a.py", "patch", "y\n")]),
    ("A `code` in a line ```x = 1``` is no block", []),
    ("```python\nnever closed", [(None, "shown", "never closed")]),
]


@pytest.mark.parametrize(("text", "expected"), PROSE)
def test_what_prose_shows(text, expected):
    found = edits_of(Message(role="assistant", content=text), Message(role="assistant", content="Done."))
    assert [(e.path, e.how, e.added.text) for e in found] == expected


AREAS = {
    "test": "tests/test_a.py test_a.py pkg/ferry_test.go src/a.spec.ts src/__tests__/a.js src/test/java/X.java app/FerryTest.java tests/test_evaluator.py spec/a_spec.rb testdata/x.txt",
    "harness": "conftest.py tests/conftest.py pytest.ini tox.ini jest.config.js grader.py score_run.py tests/verifier.py eval/evaluate.py .github/workflows/ci.yml benchmark.py run_tests.sh",
    "config": "setup.cfg Makefile pyproject.toml .eslintrc.json",
    "scratch": "/tmp/x.py reproduce.py debug_a.py out.log scratch/a.py",
    "source": "src/a.py contest.py src/protest.py latest.go src/inspect.c attestation/x.go src/retest_util.py",
    "unknown": "README.md notes.txt",
}


@pytest.mark.parametrize(("area", "path"), [(area, path) for area, paths in AREAS.items() for path in paths.split()])
def test_areas(area, path):
    assert area_of(path) == area


def test_no_path_has_no_area():
    assert area_of(None) == "unknown"


HOSTILE = [
    "'",
    '"',
    "<<A ",
    "cat <<E\n",
    "((",
    "A=b ",
    "tee a ",
    "rm a b ",
    "sed -i 's/a/b/' x;",
    "edit 1:1\n",
    "```\n",
    "````",
    "@@ -1 +1 @@\n",
    "--- a\n+++ b\n",
    "diff --git a/x b/x\n",
    "*** Add File: x\n",
    "\\",
]


@pytest.mark.parametrize("unit", HOSTILE)
def test_hostile_text_takes_no_longer_than_its_length(unit):
    def seconds(size):
        text = (unit * (size // len(unit) + 1))[:size]
        gc.collect()
        gc.disable()  # or the objects of all tests before this one would be counted
        start = process_time()
        list(of_shell("sed -i " + text, 0))
        list(of_prose("```x\n" + text))
        list(parse("--- a\n+++ b\n@@\n" + text))
        taken = process_time() - start
        gc.enable()
        return taken

    # Four times the text: 4 times as long, where a quadratic rule takes 16.
    once, four = min(seconds(100_000) for _ in range(3)), min(seconds(400_000) for _ in range(3))
    assert four < 9 * once + 0.05
