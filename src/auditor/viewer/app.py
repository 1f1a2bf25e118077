"""Routes and the server. A request's path and parameters are looked up in the audit or in a fixed dictionary, never on disk."""

from __future__ import annotations

import os
import socket
import threading
import webbrowser
from collections import Counter
from collections.abc import Callable
from importlib import resources
from typing import Any, NamedTuple
from urllib.parse import urlencode

import jinja2
import uvicorn
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route

from auditor.errors import AuditorError, QueryError
from auditor.prevalence import prevalences
from auditor.query import run
from auditor.queue import by_rubric
from auditor.rates import percent
from auditor.store import Audit
from auditor.text import excerpt, visible
from auditor.viewer import episode, labelling, rows
from auditor.viewer.safe import Guard, shown
from auditor.viewer.shelf import Shelf, key

_TYPES = {"css": "text/css", "mjs": "text/javascript", "svg": "image/svg+xml"}
_BODY = 1 << 20


class Options(NamedTuple):
    """How the page is served."""

    host: str = "127.0.0.1"
    port: int = 0
    blind: bool = False
    reviewer: str = "reviewer"
    browser: bool = False


class Viewer:
    """The pages of one audit."""

    def __init__(self, audit: Audit, options: Options) -> None:
        self.shelf = Shelf(audit)
        self.options = options
        self.handed = labelling.Handed(self.shelf)
        self.form = ""
        self._static = {
            item.name: (item.read_bytes(), _TYPES[item.name.rpartition(".")[2]])
            for item in (resources.files("auditor.viewer") / "static").iterdir()
            if item.name.rpartition(".")[2] in _TYPES
        }
        self._env = _environment()
        self.steps = {name: labelling.steps(rubric) for name, rubric in self.shelf.rubrics.items()}

    def app(self) -> Starlette:
        """The routes."""
        pages: dict[str, Callable[[Request], Response]] = {
            "/": self.overview, "/episodes": self.episodes, "/episode": self.episode, "/compare": self.compare,
            "/queue": self.queue, "/raw": self.raw, "/static/{name}": self.static, "/favicon.ico": self.static,
        }  # fmt: skip
        return Starlette(
            routes=[*(Route(path, page) for path, page in pages.items()), Route("/label", self.label, methods=["POST"])],
            exception_handlers={AuditorError: self.failed, HTTPException: self.failed},
            max_body_size=_BODY,
        )

    def overview(self, request: Request) -> Response:
        """Per model what was found; what is labelled, and how far reviewers agree."""
        with self.shelf.cursor() as con:
            blind, reviewer = self._who(request)
            given = self.shelf.labels()
            rates, names = ({}, []) if blind else self.shelf.once("rates", lambda: _by_group(con))
            told = {
                "rates": rates, "names": names, "total": run(con, "SELECT count(*) FROM _listed")[1][0][0], "about": self.shelf.audit.about(),
                "counts": Counter((x.reviewer, x.rubric) for x in given), "agreement": by_rubric(given),
                "queues": {name: self.handed.state(con, name, reviewer, blind=blind)[1:] for name in self.shelf.rubrics},
            }  # fmt: skip
            return self._page(request, "overview.html", told)

    def episodes(self, request: Request) -> Response:
        """The list, filtered, sorted and paged by the URL."""
        blind, reviewer = self._who(request)
        with self.shelf.cursor() as con:
            wanted = {name: request.query_params[name] for name in rows.FILTERS if request.query_params.get(name)}
            found = rows.find(con, wanted, blind=blind)
            mine: dict[str, list[Any]] = {}
            for one in self.shelf.labels():
                if one.reviewer == reviewer or not blind:
                    mine.setdefault(one.episode_id, []).append(one)
            told = {
                "found": found, "wanted": wanted, "choices": self.shelf.once("choices", lambda: rows.choices(con)), "mine": mine,
                "mask": episode.masking(self.shelf, con) if blind else str,
            }  # fmt: skip
            return self._page(request, "episodes.html", told)

    def episode(self, request: Request) -> Response:
        """One episode, to read and to label."""
        blind, reviewer = self._who(request)
        with self.shelf.cursor() as con:
            told = episode.page(self.shelf, con, request.query_params.get("id", ""), blind=blind, reviewer=reviewer)
            rubric = self._rubric(request, told)
            queue = self.handed.state(con, rubric, reviewer, blind=blind)[1:] if request.query_params.get("queued") else None
        mine = {one.rubric: one for one in told["labels"] if one.reviewer == reviewer}
        return self._page(request, "episode.html", {**told, "rubric": rubric, "queue": queue, "mine": mine})

    def compare(self, request: Request) -> Response:
        """Two episodes side by side."""
        blind, reviewer = self._who(request)
        with self.shelf.cursor() as con:
            sides = [
                episode.page(self.shelf, con, request.query_params.get(name, ""), blind=blind, reviewer=reviewer) for name in "ab"
            ]
        return self._page(request, "compare.html", {"sides": sides})

    def queue(self, request: Request) -> Response:
        """On to the next episode of the queue."""
        blind, reviewer = self._who(request)
        rubric = request.query_params.get("rubric", "")
        if rubric not in self.shelf.rubrics:
            raise QueryError(f"no rubric {excerpt(rubric, 60)!r}; there are {', '.join(self.shelf.rubrics)}")
        with self.shelf.cursor() as con:
            left, done, total = self.handed.state(con, rubric, reviewer, blind=blind)
        skipped = int(s) if (s := request.query_params.get("skip", "0")).isdecimal() and len(s) < 6 else 0
        if skipped < len(left):
            query = {"id": key(left[skipped], hidden=blind), "rubric": rubric, "queued": 1, "skip": skipped or ""}
            return RedirectResponse(self._link(request)("/episode", **query), 303)
        return self._page(request, "done.html", {"rubric": rubric, "done": done, "total": total, "skipped": len(left)})

    def raw(self, request: Request) -> Response:
        """The record of an episode as JSON."""
        if self._who(request)[0]:
            raise QueryError("the raw record names the model: it is not shown in blind mode")
        with self.shelf.cursor() as con:
            return PlainTextResponse(episode.raw(self.shelf, con, request.query_params.get("id", "")))

    def static(self, request: Request) -> Response:
        """A file of our own, out of a fixed dictionary."""
        if (found := self._static.get(request.path_params.get("name", "icon.svg"))) is None:
            raise HTTPException(404, "no such file")
        return Response(found[0], media_type=found[1])

    async def label(self, request: Request) -> Response:
        """Append a label; answers with the page to go to."""
        return await run_in_threadpool(self._label, request, await request.body())

    def _label(self, request: Request, body: bytes) -> Response:
        queued = bool(request.query_params.get("queued"))
        with self.shelf.cursor() as con:
            made = labelling.save(self.shelf, con, body, self.handed, from_queue=queued, always_blind=self.options.blind)
        skip = request.query_params.get("skip", "")
        told = self._link(request)("/queue", rubric=made.rubric, skip=skip) if queued else None
        return JSONResponse({"at": made.at, "next": told})

    def failed(self, request: Request, error: Exception) -> Response:
        """One line: what, where, and the way out."""
        status = error.status_code if isinstance(error, HTTPException) else 404 if isinstance(error, QueryError) else 500
        text = error.detail if isinstance(error, HTTPException) else " ".join(str(error).split())
        if request.method == "POST":
            return JSONResponse({"error": visible(text)}, 400 if status == 404 else status)
        if self._who(request)[0] and status == 404:
            text = "not here, or its source is gone"  # the whole message names source and detectors
        return self._page(request, "failed.html", {"text": text}, status)

    def _who(self, request: Request) -> tuple[bool, str]:
        """Whether detectors and names are hidden, and who reads: both stand in the URL."""
        asked = request.query_params
        name = asked.get("reviewer", "").strip() or self.options.reviewer
        return self.options.blind or asked.get("blind") == "1", visible(name, newlines=False)[:80]

    def _rubric(self, request: Request, told: dict[str, Any]) -> str:
        """The rubric to label by: the URL's, else the first that flags the episode, else the first there is."""
        wanted = [request.query_params.get("rubric", ""), *(v["rubric"] for v in told["verdicts"] if v["flagged"])]
        return next((name for name in wanted if name in self.shelf.rubrics), next(iter(self.shelf.rubrics)))

    def _link(self, request: Request) -> Callable[..., str]:
        """Addresses of pages that keep what stands in the URL: blind, and the reviewer."""
        kept = {name: request.query_params[name] for name in ("blind", "reviewer") if request.query_params.get(name)}

        def link(path: str, /, **query: Any) -> str:
            told = {name: value for name, value in {**kept, **query}.items() if value not in (None, "")}
            return f"{path}?{urlencode(told, errors='replace')}" if told else path

        return link

    def _page(self, request: Request, name: str, told: dict[str, Any], status: int = 200) -> Response:
        blind, reviewer = self._who(request)
        shared = {
            "blind": blind, "always_blind": self.options.blind, "reviewer": reviewer, "link": self._link(request), "form": self.form,
            "here": request.url.path, "query": dict(request.query_params), "rubrics": self.shelf.rubrics, "steps": self.steps,
            "audit": self.shelf.audit.path.resolve().name, "key": lambda value: key(value, hidden=blind),
        }  # fmt: skip
        return HTMLResponse(self._env.get_template(name).render(**shared, **told, status=status), status)


