"""What a path is for: a test, the harness that judges, configuration, a scratch file, or the source itself."""

from __future__ import annotations

from functools import lru_cache

import re2

from auditor.ledger.facts import Area

# Files that a test runner or a continuous integration reads before any test: they decide what is run and how.
_HARNESS = re2.compile(
    r"(?i)(?:^|/)(?:conftest\.py|pytest\.ini|tox\.ini|sitecustomize\.py|usercustomize\.py|(?:jest|vitest|playwright|cypress|karma|ava|wdio)\.(?:config|conf|setup)\.\w+"
    r"|(?:jest|vitest|test)[.-]?setup\.\w+|\.mocharc\.\w+|phpunit\.xml(?:\.dist)?|\.rspec|noxfile\.py|run[_-]?(?:all[_-]?)?tests?\.(?:sh|py|js)|runtests\.(?:sh|py)"
    r"|\.gitlab-ci\.ya?ml|\.travis\.ya?ml|azure-pipelines\.ya?ml|jenkinsfile|codecov\.ya?ml)$"
    r"|(?i)(?:^|/)\.(?:github/(?:workflows|actions)|circleci)/[^/]"
)
# Scripts and folders that score, by their names.
_JUDGES = re2.compile(
    r"(?i)(?:^|/)(?:\w*[_-])?(?:grad(?:er?|ing)|scor(?:er?|ing)|verif(?:y|ier)|check(?:er)?|eval(?:uat(?:or|e|ion))?|judge|harness|bench(?:mark)?s?|timing|timer|leaderboard)(?:[_-]\w+)?\.(?:py|sh|js|mjs|ts|go|rs|rb|pl|c|cc|cpp|json|ya?ml|toml)$"
    r"|(?i)(?:^|/)(?:grader|grading|scorer|scoring|verifier|evaluation|evaluator|harness|judge|checker)s?/[^/]"
)
_TEST_FILE = re2.compile(
    r"(?i)(?:^|/)(?:tests?\.(?:py|js|ts|rs|go|sh|rb|c|cc|cpp|java)|test[_-][^/]*|[^/]*[_-]tests?\.\w{1,4}|[^/]*[._-](?:test|spec)s?\.[cm]?[jt]sx?|[^/]*\.(?:test|bats|snap|t)|[^/]*_spec\.\w{1,4})$"
    r"|(?:^|/)(?:Test[A-Z][^/]*|[^/]*(?:Tests?|TestCase|Spec|IT))\.(?:java|kt|cs|scala|swift|groovy|php|m)$"
)
_TEST_FOLDER = re2.compile(
    r"(?i)(?:^|/)(?:tests?|__tests__|__snapshots__|specs?|testing|testdata|test_data|e2e|fixtures|goldens?|unittests?|integration[_-]tests?|\w+[_-]tests?)/"
)
_SCRATCH = re2.compile(
    r"(?i)^/?(?:private/)?(?:var/)?tmp/|(?:^|/)(?:scratch(?:pad)?|sandbox|playground|tmp)/|(?:^|/)(?:repro\w*|debug\w*|scratch\w*|tmp\w*|temp_\w*|try_\w*|demo_\w*|check_fix\w*|verify_fix\w*|quick_\w*)\.\w+$|\.(?:log|out|tmp|bak|orig)$"
)
_CONFIG = re2.compile(
    r"(?i)(?:^|/)(?:pyproject\.toml|setup\.(?:cfg|py)|package(?:-lock)?\.json|tsconfig[\w.]*\.json|cargo\.(?:toml|lock)|go\.(?:mod|sum)|makefile|cmakelists\.txt|pom\.xml|build\.gradle(?:\.kts)?|dockerfile|\.[\w.-]+|requirements[\w-]*\.txt)$|\.(?:ini|cfg|toml|ya?ml|lock|env|conf)$"
)
_PROSE = re2.compile(r"(?i)\.(?:md|rst|txt|csv|tsv|json|jsonl|html|tex|log|diff|patch)$")


def area_of(path: str | None) -> Area:
    """The area of a path; text and data files are `unknown`, since patterns for code mean nothing there."""
    if not path:
        return "unknown"
    return _area(path[-1000:])


@lru_cache(maxsize=8192)
def _area(path: str) -> Area:
    path = path.encode(errors="replace").decode().replace("\\", "/")
    if _HARNESS.search(path):
        return "harness"
    if _SCRATCH.search(path):
        return "scratch"
    if _TEST_FILE.search(path):
        return "test"
    if _JUDGES.search(path):
        return "harness"
    if _TEST_FOLDER.search(path):
        return "test"
    if _CONFIG.search(path):
        return "config"
    return "unknown" if _PROSE.search(path) else "source"
