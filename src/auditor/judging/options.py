"""How a run is judged, as a user says it, and what that makes: endpoints, a setup, a draw."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, get_args

from auditor.errors import AuditorError, ServerError
from auditor.judge import Setup
from auditor.llm import Endpoint, endpoint
from auditor.llm.endpoints import public
from auditor.rubric import View
from auditor.sample import JudgeOn


@dataclass(frozen=True)
class JudgeOptions:
    """Which judges (models, or names in the file of endpoints), on which episodes, for how much (`max_cost`: USD a run)."""

    judges: tuple[str, ...]
    base_url: str | None = None
    endpoints: str | None = None
    headers: tuple[str, ...] = ()
    params: tuple[str, ...] = ()
    price: str | None = None
    concurrency: int | None = None
    timeout: float | None = None
    extract_with: str | None = None
    views: tuple[str, ...] = ("all",)
    votes: int = 1
    context: int = 48_000
    judge_on: JudgeOn = "candidates"
    sample_rest: float = 0.05
    seed: int = 0
    max_cost: float | None = None

    def setup(self) -> Setup:
        """The judges, checked. AuditorError for a view, price or endpoint that is none."""
        views = get_args(View)
        if unknown := [v for v in self.views if v not in views]:
            raise AuditorError(f"--views: {unknown[0]!r} is none; there are {', '.join(views)}")
        if len(set(self.judges)) != len(self.judges):
            raise AuditorError("--judge: a name is given twice; for several answers of one judge use --votes")
        judges = tuple(map(self._endpoint, self.judges))
        extractor = self._endpoint(self.extract_with) if self.extract_with else None
        chosen: tuple[View, ...] = tuple(v for v in views if v in self.views)
        return Setup(judges, extractor, chosen, self.votes, self.context)

    def _endpoint(self, name: str) -> Endpoint:
        return endpoint(
            name, base_url=self.base_url, file=self.endpoints, headers=self.headers, params=self.params, price=self._price(),
            concurrency=self.concurrency, timeout=self.timeout,
        )  # fmt: skip

    def _price(self) -> tuple[float, float] | None:
        if self.price is None:
            return None
        try:
            given, made = map(float, self.price.split(","))
        except ValueError:
            raise ServerError(
                f"--price {self.price!r}: give USD per million tokens, in and out, such as --price 0.25,2"
            ) from None
        return given, made

    def remembered(self) -> dict[str, Any]:
        """What `audit.json` keeps: no headers (they may hold keys), no parameters' secrets."""
        told = asdict(self)
        del told["headers"]
        told["base_url"] = public(self.base_url) if self.base_url else None
        return {key: list(value) if isinstance(value, tuple) else value for key, value in told.items()}

    @classmethod
    def recalled(cls, told: dict[str, Any]) -> JudgeOptions:
        """The options that `remembered` kept."""
        known: dict[str, Any] = {
            key: tuple(v) if isinstance(v, list) else v for key, v in told.items() if key in cls.__dataclass_fields__
        }
        return cls(**known)
