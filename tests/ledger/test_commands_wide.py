"""What a tool call runs, and of which kind: a table of lines. `test-`: the exit code is not the test run's own."""

from __future__ import annotations

import pytest

from auditor.ledger.commands import command_of, echoes_code, told
from auditor.ledger.shell import parse, steps
from auditor.transcript import ToolCall

LINES = [
    ("test", "pytest -q"),
    ("test-", "cd x && timeout 60 python -m pytest tests/a.py 2>&1 | tail -5"),
    ("test", "env A=b pytest"),
    ("test", "poetry run pytest -x"),
    ("test", "uv run --with foo pytest"),
    ("test", "docker exec -it web pytest"),
    ("test", "docker compose exec -T web python manage.py test app"),
    ("test", "bash -c 'cd /x; npm test'"),
    ("other", "pytest --collect-only"),
    ("other", "pytest --version"),
    ("other", "pip install pytest"),
    ("other", "grep -rn pytest ."),
    ("other", "cat test_x.py"),
    ("other", "ls tests"),
    ("test", "python test_foo.py"),
    ("test", "python tests/runtests.py model_fields"),
    ("test", "./run_tests.sh"),
    ("test", "./check.py"),
    ("test", "python -m unittest discover -s tests"),
    ("test", "go test ./..."),
    ("test", "go build ./... && go test ./pkg -run TestX"),
    ("test", "cargo nextest run"),
    ("build", "cargo test --no-run"),
    ("test", "npx vitest run"),
    ("test", "npm run test:unit -- --watch=false"),
    ("build", "npm run build"),
    ("build", "make"),
    ("lint", "make lint"),
    ("test", "make check"),
    ("test", "mise run test:ci"),
    ("test", "coverage run -m pytest"),
    ("test", "python -m coverage run -m pytest"),
    ("test", "for f in tests/*.py; do python tests/$f; done"),
    ("test-", "if pytest -q; then echo ok; fi"),
    ("other", "test -f foo && echo yes"),
    ("other", "[ -f tests/x ] && echo"),
    ("other", "command -v pytest"),
    ("other", "which pytest"),
    ("other", 'git commit -m "run pytest && make test"'),
    ("test", "mvn -q test"),
    ("build", "mvn package"),
    ("test", "./gradlew :app:testDebugUnitTest"),
    ("test", "bundle exec rspec spec/a_spec.rb"),
    ("test", "dotnet test"),
    ("test", "node --test"),
    ("test", "yarn test"),
    ("test", "tox -e py311"),
    ("test", "nox -s tests"),
    ("test", "ctest --test-dir b"),
    ("test", "set -o pipefail; pytest | tee log"),
    ("test-", "pytest; echo $?"),
    ("test-", "pytest || true"),
    ("test", "./test_binary"),
    ("test", 'python -c "import pytest; pytest.main()"'),
    ("test", "PYTHONPATH=. python3 -W ignore -m pytest"),
    ("test", "sudo -u dev pytest"),
    ("test", "bin/test sympy/core"),
    ("other", "python3 - <<'EOF'"),
    ("lint", "ruff check . && mypy src"),
    ("build", "npx tsc --noEmit"),
    ("test", "(cd web && npm test)"),
    ("other", 'echo "pytest"'),
    ("test", "time pytest -x &"),
    ("test", "conda run -n env pytest"),
    ("lint", "cargo clippy -- -D warnings"),
    ("build", "gcc -o a a.c && ./a"),
    ("build", "docker build -t x ."),
    ("test", "phpunit tests"),
    ("test", "rake test"),
    ("test", "make -C build test"),
    ("test", "timeout -k 5 120s npm test"),
    ("test", "python -m pytest tests -q --tb=short"),
    ("other", "python -m pip install -e '.[test]'"),
    ("other", "find . -name '*test*' | head"),
    ("test", "xvfb-run -a npm test"),
    ("other", "npm install --save-dev jest"),
    ("other", "sed -n 1,40p tests/test_a.py"),
    ("other", "git diff tests/"),
    ("test", "nohup pytest > out.log 2>&1 &"),
    ("test", "bash tests/run.sh"),
    ("test", "cd /app && ./tests/run_all.sh"),
    ("test", "python3.11 -m tox"),
    ("test", "jest src/a.test.ts"),
    ("test", "deno test -A"),
    ("test", "bun test"),
    ("other", "git checkout tests/test_x.py"),
    ("other", "rm -rf tests/__pycache__"),
    ("other", "apt-get install -y pytest"),
    ("other", "python setup.py develop"),
    ("test", "python manage.py test polls"),
    ("test", "DJANGO_SETTINGS_MODULE=x python -Wall ./runtests.py --verbosity 2 forms_tests"),
    ("other", "make clean"),
    ("test", "/usr/bin/env python3 -m pytest"),
]


