"""Which endpoint plays which model of the logs: a YAML file from the model's name to an endpoint.

magpie-4:        {model: magpie-4-2026-09, base_url: "https://api.example.com/v1", key_env: MAGPIE_KEY}
heron-2-large:   {model: heron-2-large, base_url: "http://localhost:8000/v1", context: 131072, reasoning: reasoning_content}

`context`: tokens that it takes (what is longer is `too_long` without a call). `reasoning`: the message field by which it
takes earlier reasoning; without it none is sent. The rest as in `auditor.llm.endpoints`, but that OPENAI_API_KEY goes to
OpenAI alone: another server's key is named by `key_env`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import yaml
from pydantic import Field

from auditor.ask.ladder import Player
from auditor.errors import AuditorError, ServerError
from auditor.llm.endpoints import Given, load, made
from auditor.text import excerpt

# Addresses by which their makers' models answer as chat completions, with the usual variable and reasoning field.
_MAKERS: tuple[tuple[tuple[str, ...], str, str, str | None], ...] = (
    (("gpt", "o1", "o3", "o4", "chatgpt"), "https://api.openai.com/v1", "OPENAI_API_KEY", None),
    (("claude",), "https://api.anthropic.com/v1", "ANTHROPIC_API_KEY", None),
    (("gemini",), "https://generativelanguage.googleapis.com/v1beta/openai", "GEMINI_API_KEY", None),
    (("deepseek",), "https://api.deepseek.com", "DEEPSEEK_API_KEY", "reasoning_content"),
    (("mistral", "magistral", "codestral", "devstral"), "https://api.mistral.ai/v1", "MISTRAL_API_KEY", None),
    (("grok",), "https://api.x.ai/v1", "XAI_API_KEY", None),
)
_HEAD = """\
# Which endpoint plays which model of the logs, for: auditor ask AUDIT --models {path}
# Check each line: the model must be the one that made the logs, same version. A model that you take out is skipped, and said so.
# A server that wants a key: key_env: NAME_OF_THE_VARIABLE. Also possible: params: {{temperature: 1}}, headers, price: [IN, OUT] (USD per million tokens), concurrency, timeout (seconds),
# context: 128000 (tokens it takes), reasoning: reasoning_content (the message field by which it takes its earlier reasoning).
"""


class GivenModel(Given):
    """An endpoint that plays a model."""

    context: int | None = Field(default=None, ge=1)
    reasoning: str | None = Field(default=None, pattern=r"^[a-z_]*reason[a-z_]*$|^thinking$")


def players(path: str | None, models: Sequence[str], audit: str) -> dict[str, Player]:
    """The players of those `models` that the file names. AuditorError says what to write where it names none of them."""
    example = excerpt(models[0], 60) if models else "MODEL"
    way = f"write one with 'auditor ask {audit} --init', or by hand, a line such as  {yaml.safe_dump(example).split(chr(10))[0]}: {{model: {example}, base_url: http://localhost:8000/v1}}"
    if path is None:
        raise ServerError(f"which endpoint plays {example}? give --models FILE.yaml; {way}")
    if not Path(path).is_file():
        raise ServerError(
            f"{path}: {'is a folder, no file of models' if Path(path).is_dir() else 'no such file of models'}; {way}"
        )
    given = load(path, GivenModel)
    found = {name: Player(made(name, g, own_key=True), g.context, g.reasoning) for name, g in given.items() if name in models}
    if not found:
        there = f"it names {', '.join(excerpt(n, 40) for n in given)}; the audit has" if given else "it is empty; the audit has"
        raise ServerError(
            f"{path}: none of the models to ask has an endpoint: {there} {', '.join(excerpt(m, 40) for m in models)}; {way}"
        )
    return found


def write(path: str, models: Sequence[str]) -> None:
    """A file of models to fill in. AuditorError where there is one already."""
    text = _HEAD.format(path=path)
    for model in models:
        name = model.rpartition("/")[2].lower()
        maker = next((m for m in _MAKERS if name.startswith(m[0])), None)
        entry: dict[str, str] = {"model": model.rpartition("/")[2] if maker else model}
        if maker is None:
            entry["base_url"] = "http://localhost:8000/v1"
        else:
            entry |= {"base_url": maker[1], "key_env": maker[2]} | ({"reasoning": maker[3]} if maker[3] else {})
        text += yaml.safe_dump({model: entry}, sort_keys=False, allow_unicode=False)
    try:
        with open(path, "x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise AuditorError(f"{path}: is there already; edit it, or give another name: --models NEW.yaml --init") from None
    except OSError as error:
        raise AuditorError(f"{path}: cannot be written ({error.strerror})") from None
