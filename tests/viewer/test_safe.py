"""Who may come in: a browser that holds the secrets of this run, under our own name, and nobody else."""

from __future__ import annotations

import time

import httpx
import pytest
from conftest import RED, episode, scanned


@pytest.fixture(scope="module")
def audit(tmp_path_factory):
    return scanned(tmp_path_factory.mktemp("safe"), episode("red", *RED))


@pytest.fixture(scope="module")
def served(view, audit):
    return view(audit)


def test_every_page_needs_the_cookie_and_the_token_gives_it(served):
    with httpx.Client(base_url=served.base) as stranger:
        for path in (
            "/",
            "/episodes",
            "/episode?id=red",
            "/raw?id=red",
            "/static/view.css",
            "/nothing",
            "/?token=wrong",
            "/?token=",
        ):
            assert stranger.get(path).status_code == 403, path
        assert stranger.post("/label", json={}).status_code == 403
        entered = stranger.get(served.address)
        assert entered.status_code == 200
        cookie = entered.headers["set-cookie"]
        assert "HttpOnly" in cookie
        assert "SameSite=Strict" in cookie
        assert served.address.partition("token=")[2] not in cookie, "who reads the cookie (another port's server) has no token"
        for path in ("/", "/episodes", "/episode?id=red", "/raw?id=red", "/static/view.css"):
            assert stranger.get(path).status_code == 200, path


def test_a_foreign_host_or_origin_is_refused_even_with_the_cookie(served):
    for host in ("evil.example", "evil.example:80", "127.0.0.1.evil.example", "localhost.evil.example", "", "10.0.0.1"):
        assert served.client.get("/episodes", headers={"host": host}).status_code == 421, host
    for host in ("localhost", "localhost:9000", "[::1]:9000"):
        assert served.client.get("/episodes", headers={"host": host}).status_code == 200, "through a tunnel the port differs"
    for origin in ("http://evil.example", "null", "http://127.0.0.1:1", "https" + served.base.removeprefix("http")):
        assert served.client.get("/episodes", headers={"origin": origin}).status_code == 403, origin
    assert served.client.get("/episodes", headers={"origin": served.base}).status_code == 200


def test_writing_needs_the_second_secret(served, audit):
    sent = {"episode": "red", "rubric": "concealment", "reviewer": "ann", "level": 2}
    assert served.client.post("/label", json=sent).status_code == 403
    assert served.client.post("/label", json=sent, headers={"x-auditor-form": "guess"}).status_code == 403
    assert served.client.put("/episodes", headers={"x-auditor-form": "guess"}).status_code == 403
    assert not (audit / "labels.jsonl").exists()
    assert served.label(episode="red", level=2).status_code == 200
    assert served.label(episode="red", level=2, note="x" * 3_000_000).status_code in (400, 413)


def test_every_answer_forbids_inline_scripts_frames_and_caches(served):
    for path in ("/", "/episodes", "/episode?id=red", "/raw?id=red", "/static/view.mjs", "/nothing"):
        headers = served.client.get(path).headers
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert "frame-ancestors 'none'" in policy
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"
        assert headers["cache-control"] == "no-store"
        assert "server" not in headers


def test_no_path_reaches_the_disk(served):
    for path in (
        "/static/..%2f..%2fpyproject.toml",
        "/static/../app.py",
        "/static//etc/passwd",
        "/static/%2e%2e/app.py",
        "/../../etc/passwd",
    ):
        assert served.client.get(path).status_code == 404, path
    for name in ("../audit.json", "/etc/passwd", "%", "' OR 1=1 --", "re", ""):
        assert served.client.get("/episode", params={"id": name}).status_code == 404, name


def test_a_secret_is_not_in_the_log(served):
    served.client.get("/nothing?token=x")  # the fixture checks that stderr holds nothing but the two lines


def test_the_network_is_let_in_only_by_who_knows(auditor, view, audit):
    refused = auditor("view", audit, "--host", "0.0.0.0", "--no-browser", code=2)
    assert "0.0.0.0 is not loopback" in " ".join(refused.stderr.split())
    assert "--i-know" in refused.stderr
    open_to_all = view(audit, "--host", "0.0.0.0", "--i-know")
    assert open_to_all.client.get("/episodes", headers={"host": "192.0.2.7:80"}).status_code == 200
    assert open_to_all.client.get("/episodes", headers={"host": "evil.example"}).status_code == 421
    port = open_to_all.base.rpartition(":")[2]
    taken = auditor("view", audit, "--port", port, "--host", "0.0.0.0", "--i-know", "--no-browser", code=2)
    assert taken.stderr.splitlines()[-1].startswith(f"auditor: 0.0.0.0:{port}: cannot listen (Address already in use)")
    assert "no audit here" in auditor("view", "nowhere", code=2).stderr


def test_the_browser_gets_a_token_that_works_once(view, audit, tmp_path):
    """Its command line can be read by everyone on this machine."""
    browser, given = tmp_path / "browser", tmp_path / "given"
    browser.write_text(f'#!/bin/sh\necho "$1" > {given}.new && mv {given}.new {given}\n')
    browser.chmod(0o755)
    served = view(audit, browser=browser)
    for _ in range(100):
        if given.exists():
            break
        time.sleep(0.1)
    address = given.read_text().strip()
    assert address != served.address
    assert [httpx.get(address).status_code for _ in range(2)] == [200, 403]
    assert httpx.get(served.address).status_code == 200, "the one in the terminal works again"
