"""What the tools of many languages do, by their first words: npm, make, cargo, go, mvn, …"""

from __future__ import annotations

import re
from collections.abc import Callable

from auditor.ledger.facts import RunKind

TESTERS = frozenset(
    "pytest py.test nosetests nose2 tox nox jest vitest mocha ava rspec ctest phpunit pest bats karma prove trial stestr gotestsum ginkgo behave cucumber busted tape testem richgo runtests".split()
)
BUILDERS = frozenset(
    "cmake ninja gcc g++ cc c++ clang clang++ javac kotlinc tsc rustc nvcc webpack rollup vite esbuild scons msbuild xcodebuild".split()
)
LINTERS = frozenset(
    "ruff mypy flake8 pylint black isort eslint prettier pyright stylelint shellcheck golangci-lint rubocop gofmt goimports pre-commit biome bandit pydocstyle pycodestyle yapf phpstan phpcs clang-format clang-tidy rustfmt ktlint staticcheck oxlint standard codespell ty basedpyright vulture".split()
)
_TEST_TASK = re.compile(
    r"(?:test|tests|check|checks|unittest|unit|e2e|spec|specs|pytest|jest|vitest|verify|t|tst|ci)(?:[:_\-.\w]*)\Z"
)
_TEST_WORD = re.compile(r"(?:^|[:_\-.])(?:test|tests|check|unittest|spec|pytest|e2e|verify)(?:$|[:_\-.])")
_LINT_WORD = re.compile(r"(?:^|[:_\-.])(?:lint|fmt|format|typecheck|type-check|mypy|ruff|eslint|style|tidy)(?:$|[:_\-.])")


def of_package(words: list[str]) -> RunKind:
    """npm, yarn, pnpm, bun: the script or binary that they run."""
    rest = words[1:]
    while rest:
        word = rest[0]
        if word in (
            "run",
            "run-script",
            "exec",
            "workspaces",
            "-r",
            "--recursive",
            "--silent",
            "-s",
            "--if-present",
            "foreach",
        ) or (word.startswith("-") and "=" in word):
            rest = rest[1:]
        elif word in ("--prefix", "-C", "--cwd", "--filter", "-F", "--workspace", "-w", "workspace", "--dir"):
            rest = rest[2:]
        elif word.startswith("-"):
            rest = rest[1:]
        else:
            break
    if not rest:
        return "build" if words[0].endswith("yarn") and len(words) == 1 else "other"
    word = rest[0]
    if word in (
        "install",
        "i",
        "ci",
        "add",
        "remove",
        "view",
        "info",
        "ls",
        "list",
        "why",
        "outdated",
        "audit",
        "init",
        "create",
        "uninstall",
        "link",
    ):
        return "other"
    if word in TESTERS or word in ("test", "t", "tst") or _TEST_WORD.search(word):
        return "lint" if _LINT_WORD.search(word) else "test"
    if _LINT_WORD.search(word) or word in LINTERS:
        return "lint"
    return "build" if word.startswith(("build", "compile", "tsc", "bundle")) or word in BUILDERS else "other"


def _make(words: list[str]) -> RunKind:
    targets: list[str] = []
    at = 1
    while at < len(words):
        if words[at] in ("-C", "-f", "-I", "--directory", "--file"):
            at += 1
        elif not words[at].startswith("-") and "=" not in words[at]:
            targets.append(words[at])
        at += 1
    if "-n" in words or "--dry-run" in words:
        return "other"
    if any(_TEST_TASK.match(t) or _TEST_WORD.search(t) for t in targets):
        return "lint" if all(_LINT_WORD.search(t) for t in targets) else "test"
    if targets and all(_LINT_WORD.search(t) for t in targets):
        return "lint"
    return "other" if targets and all(t in ("clean", "help", "distclean", "run") for t in targets) else "build"


def _task(words: list[str]) -> RunKind:
    """just, task, mise, nx, turbo, rake, composer, …: a named task."""
    rest = [
        w for w in words[1:] if not w.startswith("-") and w not in ("run", "r", "run-many", "affected", "run-script", "artisan")
    ]
    rest = [w.rpartition("=")[2] for w in rest]
    if not rest or rest[0] in ("install", "use", "ls", "list", "tasks"):
        return "other"
    if any(_TEST_TASK.match(w) or _TEST_WORD.search(w) for w in rest[:3]):
        return "test"
    if any(_LINT_WORD.search(w) for w in rest[:3]):
        return "lint"
    return "build" if any(w.startswith("build") or w == "compile" for w in rest[:3]) else "other"


