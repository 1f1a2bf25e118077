"""auditor: does a model game its grader, conceal its mistakes, and admit them when asked? Measured from its transcripts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from auditor.asking import AskOptions, ask_models
    from auditor.errors import AuditorError
    from auditor.judging import JudgeOptions, Judging
    from auditor.opened import OpenAudit
    from auditor.pipeline import scan
    from auditor.plan import Options
    from auditor.rubric import Rubric, load_all
    from auditor.store import Audit
    from auditor.transcript import Message, ToolCall, Transcript
    from auditor.verdict import Evidence, Verdict

_HOMES = {
    "AskOptions": "asking", "ask_models": "asking",
    "AuditorError": "errors", "Options": "plan", "scan": "pipeline", "Rubric": "rubric", "load_all": "rubric",
    "Audit": "store", "Message": "transcript", "ToolCall": "transcript", "Transcript": "transcript",
    "Evidence": "verdict", "Verdict": "verdict", "JudgeOptions": "judging", "Judging": "judging",
}  # fmt: skip

__all__ = [
    "AskOptions", "Audit", "AuditorError", "Evidence", "JudgeOptions", "Judging", "Message", "Options", "Rubric", "ToolCall", "Transcript", "Verdict", "ask_models", "load_all",
    "open_audit", "read_transcripts", "scan",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    """Names come from their modules when they are first used, so that `import auditor` is quick."""
    if name in _HOMES:
        from importlib import import_module

        return getattr(import_module(f"auditor.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'auditor' has no attribute {name!r}")


def open_audit(path: str) -> OpenAudit:
    """An audit to read, its numbers as pandas frames (`rates`, `sql`). AuditorError when there is none at `path`."""
    from auditor.opened import OpenAudit

    return OpenAudit.open(path)


def read_transcripts(*paths: str) -> Any:
    """Stream the transcripts (and `Reject`s) of files, folders, globs or URLs, in any known format."""
    from auditor.convert import read_all

    return read_all(paths)
