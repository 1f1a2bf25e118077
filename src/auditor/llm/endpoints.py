"""Endpoints: which server, which model, with which key and parameters. From flags, the environment, or a YAML file:

strong: {model: gpt-5, params: {reasoning_effort: medium}}
local:  {model: Qwen/Qwen3-32B, base_url: "http://localhost:8000/v1", key_env: VLLM_KEY, price: [0, 0], concurrency: 64}
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

import yaml
from pydantic import BaseModel, ConfigDict, Field, JsonValue, SecretStr, ValidationError

from auditor.errors import ServerError
from auditor.text import visible

OPENAI = "https://api.openai.com/v1"


class Endpoint(BaseModel):
    """One model at one server. `price`: USD per million tokens (in, out); `timeout`: seconds a call. Keys are never shown."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    name: str
    model: str
    base_url: str | None = None
    key: SecretStr = Field(default=SecretStr(""), repr=False)
    headers: dict[str, SecretStr] = Field(default_factory=dict, repr=False)
    params: dict[str, JsonValue] = Field(default_factory=dict)
    price: tuple[float, float] | None = None
    concurrency: int = Field(default=32, ge=1, le=4096)
    timeout: float = Field(default=180.0, gt=0)

    def scrub(self, text: str) -> str:
        """`text` on one line, without this endpoint's key and headers, safe for a terminal."""
        for secret in (self.key, *self.headers.values()):
            value = secret.get_secret_value()
            for part in (value, value.removeprefix("Bearer ")):
                if len(part) >= 6:
                    text = text.replace(part, "…")
        return visible(" ".join(text.split()), newlines=False)


class Given(BaseModel):
    """An endpoint as a file gives it; `key_env` names the environment variable that holds its key."""

    model_config = ConfigDict(extra="forbid")
    model: str
    base_url: str | None = None
    key_env: str | None = None
    headers: dict[str, str] = Field(default_factory=dict)
    params: dict[str, JsonValue] = Field(default_factory=dict)
    price: tuple[float, float] | None = None
    concurrency: int | None = None
    timeout: float | None = None


G = TypeVar("G", bound=Given)


def endpoint(
    name: str,
    *,
    base_url: str | None = None,
    file: str | None = None,
    headers: Sequence[str] = (),
    params: Sequence[str] = (),
    price: tuple[float, float] | None = None,
    concurrency: int | None = None,
    timeout: float | None = None,
) -> Endpoint:
    """The endpoint of that name in `file` (or in the file that AUDITOR_ENDPOINTS names), else the model of that name.

    Flags win over the file. `headers` are "Name: value", `params` "name=value" with a YAML value. ServerError says what is missing.
    """
    file = file or os.environ.get("AUDITOR_ENDPOINTS")
    named = load(file, Given) if file else {}
    given = named.get(name) or Given(model=name, base_url=base_url)
    changed = {"price": price, "concurrency": concurrency, "timeout": timeout}
    given = given.model_copy(update={key: value for key, value in changed.items() if value is not None})
    known = f"; {file} names {', '.join(named)}" if named else ""
    return made(
        name, given, base_url=base_url, headers=dict(map(_header, headers)), params=dict(map(_param, params)), known=known
    )


def public(url: str | None) -> str:
    """An address without what may be secret in it: no user, no password, no query."""
    parts = urlsplit(url or OPENAI)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def made(
    name: str, given: Given, *, base_url: str | None = None, headers: dict[str, str] | None = None,
    params: dict[str, JsonValue] | None = None, known: str = "", own_key: bool = False,
) -> Endpoint:  # fmt: skip
    """An endpoint of what a file gives, with its key from the environment. ServerError says what is missing; `known` is told with it.

    With `own_key` the key in OPENAI_API_KEY goes to OpenAI alone: another server gets the one that its `key_env` names, or none.
    """
    url = given.base_url or base_url or os.environ.get("OPENAI_BASE_URL") or None
    theirs = own_key and given.key_env is None and url is not None and not url.startswith(OPENAI.removesuffix("/v1"))
    key = "" if theirs else os.environ.get(given.key_env or "OPENAI_API_KEY", "")
    if not key:
        if given.key_env:
            raise ServerError(f"endpoint {name}: no API key: the environment variable {given.key_env} is not set")
        if url is None or url.startswith(OPENAI.removesuffix("/v1")):
            raise ServerError(
                f"{name}: no API key: set OPENAI_API_KEY, or point --base-url at a server that needs none (vLLM, Ollama, llama.cpp){known}"
            )
    told = {**given.headers, **(headers or {})}
    try:
        return Endpoint(
            name=name, model=given.model, base_url=url.rstrip("/") if url else None, key=SecretStr(key or "none"),
            headers={k: SecretStr(v) for k, v in told.items()}, params={**given.params, **(params or {})}, price=given.price,
            **_set(concurrency=given.concurrency, timeout=given.timeout),
        )  # fmt: skip
    except ValidationError as error:
        first = error.errors(include_input=False)[0]
        raise ServerError(f"endpoint {name}: {'.'.join(map(str, first['loc']))}: {first['msg']}") from None


def _set(**values: Any) -> dict[str, Any]:
    return {key: value for key, value in values.items() if value is not None}


def load(file: str, shape: type[G]) -> dict[str, G]:
    """What a YAML file gives, by name. ServerError names the file, the entry and the key."""
    try:
        data = yaml.safe_load(Path(file).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ServerError(f"{file}: cannot be read as a file of endpoints ({' '.join(str(error).split())[:160]})") from None
    if not isinstance(data, dict):
        raise ServerError(
            f"{file}: {'is empty; it ' if data is None else ''}should map names to endpoints, such as  local: {{model: qwen, base_url: http://localhost:8000/v1}}"
        )
    found = {}
    for name, value in data.items():
        try:
            found[str(name)] = shape.model_validate(value)
        except ValidationError as error:
            first = min(error.errors(include_input=False), key=lambda e: e["type"] != "extra_forbidden")
            told = "should be a mapping such as {model: NAME}" if first["type"] == "model_type" else first["msg"]
            raise ServerError(f"{file}: endpoint {name}: {'.'.join(map(str, first['loc'])) or 'entry'}: {told}") from None
    return found


def _header(text: str) -> tuple[str, str]:
    name, colon, value = text.partition(":")
    if not colon or not name.strip():
        raise ServerError("--header: give it as 'Name: value'")  # the value may be a secret and is not repeated
    return name.strip(), value.strip()


def _param(text: str) -> tuple[str, JsonValue]:
    name, equals, value = text.partition("=")
    if not equals or not name.strip():
        raise ServerError(f"--param {text!r}: give it as name=value, such as --param temperature=0")
    try:
        return name.strip(), yaml.safe_load(value)
    except yaml.YAMLError:
        return name.strip(), value