def _by_group(con: Any) -> tuple[dict[str, dict[str, Any]], list[str]]:
    """Headline rates by group and rubric, and the rubrics."""
    found: dict[str, dict[str, Any]] = {}
    for p in prevalences(con):
        found.setdefault(p.group, {})[p.rubric] = p
    return found, sorted({rubric for by in found.values() for rubric in by})


def _finalize(value: Any) -> Any:
    """What every expression of a template goes through: nothing is a dash, text is made visible (and escaped after it)."""
    return "–" if value is None else visible(value) if isinstance(value, str) and not hasattr(value, "__html__") else value


def _environment() -> jinja2.Environment:
    env = jinja2.Environment(
        loader=jinja2.PackageLoader("auditor.viewer"), autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True, finalize=_finalize,
    )  # fmt: skip
    env.filters.update(excerpt=lambda text, limit=200: excerpt(str(text), limit), percent=percent)
    return env


def serve(audit: Audit, options: Options, tell: Callable[[str], None]) -> None:
    """Serve until Ctrl-C. `tell` gets the lines for the terminal. AuditorError when nothing can listen there."""
    viewer = Viewer(audit, options)
    family = socket.AF_INET6 if ":" in options.host else socket.AF_INET
    listener = socket.socket(family)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((options.host, options.port))
        listener.listen(64)
    except OSError as error:
        listener.close()
        raise AuditorError(
            f"{options.host}:{options.port}: cannot listen ({error.strerror or error}); give another --port"
        ) from None
    port = listener.getsockname()[1]
    guard = Guard(viewer.app(), options.host, port)
    viewer.form = guard.form
    url = f"http://{shown(options.host)}:{port}/?token="
    tell(f"{audit.path}: {url}{guard.token} (Ctrl-C ends it)")
    if options.browser and (os.name != "posix" or os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        threading.Thread(target=webbrowser.open, args=(url + guard.once,), daemon=True).start()
    quiet: dict[str, Any] = {
        "log_level": "error",
        "access_log": False,
        "server_header": False,
        "proxy_headers": False,
        "lifespan": "off",
    }
    try:
        uvicorn.Server(uvicorn.Config(guard, timeout_graceful_shutdown=2, **quiet)).run(sockets=[listener])
    except KeyboardInterrupt:
        tell("auditor view: ended")
    finally:
        listener.close()
