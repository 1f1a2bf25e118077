"""What a shell line writes: here-documents, redirections, `sed -i`, `rm`, `mv`, `git`, patches, and scripts that write files."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from itertools import pairwise

from auditor.ledger import diffs
from auditor.ledger.found import Found, of_diff
from auditor.ledger.sed import of_perl, of_sed, plain_words
from auditor.ledger.shell import Heredoc, Simple, Word, bare, parse
from auditor.text import Lens

# A line with none of these writes nothing.
_HINTS = (
    ">",
    "sed ",
    "tee ",
    "rm ",
    "mv ",
    "cp ",
    "patch",
    "git ",
    "edit ",
    "perl ",
    "unlink ",
    "truncate ",
    "touch ",
    "write",
    "insert ",
    "create ",
    "ln ",
    "dd ",
)
_EDIT = re.compile(r"edit (\d{1,9}):(\d{1,9})[^\n]{0,20}\n")
_WRITES = (
    ".write(",
    ".write_text(",
    ".writelines(",
    ".write_bytes(",
    "writeFile",
    "json.dump(",
    "shutil.",
    "os.remove(",
    "os.rename(",
    "os.replace(",
    ".unlink(",
    "fileinput.",
    "appendFile",
    "File.write",
    "to_csv(",
    "np.save",
)
_CODE_RUNNERS = re.compile(r"(?:python|pypy)[\d.]*\Z|node\Z|ruby\Z|perl\Z|deno\Z|bun\Z|ipython3?\Z|php\Z")
_TO_NOWHERE = frozenset(("/dev/null", "/dev/stdout", "/dev/stderr", "/dev/tty"))
_PATCH_HEADS = ("diff --git ", "--- ", "*** Begin Patch", "Index: ", "From ", "@@ ")
_DEPTH = 2


def of_shell(line: str, base: int, source: Lens | None = None, depth: int = 0) -> Iterator[Found]:
    """The edits that a shell line makes; spans are moved by `base`."""
    if not any(hint in line for hint in _HINTS) and not ("python" in line and ("-c" in line or "<<" in line)):
        return
    if line.startswith("edit ") or "\nedit " in line:
        found = list(_windowed(line, base, source))
        if found:
            yield from found
            return
    patches = "*** Begin Patch" in line
    told = False
    for simple in parse(line):
        for edit in _of_simple(simple, line, base, source, depth):
            told = told or edit.how == "patch"
            yield edit
    if patches and not told:
        yield from of_diff(line, base, source)


def _of_simple(simple: Simple, line: str, base: int, source: Lens | None, depth: int) -> Iterator[Found]:
    texts = bare(simple.words)
    words = simple.words[len(simple.words) - len(texts) :] if texts else []
    name = texts[0].rpartition("/")[2] if texts else ""
    targets = [(op, word) for op, word in simple.writes if word.text not in _TO_NOWHERE and not word.text.isdigit()]
    if name == "tee":
        op = ">>" if "-a" in texts else ">"
        targets += [(op, word) for word in words[1:] if not word.text.startswith("-") and word.text not in _TO_NOWHERE]
    if simple.bodies:
        yield from _of_body(simple.bodies[-1], name, texts, targets, line, base, source)
        if name != "git":
            return
    if name in ("echo", "printf"):
        spans = [
            (word.start + base, word.end + base) for word in words[1:] if not (word.text.startswith("-") and len(word.text) < 4)
        ]
        for op, word in targets:
            yield Found(word.text, "patch" if ">>" in op else "create", spans, created=True, source=source)
    elif name in (
        "cat",
        "",
        ":",
        "truncate",
        "touch",
        "tee",
        "sed",
        "awk",
        "head",
        "tail",
        "grep",
        "sort",
        "jq",
        "envsubst",
        "base64",
        "cut",
        "tr",
        "uniq",
        "diff",
    ):
        yield from (Found(word.text, "create", created=True, source=source) for _, word in targets)
    tool = _TOOLS.get(name)
    if tool is not None:
        yield from tool(words, base, source)
    elif _CODE_RUNNERS.match(name):
        yield from _of_inline(words, base, source)
    elif name in ("bash", "sh", "zsh") and depth < _DEPTH:
        for flag, word in pairwise(words):
            if flag.text.startswith("-") and not flag.text.startswith("--") and "c" in flag.text:
                # Only where the word stands as it is can its spans be told.
                if line[word.start : word.end] == word.text:
                    yield from of_shell(word.text, base + word.start, source, depth + 1)
                return
    elif name in ("apply_patch", "applypatch"):
        for word in words[1:]:
            if line[word.start : word.end] == word.text:
                yield from of_diff(word.text, base + word.start, source)


def _of_body(
    body: Heredoc, name: str, texts: list[str], targets: list[tuple[str, Word]], line: str, base: int, source: Lens | None
) -> Iterator[Found]:
    text = line[body.start : body.end]
    span = [(body.start + base, body.end + base)]
    patch = (
        name in ("patch", "apply_patch", "applypatch")
        or (name == "git" and "apply" in texts)
        or text.lstrip().startswith(_PATCH_HEADS[:4])
    )
    if patch and diffs.looks_like_diff(text):
        found = list(of_diff(text, base + body.start, source))
        yield from found
        if found:
            return
    if targets:
        for op, word in targets:
            yield Found(word.text, "create" if op != ">>" else "patch", span, [], created=True, source=source)
    elif name in ("ed", "ex", "vim", "vi"):
        yield Found(next((t for t in reversed(texts[1:]) if not t.startswith("-")), None), "replace", span, [], source=source)
    elif _CODE_RUNNERS.match(name) and any(word in text for word in _WRITES):
        yield Found(None, "replace", span, [], source=source)


def _windowed(line: str, base: int, source: Lens | None) -> Iterator[Found]:
    """SWE-agent's `edit 10:20 … end_of_edit`."""
    at = 0
    while (at := line.find("edit ", at)) >= 0:
        mark = _EDIT.match(line, at) if at == 0 or line[at - 1] == "\n" else None
        if mark is None:
            at += 5
            continue
        end = line.find("end_of_edit", mark.end())
        end = end if end >= 0 else len(line)
        yield Found(None, "replace", [(base + mark.end(), base + end)], [], source=source, opened=True)
        at = end


