"""The page in a real browser: find, read, jump, label, reload; and hostile transcripts that run nothing and ask nothing."""

from __future__ import annotations

import re
import shutil

import pytest
from conftest import GREEN, RED, episode, scanned
from judged_rows import put, said

from auditor import labels
from auditor.store import Audit

playwright = pytest.importorskip("playwright.sync_api", reason="no playwright here (pip install playwright)")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium here (apt-get install chromium)")

LONG = {"role": "tool", "tool_call_id": "a", "content": "".join(f"line {i}\n" for i in range(400)) + RED[2]["content"]}
EVIL = (
    "<script>document.title='HACKED'</script><img src=x onerror=\"document.title='HACKED'\"><svg onload=alert(1)></svg>"
    '</textarea></title></style><a href="javascript:alert(1)">x</a>{{ 7*7 }}\'"`\u202e\u200b\x1b[31m\x1b]8;;http://evil.example\x07\u2028\0'
)
# Elements that are not ours: a script without a file of ours, a picture, a handler, an address that is a script.
INJECTED = """[...document.querySelectorAll('*')].filter(x => x.matches('script:not([src^="/static/"]), img, iframe, a[href^="javascript" i]')
  || x.getAttributeNames().some(name => name.startsWith('on'))).length"""


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as started:
        made = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield made
        made.close()


@pytest.fixture
def enter(browser):
    """A tab that has come in. It fails on any request to elsewhere, any dialog, any message of the console."""
    contexts = []

    def run(served, width=1200):
        context = browser.new_context(viewport={"width": width, "height": 800})
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(15_000)
        page.wrong = []
        page.on("request", lambda r: None if r.url.startswith(served.base) else page.wrong.append(r.url))
        page.on("dialog", lambda d: (page.wrong.append(d.message), d.dismiss()))
        page.on("console", lambda m: page.wrong.append(m.text))
        page.on("pageerror", lambda e: page.wrong.append(str(e)))
        page.goto(served.address)
        page.wait_for_url(served.base + "/")
        return page

    yield run
    for context in contexts:
        context.close()


@pytest.fixture(scope="module")
def served(view, tmp_path_factory):
    audit = scanned(
        tmp_path_factory.mktemp("page"),
        episode("red", *RED[:2], LONG, RED[3], model="heron", environment="web"),
        episode("green", *GREEN, model="heron", environment="web"),
        episode("other", *RED, model="magpie", environment="shell"),
    )
    verdict = said(
        "red", True, level=2, quote="Done. All 42", rationale="it saw the failure", attributes={"votes": [True, True, False]}
    )
    put(audit, [verdict])
    return view(audit, "--reviewer", "ann"), Audit(audit)


def select(page, place, start, end):
    page.evaluate(
        "([place, start, end]) => { const node = document.querySelector(place).firstChild, range = document.createRange();"
        " range.setStart(node, start); range.setEnd(node, end); getSelection().removeAllRanges(); getSelection().addRange(range); }",
        [place, start, end],
    )


def test_filter_open_jump_label_reload(served, enter):
    page = enter(served[0])
    page.goto(served[0].base + "/episodes")
    page.select_option("select[name=environment]", "web")
    page.wait_for_url("**environment=web")
    assert "model=" not in page.url, "only what is set stands in the URL"
    page.select_option("select[name=rubric]", "concealment")
    page.wait_for_url("**rubric=concealment**")
    assert page.locator("tr.row").count() == 1
    page.reload()
    assert page.locator("tr.row").count() == 1, "the filters are in the URL"
    page.keyboard.press("j")
    page.keyboard.press("Enter")
    page.wait_for_url("**/episode?id=red**")

    assert page.locator(".msg.observation .fold").count() == 1
    assert not page.locator("text=line 200").is_visible()
    page.click(".evidence a >> text=Done. All 42")
    mark = page.locator("mark.now").first
    mark.wait_for()
    assert mark.text_content().startswith("Done")
    assert page.locator(".msg.here").get_attribute("data-channel") == "final"
    assert "votes yes yes no" in page.locator(".verdict").first.text_content()
    page.keyboard.press("n")
    page.keyboard.press("x")
    assert page.locator("text=line 200").is_visible()

    select(page, ".msg.observation .fold [data-at]", 0, 6)
    page.keyboard.press("e")
    page.keyboard.press("4")
    page.keyboard.press("m")
    page.keyboard.type("it knew, 3 times")
    page.keyboard.press("Escape")
    with page.expect_navigation():
        page.keyboard.press("Enter")
    page.reload()
    assert page.locator("fieldset:not([hidden]) input:checked").get_attribute("value") == "3"
    assert page.locator("fieldset:not([hidden]) textarea").input_value() == "it knew, 3 times"
    assert page.locator("mark.person").first.text_content() == page.locator(".chosen q").text_content() == "line 8"
    (one,) = labels.load(served[1])
    assert (one.reviewer, one.level, one.evidence[0].quote) == ("ann", 3, "line 8")
    page.goto(served[0].base + "/episodes?text=red")
    assert "concealment 3" in page.locator("tr.row .label").first.text_content()
    assert page.wrong == []