@pytest.mark.parametrize(("kind", "line"), LINES)
def test_kind_of_a_line(kind, line):
    found, speaks = told(line)
    assert found + ("" if speaks else "-") == kind


def test_a_script_in_a_here_document_is_not_run_because_it_says_so():
    assert told("cat > ferry.py <<'EOF'\npytest -q\nEOF\nls")[0] == "other"
    assert told("cat > ferry.py <<'EOF'\nls\nEOF\npytest -q")[0] == "test"


@pytest.mark.parametrize(
    ("name", "arguments", "command"),
    [
        ("Bash", {"command": "ls", "description": "look"}, "ls"),
        ("shell", {"command": ["bash", "-lc", "go test ./..."]}, "go test ./..."),
        ("shell", {"command": ["ls", "-l"]}, "ls -l"),
        ("container.exec", {"cmd": ["bash", "-lc", "pytest"]}, "pytest"),
        ("exec_command", {"cmd": "make"}, "make"),
        ("execute_bash", {"command": "pwd", "security_risk": "LOW"}, "pwd"),
        ("run_shell_command", {"command": "ls"}, "ls"),
        ("python", {"code": "print(1)"}, "python - <<CODE\nprint(1)\nCODE"),
        ("terminal", {"keystrokes": "ls\n"}, "ls\n"),
        ("str_replace_editor", {"command": "view", "path": "a.py"}, None),
        ("str_replace_editor", {"command": "create", "path": "a.py", "file_text": "x"}, None),
        ("book_flight", {"origin": "OSL"}, None),
        ("apply_patch", {"input": "*** Begin Patch"}, None),
        ("search", {"command": "pytest"}, None),
        ("Bash", {"command": 7}, None),
        ("Bash", {"command": []}, None),
    ],
)
def test_command_of_a_call(name, arguments, command):
    assert command_of(ToolCall(name=name, arguments=arguments)) == command


def test_words_stand_where_they_say():
    line = """FOO=1 echo 'a b' "c \\" d" e\\ f > out.txt 2>&1 && cat <<'A' <<B\none\nA\ntwo\nB\nls # no more"""
    found = parse(line)
    assert [[w.text for w in s.words] for s in found] == [["FOO=1", "echo", "a b", 'c " d', "e f"], ["cat"], ["ls"]]
    assert [line[w.start : w.end] for w in found[0].words][2] == "a b"
    assert [(op, w.text) for op, w in found[0].writes] == [(">", "out.txt")]
    assert [line[b.start : b.end] for b in found[1].bodies] == ["one\n", "two\n"]


def test_a_line_inside_a_line():
    words = [step.words for step in steps("sudo bash -lc 'cd a && timeout 5 pytest -q' | tail")]
    assert words == [["cd", "a"], ["pytest", "-q"], ["tail"]]


def test_a_quote_that_never_closes_is_one_word():
    assert [w.text for w in parse("echo 'never ; closed")[0].words] == ["echo", "'never ; closed"]


def test_the_exit_code_that_a_line_prints():
    assert echoes_code("pytest | tail; echo ${PIPESTATUS[0]}")
    assert not echoes_code("pytest; echo done")