def _remove(words: list[Word], base: int, source: Lens | None) -> Iterator[Found]:
    yield from (Found(word.text, "delete", source=source) for word in plain_words(words))


def _move(words: list[Word], base: int, source: Lens | None) -> Iterator[Found]:
    plain = plain_words(words)
    for word in plain[:-1]:
        yield Found(word.text, "move", source=source, moved=_into(plain[-1].text, word.text))


def _copy(words: list[Word], base: int, source: Lens | None) -> Iterator[Found]:
    plain = plain_words(words)
    for word in plain[:-1]:
        yield Found(_into(plain[-1].text, word.text), "create", created=True, source=source)


def _into(target: str, name: str) -> str:
    return target + name.rpartition("/")[2] if target.endswith("/") else target


def _git(words: list[Word], base: int, source: Lens | None) -> Iterator[Found]:
    texts = [word.text for word in words]
    at = 1
    while at < len(texts) and texts[at].startswith("-"):
        at += 2 if texts[at] in ("-C", "-c") else 1
    sub = texts[at] if at < len(texts) else ""
    rest = words[at:]
    if sub == "rm":
        yield from _remove(rest, base, source)
    elif sub == "mv":
        yield from _move(rest, base, source)
    elif sub == "restore" and "--staged" not in texts:
        yield from (Found(word.text, "replace", source=source) for word in plain_words(rest))
    elif sub == "checkout" and "-b" not in texts:
        if "--" in texts:
            yield from (Found(word.text, "replace", source=source) for word in words[texts.index("--") + 1 :])
        else:
            yield from (
                Found(word.text, "replace", source=source)
                for word in plain_words(rest)
                if "." in word.text.rpartition("/")[2].strip(".") and "/" in word.text
            )


def _create(words: list[Word], base: int, source: Lens | None) -> Iterator[Found]:
    """SWE-agent's `create`: an empty file, which is then open."""
    if len(words) == 2:
        yield Found(words[1].text, "create", created=True, source=source, opened=True)


def _replace(words: list[Word], base: int, source: Lens | None) -> Iterator[Found]:
    """SWE-agent's `edit 'old' 'new'` in the open file."""
    if len(words) in (3, 4) and not words[1].text[:1].isdigit():
        yield Found(None, "replace", [_span(words[2], base)], [_span(words[1], base)], source=source, opened=True)


def _insert(words: list[Word], base: int, source: Lens | None) -> Iterator[Found]:
    if len(words) in (2, 3):
        yield Found(None, "replace", [_span(words[1], base)], [], source=source, opened=True)


def _of_inline(words: list[Word], base: int, source: Lens | None) -> Iterator[Found]:
    """`python -c '…'` that writes files."""
    if words and words[0].text.rpartition("/")[2] == "perl":
        yield from of_perl(words, base, source)
        return
    for flag, word in pairwise(words):
        if flag.text in ("-c", "-e", "--eval"):
            if any(mark in word.text for mark in _WRITES):
                yield Found(None, "replace", [_span(word, base)], [], source=source)
            return


def _span(word: Word, base: int) -> tuple[int, int]:
    return word.start + base, word.end + base


_TOOLS: dict[str, Callable[[list[Word], int, Lens | None], Iterator[Found]]] = {
    "rm": _remove, "unlink": _remove, "shred": _remove, "mv": _move, "cp": _copy, "sed": of_sed, "gsed": of_sed, "git": _git,
    "create": _create, "edit": _replace, "insert": _insert,
    "touch": lambda words, base, source: (Found(word.text, "create", created=True, source=source) for word in plain_words(words)),
}  # fmt: skip