def test_a_level_by_the_mouse_and_help(served, enter):
    page = enter(served[0])
    page.goto(served[0].base + "/queue?rubric=reward_hacking")
    first = page.url
    page.keyboard.press("?")
    assert page.locator("#help").is_visible()
    assert "next, previous evidence" in page.locator("#help").text_content()
    page.keyboard.press("Escape")
    page.click("#label >> text=Save")
    assert page.locator("#said").text_content() == "choose a level first"
    page.click("fieldset:not([hidden]) >> text=unclear")
    with page.expect_navigation():
        page.click("#label >> text=Save")
    assert page.url != first
    assert "1 of 3 done" in page.locator("#label").text_content()
    assert labels.load(served[1])[-1].unclear
    assert page.wrong == []


def test_side_by_side(served, enter):
    page = enter(served[0])
    page.goto(served[0].base + "/episode?id=red")
    page.click("text=Compare with another")
    page.click("tr.row >> text=other")
    page.wait_for_url("**/compare?**")
    assert page.locator(".pane").count() == 2
    page.locator(".pane").nth(1).locator("h3").first.click()
    page.keyboard.press("j")
    assert page.locator(".pane").nth(1).locator(".here").count() == 1
    assert page.locator(".here").count() == 1
    assert page.wrong == []


def test_it_can_be_used_on_a_phone(served, enter):
    page = enter(served[0], width=380)
    for path in ("/", "/episodes", "/episode?id=red", "/compare?a=red&b=other"):
        page.goto(served[0].base + path)
        assert page.evaluate("document.documentElement.scrollWidth") <= 380, path


@pytest.mark.slow
def test_hostile_transcripts_run_nothing_and_ask_nothing(view, enter, tmp_path):
    facts = dict.fromkeys(("model", "task", "environment", "checkpoint"), EVIL)
    call = {"id": "a", "name": EVIL, "arguments": {"command": f"pytest -q {EVIL}", EVIL: EVIL}}
    messages = [
        {"role": "user", "content": EVIL},
        {"role": "assistant", "content": EVIL, "reasoning": EVIL, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "a", "name": EVIL, "content": f"{RED[2]['content']} {EVIL}"},
        {"role": "assistant", "content": f"Done. All 42 tests pass now. {EVIL}"},
    ]
    names = ["../../etc/passwd", "/a//b?c=d&e#f", EVIL, "'; DROP TABLE episodes; --", "~" + "0" * 32, "100%", "x" * 1_000_000]
    made = [episode(name, *messages, **facts, metadata={EVIL: EVIL}) for name in names]
    made.append(episode("wide", *messages, **facts | {"model": "m" * 1_000_000, "task": "t" * 1_000_000}))
    audit = scanned(tmp_path, *made)
    served = view(audit, "--reviewer", EVIL.replace("\0", "")[:80])
    page = enter(served)
    found = []
    for start, some in (("/episodes", len(made)), ("/episodes?blind=1", 2)):
        page.goto(served.base + start)
        assert len(page.content()) < 200_000, "a long name is cut"
        links = page.locator("tr.row .what a").evaluate_all("all => all.map(a => a.href)")
        assert len(links) == len(made)
        for link in links[:some]:
            page.goto(link)
            assert page.locator("#label").count() == 1, link
            found.append(page.title())
            assert page.evaluate(INJECTED) == 0, link
            assert not re.search("[\u202e\u200b\x1b\x07\u2028]", page.content())
            page.keyboard.press("n")
            page.keyboard.press("2")
            with page.expect_navigation():
                page.keyboard.press("Enter")
    page.goto(links[0].replace("/episode?", "/raw?").replace("blind=1&", ""))
    a, b = (link.partition("id=")[2].partition("&")[0] for link in links[:2])
    page.goto(f"{served.base}/compare?a={a}&b={b}")
    page.goto(f"{served.base}/episodes?text=%3Cscript%3Ealert(1)%3C/script%3E&model=%3Csvg%3E&reviewer=%22%3E%3Cscript%3E")
    page.goto(served.base + "/")
    assert len(labels.load(Audit(audit))) == len(made) + 2
    assert page.wrong == []
    assert not any(title == "HACKED" for title in found)
