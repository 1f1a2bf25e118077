"""The commands. Parse, call, print: no logic here. stdout carries the answer, stderr the progress.

Exit codes: 0 done, 1 a check failed, 2 usage or an error to mend, 3 done with rejects under --strict, 130 interrupted.
"""

from __future__ import annotations

import os
import sys

from auditor.cli import ask, gate, grow, judge, label, read, rubrics, scan, validate, view
from auditor.cli.base import app, say
from auditor.errors import AuditorError


def main() -> None:
    """Run a command; a user's mistake is one line on stderr and exit code 2."""
    try:
        app()
    except AuditorError as error:
        say(f"auditor: {' '.join(str(error).split())}")
        sys.exit(2)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)


__all__ = ["app", "ask", "gate", "grow", "judge", "label", "main", "read", "rubrics", "scan", "validate", "view"]