def _sub(tests: str, builds: str = "", lints: str = "") -> Callable[[list[str]], RunKind]:
    """A tool whose first plain word says what it does."""
    kinds: dict[str, RunKind] = {
        **dict.fromkeys(lints.split(), "lint"),
        **dict.fromkeys(builds.split(), "build"),
        **dict.fromkeys(tests.split(), "test"),
    }

    def kind(words: list[str]) -> RunKind:
        sub = next((w for w in words[1:] if not w.startswith(("-", "+"))), "")
        return kinds.get(sub, "other")

    return kind


def _cargo(words: list[str]) -> RunKind:
    rest = [w for w in words[1:] if not w.startswith(("-", "+"))]
    if rest[:1] == ["nextest"]:
        return "test" if rest[1:2] in (["run"], ["r"]) else "other"
    if rest[:1] in (["miri"], ["llvm-cov"], ["hack"], ["careful"]):
        return "test" if "test" in rest or rest[0] == "llvm-cov" else "other"
    return _CARGO(words)


def _go(words: list[str]) -> RunKind:
    kind = _GO(words)
    return "other" if kind == "test" and "-list" in words else kind


def _maven(words: list[str]) -> RunKind:
    goals = [w for w in words[1:] if not w.startswith("-")]
    if any(w.startswith(("-DskipTests", "-Dmaven.test.skip")) and not w.endswith("=false") for w in words):
        return "build"
    if any(g in ("test", "verify", "integration-test", "surefire:test", "failsafe:integration-test") for g in goals):
        return "test"
    if any(g.endswith(("spotless:check", "checkstyle:check", "spotless:apply")) for g in goals):
        return "lint"
    return "build" if any(g in ("compile", "package", "install", "test-compile", "deploy") for g in goals) else "other"


def _gradle(words: list[str]) -> RunKind:
    tasks = [w.rpartition(":")[2] for w in words[1:] if not w.startswith("-")]
    if any(t == "check" or t.startswith("test") or t.endswith("Test") for t in tasks) and "tasks" not in tasks:
        return "test"
    return "build" if any(t.startswith(("build", "assemble", "compile", "jar", "install")) for t in tasks) else "other"


def _docker(words: list[str]) -> RunKind:
    return "build" if "build" in words[1:4] else "other"


_CARGO = _sub("test t", "build b check c rustc install doc bench", "clippy fmt")
_GO = _sub("test", "build install generate", "vet fmt")
TOOLS: dict[str, Callable[[list[str]], RunKind]] = {
    **dict.fromkeys(("npm", "yarn", "pnpm", "npx", "bunx"), of_package),
    **dict.fromkeys(("make", "gmake", "mingw32-make"), _make),
    **dict.fromkeys(("just", "task", "mise", "nx", "turbo", "lerna", "rake", "rails", "composer", "invoke", "inv", "ng", "grunt", "gulp", "moon", "pants", "hatch", "pdm", "poe"), _task),
    **dict.fromkeys(("mvn", "mvnw", "mvnd"), _maven),
    **dict.fromkeys(("gradle", "gradlew"), _gradle),
    **dict.fromkeys(("docker", "podman", "docker-compose"), _docker),
    "cargo": _cargo,
    "go": _go,
    "dotnet": _sub("test", "build publish", "format"),
    "swift": _sub("test", "build"),
    "mix": _sub("test", "compile", "format credo"),
    "sbt": _sub("test testOnly testQuick", "compile package"),
    "stack": _sub("test", "build"),
    "cabal": _sub("test", "build"),
    "bazel": _sub("test coverage", "build"),
    "buck2": _sub("test", "build"),
    "meson": _sub("test", "compile setup"),
    "zig": lambda words: "test" if "test" in words else "build" if "build" in words else "other",
    "flutter": _sub("test", "build", "analyze"),
    "dart": _sub("test", "compile", "analyze format"),
    "forge": _sub("test", "build", "fmt"),
    "playwright": _sub("test"),
    "cypress": _sub("run"),
    "R": lambda words: "test" if words[1:3] == ["CMD", "check"] else "other",
}  # fmt: skip
