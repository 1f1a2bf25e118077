"""A shell line cut into simple commands: words with their places, redirections, here-documents.

Not a shell: enough of its grammar to say what is run and what is written where. One pass, linear in the line; the
tokens' quantifiers are possessive, so that no input makes them backtrack.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple

# Longer lines are cut: nobody types them, and what is written by them stands in here-documents near their start.
_LONGEST = 400_000
_MOST_COMMANDS = 2_000
_DEPTH = 3

_SPACE = re.compile(r"(?:[ \t\r]|\\\r?\n)++")
_REDIRECT = re.compile(r"&>>?|\d*+(?:<<<|<<-?|>>|>&|>\||<&|<>|<|>)")
_OPERATOR = re.compile(r"&&|\|\||;;|\|&|[;&|\n()]")
_PART = re.compile(r"[^\s;&|<>()'\"\\]++|'[^']*+'|\"(?:[^\"\\]++|\\[\s\S])*+\"|\\[\s\S]?")
_ASSIGNMENT = re.compile(r"[A-Za-z_]\w*+\+?=")
_DURATION = re.compile(r"[\d.]++[smhd]?\Z")
_UNESCAPE = re.compile(r"\\([\\\"$`\n])")


class Word(NamedTuple):
    """A word without its quotes; [start, end) is where it stands, quotes left out where they enclose it all."""

    text: str
    start: int
    end: int


class Heredoc(NamedTuple):
    """The body of a here-document: characters [start, end) of the line."""

    start: int
    end: int


class Simple(NamedTuple):
    """One simple command, and the operator behind it ('' at the end)."""

    words: list[Word]
    writes: list[tuple[str, Word]]
    bodies: list[Heredoc]
    operator: str


def parse(line: str) -> list[Simple]:
    """The simple commands of a shell line, in order."""
    found: list[Simple] = []
    words: list[Word] = []
    writes: list[tuple[str, Word]] = []
    bodies: list[Heredoc] = []
    waiting: list[tuple[str, list[Heredoc]]] = []
    redirect = ""
    at, end = 0, min(len(line), _LONGEST)
    while at < end and len(found) < _MOST_COMMANDS:
        if (m := _SPACE.match(line, at, end)) is not None:
            at = m.end()
            continue
        if (m := _REDIRECT.match(line, at, end)) is not None:
            redirect, at = m.group().lstrip("0123456789"), m.end()
            continue
        if (m := _OPERATOR.match(line, at, end)) is not None:
            operator, at = m.group(), m.end()
            if words or writes or bodies or any(kept is bodies for _, kept in waiting):
                found.append(Simple(words, writes, bodies, operator))
                words, writes, bodies = [], [], []
            if operator == "\n" and waiting:
                at = _bodies(line, at, waiting)
                waiting = []
            redirect = ""
            continue
        if line[at] == "#":
            stop = line.find("\n", at, end)
            at = stop if stop >= 0 else end
            continue
        word, at = _word(line, at, end)
        if not redirect:
            words.append(word)
        elif redirect.startswith("<<") and redirect != "<<<":
            waiting.append((word.text, bodies))
        elif ">" in redirect and not (redirect in (">&", "<&") and word.text.rstrip("-").isdigit()):
            writes.append((redirect, word))
        redirect = ""
    if words or writes or bodies:
        found.append(Simple(words, writes, bodies, ""))
    return found


def _word(line: str, at: int, end: int) -> tuple[Word, int]:
    start = at
    parts: list[str] = []
    while at < end and (m := _PART.match(line, at, end)) is not None:
        part = m.group()
        parts.append(part)
        at = m.end()
    if at == start or (at < end and line[at] in "'\""):
        # A quote that never closes: the rest is one word.
        return Word(line[start:end], start, end), end
    if len(parts) == 1:
        part = parts[0]
        if part[0] == "'":
            return Word(part[1:-1], start + 1, at - 1), at
        if part[0] == '"':
            return Word(_UNESCAPE.sub(r"\1", part[1:-1]), start + 1, at - 1), at
        if part[0] != "\\":
            return Word(part, start, at), at
    return Word("".join(map(_unquoted, parts)), start, at), at


def _unquoted(part: str) -> str:
    if part[0] in "'\"":
        return part[1:-1]
    return part[1:] if part[0] == "\\" else part


def _bodies(line: str, at: int, waiting: list[tuple[str, list[Heredoc]]]) -> int:
    """Take the here-documents that wait behind a newline; where the line goes on."""
    for i, (mark, kept) in enumerate(waiting):
        if i:
            at = min(at + 1, len(line))  # behind the line that ended the one before
        start = at
        while True:
            stop = line.find("\n", at)
            text = line[at : stop if stop >= 0 else len(line)] if stop < 0 or stop - at < len(mark) + 80 else ""
            if text.strip() == mark:
                kept.append(Heredoc(start, at))
                at = stop if stop >= 0 else len(line)
                break
            if stop < 0:
                kept.append(Heredoc(start, len(line)))
                return len(line)
            at = stop + 1
    return at


def bare(words: list[Word]) -> list[str]:
    """The words of a command behind prefixes that run another one: `timeout 60`, `env A=b`, `poetry run`, …"""
    texts = [word.text for word in words]
    for _ in range(8):
        cut = _prefix(texts)
        if not cut or cut > len(texts):
            return texts
        texts = texts[cut:]
    return texts


_PLAIN = frozenset(
    "time nohup exec builtin xvfb-run if then else elif do while until ! { stdbuf nice sudo doas command env ionice nyc c8 cross-env setsid caffeinate".split()
)
_RUNNERS = {
    "poetry": ("run",), "pipenv": ("run",), "uv": ("run",), "pdm": ("run",), "hatch": ("run", "test:run"), "rye": ("run",), "pixi": ("run",),
    "bundle": ("exec",), "conda": ("run",), "mamba": ("run",), "micromamba": ("run",), "pnpm": ("exec", "dlx"), "npm": ("exec", "x"), "yarn": ("exec", "dlx"),
    "mise": ("exec", "x"), "direnv": ("exec",), "coverage": ("run",), "bun": ("x",), "uvx": (), "npx": (), "bunx": (), "pnpx": (), "tsx": (),
}  # fmt: skip
# Options of these that take the next word.
_TAKES = frozenset(
    "-n --name -p --prefix --python --with --extra --group --directory --project -u -k -s -g -e -w --env --user --workdir -c --cpus -m --memory -v --volume --name --network --entrypoint -C --package --env-file --rcfile --source --omit -i".split()
)


def _prefix(texts: list[str]) -> int:
    """How many words at the front only run the rest."""
    if not texts:
        return 0
    first = texts[0].rpartition("/")[2]
    if _ASSIGNMENT.match(texts[0]):
        return 1
    if first == "timeout":
        at = _options(texts, 1, frozenset(("-k", "-s", "--kill-after", "--signal")))
        return at + 1 if at < len(texts) and _DURATION.match(texts[at]) else at
    if first in ("command", "exec") and len(texts) > 1 and texts[1] in ("-v", "-V"):
        return 0
    if first in _PLAIN:
        return _options(texts, 1, frozenset(("-n", "-u", "-g", "-C")))
    if first in ("docker", "podman", "docker-compose", "kubectl", "nerdctl"):
        return _container(texts)
    if first in _RUNNERS:
        subs = _RUNNERS[first]
        at = 1
        if subs:
            at = _options(texts, 1, _TAKES)
            if at >= len(texts) or texts[at] not in subs:
                return 0
            at += 1
        if first == "coverage" and "-m" in texts[at:]:
            return texts.index("-m", at) - 1 if texts[texts.index("-m", at) - 1 : texts.index("-m", at)] == ["python"] else 0
        if first == "coverage":
            return 0
        return _options(texts, at, frozenset() if first in ("npx", "bunx", "tsx") else _TAKES)
    return 0


def _options(texts: list[str], at: int, takes: frozenset[str]) -> int:
    while at < len(texts) and texts[at].startswith("-"):
        if texts[at] == "--":
            return at + 1
        at += 2 if texts[at] in takes else 1
    return at


_CONTAINER_TAKES = frozenset(
    "-e --env -u --user -w --workdir -v --volume --name --network --entrypoint -c -n --namespace --env-file -p --publish -m --memory --cpus --mount -f --file --platform --index".split()
)


def _container(texts: list[str]) -> int:
    at = 1
    if len(texts) > at and texts[at] == "compose":
        at += 1
    at = _options(texts, at, _CONTAINER_TAKES)
    if at >= len(texts) or texts[at] not in ("exec", "run"):
        return 0
    at = _options(texts, at + 1, _CONTAINER_TAKES) + 1  # the container or image
    return at + 1 if at < len(texts) and texts[at] == "--" else at


_SHELLS = frozenset(("bash", "sh", "zsh", "dash", "ash", "ksh"))


class Step(NamedTuple):
    """A simple command as it is judged: its bare words, the operator behind it."""

    words: list[str]
    operator: str


def steps(line: str) -> list[Step]:
    """All simple commands of a line, those inside `bash -c '…'` in its place."""
    return _steps(line, 0) if len(line) > 2_000 else list(_steps_cached(line))


@lru_cache(maxsize=2_048)
def _steps_cached(line: str) -> tuple[Step, ...]:
    return tuple(_steps(line, 0))


def _steps(line: str, depth: int) -> list[Step]:
    found: list[Step] = []
    for simple in parse(line):
        words = bare(simple.words)
        inner = _inner(words) if depth < _DEPTH else None
        if inner is not None:
            nested = _steps(inner, depth + 1)
            if nested:
                nested[-1] = nested[-1]._replace(operator=simple.operator)
                found.extend(nested)
                continue
        found.append(Step(words, simple.operator))
    return found


def _inner(words: list[str]) -> str | None:
    """The line in `bash -c '…'`."""
    if len(words) < 2:
        return None
    name = words[0].rpartition("/")[2]
    if name == "eval":
        return " ".join(words[1:])
    if name not in _SHELLS:
        return None
    for i, word in enumerate(words[1:-1], 1):
        if word.startswith("-") and not word.startswith("--") and "c" in word:
            return words[i + 1]
        if not word.startswith(("-", "+")) and word != "pipefail":
            return None
    return None
