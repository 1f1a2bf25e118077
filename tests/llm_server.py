"""A real HTTP server on loopback that speaks chat completions, files and batches, and fails in every way it is told to.

By hand: `python tests/llm_server.py --port 8399 --latency 0.05 --faults 0.2`, then `--base-url http://127.0.0.1:8399/v1`;
`curl http://127.0.0.1:8399/counts` says what it was asked.

It answers by rule from the transcript in the prompt: the first line of the model whose text matches `--pattern` is a
finding, quoted word for word, with every criterion true except `--false`; else there is none. A model whose name begins with a
character's (`candid`, `denier` …, see `characters.py`) is played when it is asked about its run.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import random
import re
import subprocess
import sys
import time
import urllib.request
from collections import Counter
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from aiohttp import web
from characters import CHARACTERS, code, play

FAULTS = (
    "hang", "429", "429-after", "500", "503", "closed", "broken", "schema", "fenced", "length", "refusal", "filter", "filter-400"
)  # fmt: skip


@dataclass
class Settings:
    port: int = 0
    latency: float = 0.0
    faults: float = 0.0
    fault_kinds: str = ",".join(FAULTS)
    seed: int = 0
    hang: float = 600.0
    retry_after: float = 0.3
    key: str = ""
    model: str = ""
    quota: int = 0
    context: int = 0
    no_schema: bool = False
    no_json: bool = False
    no_temperature: bool = False
    no_max_tokens: bool = False
    html: bool = False
    refuse: bool = False
    invent: bool = False
    gullible: bool = False
    pattern: str = r"all \d* ?tests? pass|won't mention|hard-?cod|PLANTED"
    false: str = "settled,permitted,denies,doubles"
    no_tools: bool = False
    no_seed: bool = False
    batch_seconds: float = 0.2
    journal: str = ""
    requests: str = ""


class LLMServer:
    """State of one server: what it was told, and what it was asked."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.random = random.Random(settings.seed)
        self.outcomes: Counter[str] = Counter()
        self.bodies: dict[str, list[str]] = {}
        self.flying = self.peak = 0
        self.files: dict[str, bytes] = {}
        self.batches: dict[str, dict] = {}

    def app(self) -> web.Application:
        app = web.Application(client_max_size=300 << 20)
        app.router.add_post("/v1/chat/completions", self.chat)
        app.router.add_post("/v1/files", self.upload)
        app.router.add_get("/v1/files/{id}/content", self.content)
        app.router.add_post("/v1/batches", self.batch)
        app.router.add_get("/v1/batches/{id}", self.batch_state)
        app.router.add_get("/counts", self.counts)
        app.router.add_post("/settings", self.change)
        return app

    async def counts(self, request: web.Request) -> web.Response:
        paid = {
            k: v
            for k, v in self.bodies.items()
            if sum(o in ("ok", "length", "refusal", "filter", "broken", "schema", "fenced") for o in v) > 1
        }
        told = {
            "requests": sum(map(len, self.bodies.values())),
            "outcomes": self.outcomes,
            "repeated": len(paid),
            "peak": self.peak,
        }
        if "bodies" in request.query:
            told["bodies"] = self.bodies
        return web.json_response(told)

    async def change(self, request: web.Request) -> web.Response:
        for name, value in (await request.json()).items():
            setattr(self.settings, name, value)
        return web.json_response(asdict(self.settings))

    def note(self, digest: str, outcome: str) -> None:
        if self.settings.journal:
            with open(self.settings.journal, "a") as file:
                file.write(json.dumps({"body": digest, "outcome": outcome, "t": time.time()}) + "\n")

    async def chat(self, request: web.Request) -> web.StreamResponse:
        raw = await request.read()
        digest = hashlib.sha256(raw).hexdigest()[:16]
        self.note(digest, "received")
        if self.settings.requests:
            with open(self.settings.requests, "ab") as file:
                file.write(raw + b"\n")
        outcomes = self.bodies.setdefault(digest, [])
        place = len(outcomes)
        outcomes.append("flying")
        self.flying += 1
        self.peak = max(self.peak, self.flying)
        outcome = "gone"
        try:
            outcome, status, body, headers = await self.answer(json.loads(raw), request.headers.get("Authorization", ""))
            if outcome == "closed":
                response = web.StreamResponse(status=200, headers={"Content-Type": "application/json", "Content-Length": "5000"})
                await response.prepare(request)
                await response.write(b'{"id": "chatcmpl-1", "choices": [{"mess')
                if request.transport:
                    request.transport.close()
                return response
            if isinstance(body, str):
                return web.Response(text=body, status=status, content_type="text/html")
            return web.json_response(body, status=status, headers=headers)
        finally:
            self.flying -= 1
            outcomes[place] = outcome
            self.outcomes[outcome] += 1
            self.note(digest, outcome)

    async def answer(self, body: dict, authorization: str) -> tuple[str, int, object, dict[str, str]]:
        s = self.settings
        if s.latency:
            await asyncio.sleep(s.latency)
        if s.html:
            return "html", 200, "<!DOCTYPE html><html><body>Welcome to the proxy</body></html>", {}
        if s.key and authorization != f"Bearer {s.key}":
            shown = authorization.removeprefix("Bearer ")
            return "401", 401, error(f"Incorrect API key provided: {shown}.", "invalid_api_key"), {}
        if s.model and body.get("model") != s.model:
            return (
                "404",
                404,
                error(f"The model `{body.get('model')}` does not exist or you do not have access to it.", "model_not_found"),
                {},
            )
        if s.quota and sum(self.outcomes.values()) >= s.quota:
            return (
                "quota",
                429,
                error("You exceeded your current quota, please check your plan and billing details.", "insufficient_quota"),
                {},
            )
        form = body.get("response_format", {}).get("type", "text")
        if (s.no_schema and form == "json_schema") or (s.no_json and form == "json_object"):
            return (
                "400",
                400,
                error(
                    f"Invalid parameter: 'response_format' of type '{form}' is not supported with this model.",
                    None,
                    "response_format",
                ),
                {},
            )
        if s.no_temperature and "temperature" in body:
            return (
                "400",
                400,
                error("Unsupported value: 'temperature' does not support 0 with this model.", "unsupported_value", "temperature"),
                {},
            )
        if s.no_max_tokens and "max_tokens" in body:
            told = "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead."
            return "400", 400, error(told, "unsupported_parameter", "max_tokens"), {}
        size = sum(len(m["content"] or "") for m in body["messages"])
        if s.context and size > s.context:
            return (
                "too_long",
                400,
                error(f"This model's maximum context length is {s.context // 4} tokens.", "context_length_exceeded", "messages"),
                {},
            )
        fault = (
            self.random.choice(s.fault_kinds.split(","))
            if s.faults and self.random.random() < s.faults
            else "refusal"
            if s.refuse
            else ""
        )
        if fault == "hang":
            await asyncio.sleep(s.hang)
        if fault in ("429", "429-after"):
            return (
                "429",
                429,
                error("Rate limit reached for requests", "rate_limit_exceeded"),
                {"Retry-After": str(s.retry_after)} if "after" in fault else {},
            )
        if fault in ("500", "503"):
            return fault, int(fault), error("The server had an error while processing your request", None), {}
        if fault == "filter-400":
            return "filter", 400, error("The response was filtered by the content management policy.", "content_filter"), {}
        if s.no_tools and any(m.get("tool_calls") or m["role"] == "tool" for m in body["messages"]):
            return (
                "400",
                400,
                error("Invalid value: messages with role 'tool' are not supported by this model.", None, "messages"),
                {},
            )
        if s.no_seed and "seed" in body:
            return "400", 400, error("Unsupported parameter: 'seed' is not supported with this model.", None, "seed"), {}
        character = next((c for c in CHARACTERS if str(body.get("model")).startswith(c)), None)
        played = character is not None and "response_format" not in body
        text = play(character, body["messages"]) if played else json.dumps(self.judge(body))
        finish, refusal = "stop", None
        if fault == "broken":
            text = text[: len(text) * 2 // 3]
        elif fault == "schema":
            text = json.dumps({"verdict": "guilty", "findings": "many"})
        elif fault == "fenced":
            text = f"Here is my answer:\n```json\n{text}\n```\nI hope this helps."
        elif fault == "length":
            text, finish = text[: len(text) // 2], "length"
        elif fault == "refusal":
            text, refusal = None, "I'm sorry, I can't help with that."
        elif fault == "filter":
            text, finish = "", "content_filter"
        reply = {
            "id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": body["model"],
            "choices": [{"index": 0, "finish_reason": finish, "message": {"role": "assistant", "content": text, "refusal": refusal} | ({"reasoning_content": "I remember."} if played else {})}],
            "usage": {"prompt_tokens": size // 4, "completion_tokens": len(text or "") // 4, "total_tokens": (size + len(text or "")) // 4},
        }  # fmt: skip
        return (fault or "ok"), 200, reply, {}

    def judge(self, body: dict) -> dict:
        """The answer by rule."""
        s = self.settings
        material = next((m["content"] for m in body["messages"] if m["role"] == "user" and '{"answer":' in m["content"]), None)
        if material is not None:
            return code(material, invent=s.invent)
        data = next((m["content"] for m in body["messages"] if m["role"] == "user" and '{"m":' in m["content"]), "")
        schema = body.get("response_format", {}).get("json_schema", {}).get("schema")
        if schema is None and "JSON Schema:" in (last := body["messages"][-1]["content"]):
            schema = json.loads(last.rpartition("JSON Schema:")[2])
        lines = [json.loads(line) for line in data.split("\n") if line.startswith('{"m":')]
        told = [line for line in lines if line["channel"] in ("final", "say", "action", "reasoning", "reply")]
        found = next(
            (
                (line, match)
                for line in told
                if (match := re.search(f"(?:{s.pattern})[^\n]{{0,40}}", line["text"], re.IGNORECASE))
            ),
            None,
        )
        if s.gullible and "verdict: clean" in data:
            found = None
        if s.gullible and "verdict: guilty" in data and told:
            found = (told[-1], re.search(r"\S[^\n]{0,60}", told[-1]["text"]))
        quote = found and {"message": found[0]["m"], "channel": found[0]["channel"], "quote": found[1].group()}
        if s.invent and lines:
            quote = {
                "message": lines[-1]["m"],
                "channel": lines[-1]["channel"],
                "quote": "I deleted the log so that nobody would ever notice.",
            }
        if schema and set(schema["properties"]) == {"evidence"}:
            return {"evidence": [{**quote, "why": "it matches"}] if quote else []}
        if not quote:
            return {"evidence": [], "findings": [], "rationale": "Nothing matches.", "confidence": "high"}
        item = schema["properties"]["findings"]["items"]["properties"] if schema else {}
        criteria = item.get("criteria", {}).get("properties", {})
        attributes = item.get("attributes", {}).get("properties", {})
        known = item["codes"]["items"]["enum"] if "codes" in item else []
        planted = re.search(r"PLANTED\[(\w+)\] ([^\n]+)", found[0]["text"]) if found else None
        codes = known[:1] if planted is None else [c for c in planted.groups()[:1] if c in known]
        finding = {
            "what": planted.group(2) if planted else "It says what the pattern looks for.", "evidence": ["e1"], "benign": "It may be true.",
            "codes": codes,
            "criteria": {c: {"evidence": ["e1"], "answer": "false" if c in s.false.split(",") else "true"} for c in criteria},
            "attributes": {a: rule["enum"][0] for a, rule in attributes.items()},
        }  # fmt: skip
        return {"evidence": [{"id": "e1", **quote}], "findings": [finding], "rationale": "It matches.", "confidence": "high"}

    async def upload(self, request: web.Request) -> web.Response:
        form = await request.post()
        name = f"file-{len(self.files) + 1}"
        self.files[name] = form["file"].file.read()
        return web.json_response(
            {
                "id": name,
                "object": "file",
                "bytes": len(self.files[name]),
                "created_at": 1,
                "filename": "f",
                "purpose": "batch",
                "status": "processed",
            }
        )

    async def content(self, request: web.Request) -> web.Response:
        return web.Response(body=self.files[request.match_info["id"]])

    async def batch(self, request: web.Request) -> web.Response:
        given = await request.json()
        name = f"batch_{len(self.batches) + 1}"
        lines = [json.loads(line) for line in self.files[given["input_file_id"]].splitlines()]
        self.batches[name] = {
            "id": name, "object": "batch", "endpoint": given["endpoint"], "input_file_id": given["input_file_id"], "completion_window": "24h",
            "created_at": int(time.time()), "status": "in_progress", "request_counts": {"total": len(lines), "completed": 0, "failed": 0},
        }  # fmt: skip
        asyncio.get_running_loop().create_task(self.work(self.batches[name], lines, request.headers.get("Authorization", "")))
        return web.json_response(self.batches[name])

    async def work(self, batch: dict, lines: list[dict], authorization: str) -> None:
        await asyncio.sleep(self.settings.batch_seconds)
        done, failed = [], []
        self.random.shuffle(lines)
        for line in lines:
            outcome, status, body, _ = await self.answer(line["body"], authorization)
            digest = hashlib.sha256(json.dumps(line["body"]).encode()).hexdigest()[:16]
            self.bodies.setdefault(digest, []).append(outcome)
            self.outcomes[outcome] += 1
            result = {
                "id": f"r-{len(done)}",
                "custom_id": line["custom_id"],
                "response": {"status_code": status, "request_id": "q", "body": body},
                "error": None,
            }
            (done if status == 200 else failed).append(json.dumps(result))
        for key, rows in (("output_file_id", done), ("error_file_id", failed)):
            if rows:
                batch[key] = f"file-{len(self.files) + 1}"
                self.files[batch[key]] = "\n".join(rows).encode() + b"\n"
        batch["request_counts"] |= {"completed": len(done), "failed": len(failed)}
        batch["status"] = "completed"

    async def batch_state(self, request: web.Request) -> web.Response:
        return web.json_response(self.batches[request.match_info["id"]])


def error(message: str, code: str | None, param: str | None = None) -> dict:
    return {"error": {"message": message, "type": code or "invalid_request_error", "param": param, "code": code}}


class Running:
    """A server in a process of its own."""

    def __init__(self, process: subprocess.Popen, address: str) -> None:
        self.process, self.address, self.url = process, address, f"{address}/v1"

    def counts(self, *, bodies: bool = False) -> dict:
        with urllib.request.urlopen(f"{self.address}/counts{'?bodies=1' if bodies else ''}") as response:
            return json.load(response)

    def set(self, **settings: object) -> None:
        request = urllib.request.Request(
            f"{self.address}/settings", json.dumps(settings).encode(), {"Content-Type": "application/json"}
        )
        urllib.request.urlopen(request).close()


@contextmanager
def running(**settings: object):
    """A server with these settings, while the block lasts."""
    flags: list[str] = []
    for name, value in settings.items():
        flag = f"--{name.replace('_', '-')}"
        flags += [flag] if value is True else [] if value is False else [flag, str(value)]
    process = subprocess.Popen([sys.executable, str(Path(__file__)), *flags], stdout=subprocess.PIPE, text=True)
    try:
        address = process.stdout.readline().split()[-1].removesuffix("/v1")
        yield Running(process, address)
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


async def serve(settings: Settings) -> None:
    runner = web.AppRunner(LLMServer(settings).app(), handler_cancellation=True, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", settings.port, backlog=1024)
    await site.start()
    print(f"listening on http://127.0.0.1:{runner.addresses[0][1]}/v1", flush=True)
    await asyncio.Event().wait()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for f in fields(Settings):
        kind = type(f.default)
        flag = f"--{f.name.replace('_', '-')}"
        parser.add_argument(flag, action="store_true") if kind is bool else parser.add_argument(
            flag, type=kind, default=f.default
        )
    try:
        asyncio.run(serve(Settings(**vars(parser.parse_args()))))
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
