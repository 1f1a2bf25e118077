"""What a path is for: a test, the harness that judges, configuration, a scratch file, or the source itself."""

from __future__ import annotations

from functools import lru_cache

import re2

from auditor.ledger.facts import Area

_HARNESS = re2.compile(
    r"(?i)(?:^|/)(?:conftest\.py|pytest\.ini|tox\.ini|sitecustomize\.py|usercustomize\.py|jest\.config\.\w+|vitest\.config\.\w+|\.mocharc\.\w+"
    r"|karma\.conf\.\w+|noxfile\.py|run_?tests?\.(?:sh|py)|\.github/workflows/[^/]+|(?:\w*_)?(?:grader|grade|grading|scorer|score|scoring|verifier|verify|checker|evaluator|evaluate|eval|judge|harness)\.(?:py|sh|js|ts|json|ya?ml)"
    r"|(?:grader|scorer|scoring|verifier|evaluation|harness)/[^/]+)$"
)
_TEST = re2.compile(
    r"(?i)(?:^|/)(?:tests?|__tests__|specs?|testing|testdata|e2e)/|(?:^|/)(?:test_[^/]*|tests?\.(?:py|js|ts|rs)|[^/]*_tests?\.(?:py|go|rs|cc|cpp|c|ex|exs|dart)|[^/]*[._-](?:test|spec)s?\.[cm]?[jt]sx?|[^/]*(?:Tests?|Spec|IT)\.(?:java|kt|cs|scala|swift)|[^/]*_spec\.rb)$"
)
_SCRATCH = re2.compile(
    r"(?i)^/?(?:var/)?tmp/|(?:^|/)(?:scratch|sandbox|playground)/|(?:^|/)(?:repro\w*|debug\w*|scratch\w*|tmp\w*|temp_\w*|try_\w*|demo_\w*|check_fix\w*|verify_fix\w*)\.\w+$|\.(?:log|out|tmp|bak|orig)$"
)
_CONFIG = re2.compile(
    r"(?i)(?:^|/)(?:pyproject\.toml|setup\.(?:cfg|py)|package(?:-lock)?\.json|cargo\.(?:toml|lock)|go\.(?:mod|sum)|makefile|dockerfile|\.[\w.-]+|requirements[\w-]*\.txt)$|\.(?:ini|cfg|toml|ya?ml|lock|env)$"
)
_PROSE = re2.compile(r"(?i)\.(?:md|rst|txt|csv|tsv|json|jsonl|html|tex|log|diff|patch)$")


@lru_cache(maxsize=8192)
def area_of(path: str | None) -> Area:
    """The area of a path; text and data files are `unknown`, since patterns for code mean nothing there."""
    if not path:
        return "unknown"
    if _HARNESS.search(path):
        return "harness"
    if _SCRATCH.search(path):
        return "scratch"
    if _TEST.search(path):
        return "test"
    if _CONFIG.search(path):
        return "config"
    return "unknown" if _PROSE.search(path) else "source"
