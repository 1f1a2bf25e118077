"""What `sed -i` and `perl -pi` put into files and take out of them."""

from __future__ import annotations

from collections.abc import Iterator

from auditor.ledger import diffs
from auditor.ledger.found import Found
from auditor.ledger.shell import Word
from auditor.text import Lens


def plain_words(words: list[Word]) -> list[Word]:
    """The words of a command that are no options, without its name."""
    return [word for word in words[1:] if not word.text.startswith("-")]


def of_sed(words: list[Word], base: int, source: Lens | None) -> Iterator[Found]:
    """The edits of a `sed`, none unless it writes in place."""
    if not any(
        (w.text.startswith("-") and not w.text.startswith("--") and "i" in w.text) or w.text.startswith("--in-place")
        for w in words[1:]
    ):
        return
    scripts: list[Word] = []
    files: list[Word] = []
    rest = iter(enumerate(words[1:], 2))
    for after, word in rest:
        if word.text in ("-e", "--expression", "-f") and after < len(words):
            scripts.append(next(rest)[1])
        elif word.text.startswith("-"):
            if word.text == "-i" and after < len(words) and not words[after].text:
                next(rest)  # BSD's -i ''
        elif not scripts:
            scripts.append(word)
        else:
            files.append(word)
    added: diffs.Spans = []
    removed: diffs.Spans = []
    for script in scripts:
        new, old = _substitution(script)
        added += [(a + base, b + base) for a, b in new]
        removed += [(a + base, b + base) for a, b in old]
    yield from (Found(file.text, "replace", added, removed, source=source) for file in files)


def _substitution(script: Word) -> tuple[diffs.Spans, diffs.Spans]:
    """What a sed script `s/old/new/` puts in and takes out; of other scripts that insert the whole is put in."""
    text = script.text
    at = text.find("s")
    while at >= 0 and at + 1 < len(text):
        mark = text[at + 1]
        if not mark.isalnum() and mark not in " \t\n;\\{}" and (at == 0 or not text[at - 1].isalpha()):
            first = _unescaped(text, mark, at + 2)
            second = _unescaped(text, mark, first + 1) if first >= 0 else -1
            if second >= 0 and script.end - script.start == len(text):
                start = script.start
                return [(start + first + 1, start + second)], [(start + at + 2, start + first)]
        at = text.find("s", at + 1)
    deletes = text.rstrip().endswith("d") and not any(c in text for c in "aic\\\n")
    return ([] if deletes else [(script.start, script.end)]), ([(script.start, script.end)] if deletes else [])


def _unescaped(text: str, mark: str, at: int) -> int:
    while (at := text.find(mark, at)) >= 0:
        slashes = len(text[:at]) - len(text[:at].rstrip("\\")) if text[at - 1] == "\\" else 0
        if slashes % 2 == 0:
            return at
        at += 1
    return -1


def of_perl(words: list[Word], base: int, source: Lens | None) -> Iterator[Found]:
    """The edits of a `perl -pi -e`."""
    flags = [w.text for w in words[1:] if w.text.startswith("-")]
    if any("i" in f for f in flags):
        plain = plain_words(words)
        for word in plain[1:]:
            added, removed = _substitution(plain[0])
            yield Found(
                word.text,
                "replace",
                [(a + base, b + base) for a, b in added],
                [(a + base, b + base) for a, b in removed],
                source=source,
            )
