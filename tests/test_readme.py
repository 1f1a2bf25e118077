"""The README cannot drift: its tables are made from the program, its two commands are those of CI."""

from __future__ import annotations

import typer.main
from conftest import REPO

from auditor.cli import app
from auditor.readers import registry

README = (REPO / "README.md").read_text()


def commands() -> str:
    rows = []
    group = typer.main.get_command(app)
    for name, command in group.commands.items():
        inner = getattr(command, "commands", None)
        for sub, found in (inner or {"": command}).items():
            rows.append(f"| `auditor {f'{name} {sub}'.strip()}` | {(found.help or '').splitlines()[0]} |")
    return "\n".join(["| command | what it does |", "|---|---|", *rows])


def formats() -> str:
    rows = [f"| `{r.name}` | {r.title} |" for r in registry().values()]
    return "\n".join(["| format | what |", "|---|---|", *rows])


def test_the_command_table_is_the_help():
    assert commands() in README, commands()


def test_the_format_table_is_the_registry():
    assert formats() in README, formats()


def test_ci_runs_the_second_command():
    (second,) = [line.split("#")[0].strip() for line in README.splitlines() if "pytest  " in line or "&& pytest" in line][:1]
    assert second in (REPO / ".ci" / "run").read_text()
