"""Which commands are runs of tests, builds, linters; what stands between them and the shell is looked through."""

from __future__ import annotations

import pytest

from auditor.ledger.commands import command_of, kind_of
from auditor.transcript import ToolCall

KINDS = {
    "test": [
        "pytest -q", "cd x && timeout 60 python -m pytest tests/ | tail -5", "FOO=1 uv run pytest", "bash -c 'pytest -x'", "npm test",
        "yarn run test:unit", "npx jest --ci", "go test ./...", "cargo test --all", "cargo nextest run", "make check", "mvn -q test",
        "./gradlew test", "ctest --output-on-failure", "bundle exec rspec", "node --test", "python manage.py test app", "./run_tests.sh",
        "python tests/test_a.py", "docker exec app pytest", "tox -e py311", "python -m unittest discover", "cat > a.py <<'E'\nx\nE\npytest",
    ],
    "build": ["make", "cargo build --release", "gcc -O2 a.c", "npx tsc --noEmit", "go build ./...", "mvn package", "npm run build"],
    "lint": ["ruff check .", "python -m mypy src", "npx eslint .", "cargo clippy"],
    "other": [
        "pip install pytest", "cat tests/test_x.py", "ls tests", "grep -r pytest .", "pytest --collect-only", "pytest --version",
        "git commit -m 'add tests'", "python - <<'E'\npytest\nE", "echo test", "cat <<'E' > run.sh\npytest\nE",
    ],
}  # fmt: skip


@pytest.mark.parametrize(("kind", "command"), [(kind, command) for kind, commands in KINDS.items() for command in commands])
def test_the_kind_of_a_command(kind, command):
    assert kind_of(command) == kind


@pytest.mark.parametrize(
    ("name", "arguments", "command"),
    [
        ("Bash", {"command": "ls"}, "ls"),
        ("shell", {"command": ["bash", "-lc", "pytest -q"]}, "pytest -q"),
        ("exec_command", {"cmd": "ls -l"}, "ls -l"),
        ("str_replace_editor", {"command": "view", "path": "a"}, None),
        ("Edit", {"file_path": "a", "old_string": "b", "new_string": "c"}, None),
        ("get_weather", {"city": "Oslo"}, None),
    ],
)
def test_the_command_in_a_call(name, arguments, command):
    assert command_of(ToolCall(name=name, arguments=arguments)) == command
