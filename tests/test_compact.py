"""Few files of many: the rows stay what they were, for those who read meanwhile too, and the audit goes on growing."""

from __future__ import annotations

import hashlib
import math
import os
import random
import shutil
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest
import yaml
from conftest import GREEN, RED, REPO, episode, write
from llm_server import running
from planted import logs
from s3_door import BIN, served

from auditor import Options, scan, store, tables
from auditor.compact import GROUP_SHARDS, compact
from auditor.disk import Remote
from auditor.pipeline import finish
from auditor.query import connect, run
from auditor.store import Audit

AUDITOR = str(Path(sys.executable).with_name("auditor"))
VIEWS = ("episodes", "verdicts", "evidence", "answers", "facts")


@pytest.fixture(autouse=True)
def _key(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-not-needed")
    for name in ("OPENAI_BASE_URL", "AUDITOR_ENDPOINTS"):
        monkeypatch.delenv(name, raising=False)


def rows(path):
    with closing(connect(Audit.open(path))) as con:
        return {view: run(con, f"SELECT * FROM {view} ORDER BY ALL")[1] for view in VIEWS}


def parts(path, pattern="*/*"):
    return sorted(str(p.relative_to(path)) for p in Path(path).glob(pattern))


def one(folder, f, count=8):
    """File `f`: episodes of two models, two thirds of them flagged."""
    made = [episode(f"{f}-{i}", *(RED if i % 3 else GREEN), model=f"m{i % 2}", task=f"t{i}", epoch=f) for i in range(count)]
    return write(folder / f"{f}.jsonl", made)


def put(*given, output="audit", rubrics=None):
    """A scan of these files alone, so that each is a shard of its own."""
    for name in given:
        scan(Options((name,), output, rubrics))


def judge(auditor, server, name, *audits, files=()):
    for audit in audits:
        auditor(
            "scan", *files, "-o", audit, "--judge", name, "--base-url", server.url, "--judge-on", "all", "--rubrics", "rubrics"
        )


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """An audit with something of everything: twelve shards, an episode in two files, another of its id, broken lines, rubrics that changed over a part,
    a judge, models that were asked.
    """
    folder = tmp_path_factory.mktemp("made")
    environment = os.environ | {"OPENAI_API_KEY": "sk-not-needed"}

    def auditor(*args):
        done = subprocess.run([AUDITOR, *args], cwd=folder, env=environment, check=False, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr

    shutil.copytree(REPO / "rubrics", folder / "rubrics")
    before = os.getcwd()
    os.chdir(folder)
    try:
        for f in range(10):
            one(folder, f)
        write(folder / "5.jsonl", [episode("2-1", *RED, model="m1", task="t1", epoch=2), episode("2-2", *GREEN, model="m9")])
        with (folder / "3.jsonl").open("ab") as file:
            file.write(b'{"id": "broken\n\xff\xfe\n')
        logs(folder / "candid.jsonl", "candid")
        logs(folder / "denier.jsonl", "denier")
        names = ("candid.jsonl", "denier.jsonl", *(f"{f}.jsonl" for f in range(10)))
        put(*names, rubrics="rubrics")
        with running() as server:
            (folder / "models.yaml").write_text(
                yaml.safe_dump({n: {"model": n, "base_url": server.url} for n in ("candid", "denier")})
            )
            told = ("--judge", "m", "--base-url", server.url, "--judge-on", "all", "--rubrics", "rubrics")
            given = folder / "rubrics" / "concealment.yaml"
            auditor("scan", names[0], "-o", "audit", *told)
            given.write_text(given.read_text().replace("\nquestion: ", "\nquestion: Think twice. ", 1))
            auditor("scan", names[0], "-o", "audit", *told)
            auditor("ask", "audit", "--models", "models.yaml", *told[:4], "--samples", "1", "--rungs", "L1,L3")
            given.write_text(given.read_text().replace("(?:still|currently|", "(?:still|yet|currently|", 1))
            put(*names[4:8], rubrics="rubrics")
    finally:
        os.chdir(before)
    return folder


@pytest.fixture
def here(made, tmp_path, monkeypatch):
    """The same in the test's own folder, `plain` beside it: an audit that is never compacted."""
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    shutil.copytree(made / "audit", tmp_path / "plain")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_rows_are_the_same_and_again_nothing_is_done(auditor, here):
    before = rows("audit")
    assert all(before[view] for view in VIEWS)
    commits = list(Audit("audit").commits())
    assert any(len({p for p, _ in c.rubrics.values()}) > 1 for c in commits), "rubrics that changed over a part"
    assert any(len({j.part for j in c.judged}) > 1 for c in commits), "a judge that ran again"
    assert Audit("audit").about().summary.items() >= {"duplicates": 1, "renamed": 1, "rejects": 2}.items()
    told = auditor("compact", "audit").stderr
    assert "12 shards: " in told
    assert "their commits in 12 files → 1" in told
    assert "for 60 minutes" in told
    assert rows("audit") == before
    for again in ((), ("--now",), ()):
        stamps = {p: (here / "audit" / p).stat().st_mtime_ns for p in parts(here / "audit")}
        assert "nothing to do: 12 shards in 7 parts, their commits in 1 file" in auditor("compact", "audit", *again).stderr
        left = parts(here / "audit")
        assert {p: stamps[p] for p in left} == {p: (here / "audit" / p).stat().st_mtime_ns for p in left}
        assert rows("audit") == before
    assert len(left) == 8, left
    assert all("/pack-" in name for name in left)
    assert auditor("query", "audit", "--format", "csv").stdout == auditor("query", "plain", "--format", "csv").stdout
    auditor("report", "audit")
    auditor("report", "plain")
    made = [(here / name / "report.md").read_text().replace("plain", "audit") for name in ("audit", "plain")]
    assert [line for line in made[0].splitlines() if "UTC" not in line] == [
        line for line in made[1].splitlines() if "UTC" not in line
    ]
    (here / "7.jsonl").unlink()
    shown = [auditor("show", audit, "7-1", "--whole").stdout.partition("source: ") for audit in ("audit", "plain")]
    assert shown[0][2].startswith("flagged/pack-12-")
    assert shown[0][2].partition("\n")[2] == shown[1][2].partition("\n")[2]
    auditor("merge", "audit", "-o", "copy")
    assert rows("copy") == before


def test_what_the_audit_was_judged_and_asked_is_not_done_again(auditor, here):
    put("candid.jsonl", "denier.jsonl", output="small", rubrics="rubrics")
    with running() as server:
        told = ("--judge", "m", "--base-url", server.url)
        scanned = ("scan", "candid.jsonl", "-o", "small", *told, "--judge-on", "all", "--rubrics", "rubrics")
        (here / "models.yaml").write_text(yaml.safe_dump({n: {"model": n, "base_url": server.url} for n in ("candid", "denier")}))
        asked = ("ask", "small", "--models", "models.yaml", *told, "--samples", "1", "--rungs", "L3")
        auditor(*scanned)
        auditor(*asked)
        before, sent = rows("small"), server.counts()["requests"]
        assert all(before[view] for view in VIEWS)
        auditor("compact", "small", "--now")
        (here / "small" / "llm.sqlite").unlink()  # not even kept replies are needed
        auditor(*scanned)
        auditor(*asked)
        assert server.counts()["requests"] == sent
        assert rows("small") == before
        assert all("/pack-" in name for name in parts(here / "small"))
        auditor(*asked[:-1], "L3,L4")
        auditor("compact", "small", "--now")
        after = rows("small")
        assert len(after["answers"]) > len(before["answers"])
        assert set(map(repr, after["facts"])) == set(map(repr, before["facts"]))


def test_it_grows_on_and_is_compacted_again(auditor, here):
    """A judge, a source that changed, new files, a rubric that changed: each on packs as on single parts, and packs again after each."""
    auditor("compact", "audit")

    def same(why):
        for again in range(3):
            assert rows("audit") == rows("plain"), (why, again)
            auditor("compact", "audit", *(("--now",) if again else ()))

    with running() as server:
        judge(auditor, server, "n", "audit", "plain", files=["1.jsonl", "2.jsonl"])
        same("a second judge")
        one(here, 4, count=10)
        for audit in ("audit", "plain"):
            auditor("scan", *(f"{f}.jsonl" for f in range(10)), "-o", audit, "--rubrics", "rubrics")
        assert parts(here / "audit", "commits/*.gone")
        same("a source that changed")
        assert not parts(here / "audit", "commits/*.gone")
        one(here, 11)
        for audit in ("audit", "plain"):
            put("11.jsonl", output=audit, rubrics="rubrics")
        same("a new file")
        given = here / "rubrics" / "concealment.yaml"
        given.write_text(given.read_text().replace("(?:still|yet|currently|", "(?:still|yet|now|currently|", 1))
        for audit in ("audit", "plain"):
            put("1.jsonl", "9.jsonl", output=audit, rubrics="rubrics")
        with closing(connect(Audit.open("audit"))) as con:
            assert "_of_verdicts" in {name for (name,) in con.execute("SELECT table_name FROM duckdb_tables()").fetchall()}
        same("a rubric that changed over a part")
        judge(auditor, server, "m", "audit", "plain", files=["1.jsonl"])
        same("judged again")
    assert len(parts(here / "audit")) == 8
    auditor("show", "audit", "11-1")


def test_nothing_to_do_and_what_cannot_be_done_are_one_line(auditor, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert "nowhere: no audit here" in auditor("compact", "nowhere", code=2).stderr
    assert not (tmp_path / "nowhere").exists()
    one(tmp_path, 1)
    put("1.jsonl")
    before = parts(tmp_path / "audit")
    assert "nothing to do: it has 1 shard\n" in auditor("compact", "audit").stderr
    assert parts(tmp_path / "audit") == before
    one(tmp_path, 2)
    put("2.jsonl")
    writer = Audit.create("audit")
    assert "another auditor is writing here" in auditor("compact", "audit", code=2).stderr
    writer.close()
    (lost,) = [c.episodes for c in writer.commits()][:1]
    (tmp_path / "audit" / lost).unlink()
    assert f"{lost}: is missing; if nobody writes here" in auditor("compact", "audit", code=2).stderr
    assert not [name for name in parts(tmp_path / "audit") if "pack" in name]


def test_what_was_replaced_goes_after_an_hour_with_the_next_writer(auditor, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    one(tmp_path, 1)
    one(tmp_path, 2)
    put("1.jsonl", "2.jsonl")
    auditor("compact", "audit")
    put("1.jsonl")
    assert len(parts(tmp_path / "audit", "episodes/*")) == 3
    (pack,) = (tmp_path / "audit" / "commits").iterdir()
    os.utime(pack, (time.time() - 3700,) * 2)
    put("1.jsonl")
    assert len(parts(tmp_path / "audit")) == 5, "a pack of each kind"


def test_a_reader_loses_no_shard_at_any_step(tmp_path, monkeypatch):
    """It has listed the commits, and then a compaction runs from beginning to end."""
    monkeypatch.chdir(tmp_path)
    put(*(str(one(tmp_path, f, 3)) for f in range(4)))
    for _ in range(3):
        audit = Audit.open("audit")
        reader = audit.commits()
        seen = [next(reader).shard]
        compact("audit", now=True)
        seen += [commit.shard for commit in reader]
        assert len(seen) == len(set(seen)) == 4
        for shard in seen:
            commit = audit.load(shard)
            assert audit.table(commit.episodes, shard, ["row"]).num_rows == 3
            assert len(list(audit.flagged(commit))) == 2
        writer = Audit.create("audit")
        commit = writer.load(seen[0])
        writer.drop(commit)
        assert [c.shard for c in writer.commits()] == sorted(seen[1:])
        writer.commit(commit)
        assert sorted(c.shard for c in writer.commits()) == sorted(seen)
        writer.close()


READER = """
import sys, time
from pathlib import Path
from auditor.query import connect, run
from auditor.store import Audit
SQL = "SELECT (SELECT count(*) FROM episodes), (SELECT count(*) FROM verdicts WHERE flagged), (SELECT count(*) FROM evidence)"
audits, done = sys.argv[1:-1], Path(sys.argv[-1])
seen, opened = set(), 0
while not done.exists():
    for name in audits:
        with connect(Audit.open(name)) as con:
            time.sleep(0.01)
            seen.add(run(con, SQL)[1][0])
            opened += 1
print(seen, opened)
"""


@pytest.mark.slow
def test_killed_at_any_moment_readers_see_the_same(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    put(*(str(one(tmp_path, f, 6)) for f in range(40)), output="plain")
    given, count = rows("plain"), 4
    for n in range(count):
        shutil.copytree("plain", f"audit-{n}")
    audits = [f"audit-{n}" for n in range(count)]
    readers = [
        subprocess.Popen(
            [sys.executable, "-c", READER, *audits, "done"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        for _ in range(2)
    ]
    rng, kills = random.Random(7), 0
    for audit in audits:
        for tries in range(60):
            process = subprocess.Popen([AUDITOR, "compact", audit], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
            time.sleep(rng.uniform(0.5, 2.0 + 0.5 * tries))  # longer each time, or a slow machine would never come to the end
            if process.poll() is None:
                process.kill()
                kills += 1
            _, err = process.communicate()
            assert process.returncode in (0, -9), err
            if process.returncode == 0:
                break
        assert rows(audit) == given
    Path("done").touch()
    ends = [reader.communicate() for reader in readers]
    assert not any(err for _, err in ends), ends
    (told,) = {out.rpartition(" ")[0] for out, _ in ends}
    assert told.count("(") == 1, told
    assert kills >= 4
    for audit in audits:
        compact(audit, now=True)
        assert rows(audit) == given
        assert len(parts(tmp_path / audit)) == 5


@pytest.fixture(scope="module")
def s3():
    """The door."""
    pytest.importorskip("moto", reason="no S3 server here: pip install 'moto[s3]' flask flask-cors s3fs")
    pytest.importorskip("s3fs")
    yield from served()


@pytest.mark.slow
def test_on_a_bucket_with_the_door_shut_for_a_while(auditor, tmp_path, monkeypatch, s3):
    monkeypatch.chdir(tmp_path)
    names = [str(one(tmp_path, f, 6)) for f in range(12)]
    put(*names, output="plain")
    put(*names, output="s3://bucket/one")
    place = Remote("s3://bucket/one")
    process = subprocess.Popen([BIN / "auditor", "compact", "s3://bucket/one"], stderr=subprocess.PIPE, text=True)
    while not any(place.names(folder) and "pack-" in place.names(folder)[-1] for folder in ("episodes", "verdicts")):
        assert process.poll() is None
        time.sleep(0.02)
    s3.shut = True
    time.sleep(4)
    s3.shut = False
    _, err = process.communicate(timeout=240)
    assert process.returncode == 0, err
    assert s3.refused
    assert "12 shards: 48 parts → 4, their commits in 12 files → 1" in err
    assert rows("s3://bucket/one") == rows("plain")
    assert "48 replaced files stay for 60 minutes" in auditor("compact", "s3://bucket/one").stderr
    assert "removed what nothing names any more: 48 files" in auditor("compact", "s3://bucket/one", "--now").stderr
    assert [len(place.names(folder)) for folder in ("commits", *store.FOLDERS)] == [1, 1, 1, 1, 0, 1]
    one(tmp_path, 3, 9)
    for output in ("plain", "s3://bucket/one"):
        auditor("scan", *names, "-o", output)
    assert rows("s3://bucket/one") == rows("plain")
    (tmp_path / "7.jsonl").unlink()
    assert "All 42 tests pass" in auditor("show", "s3://bucket/one", "7-1").stdout
    auditor("compact", "s3://bucket/one", "--now")
    assert rows("s3://bucket/one") == rows("plain")
    assert [len(place.names(folder)) for folder in ("commits", *store.FOLDERS)] == [1, 1, 1, 1, 0, 1]
    auditor("merge", "s3://bucket/one", "-o", "copy")
    assert rows("copy") == rows("plain")


def many(folder, count):
    """A scanned audit whose one shard is there `count` times, each under a name of its own, written through the audit's own door."""
    one(folder, 0, 8)
    put("0.jsonl")
    audit = Audit.create("audit")
    (given,) = audit.commits()
    told = {"episodes": given.episodes, "verdicts": next(iter(given.rubrics.values()))[0], "answers": given.answers}
    kept = {role: (audit.table(name, given.shard).to_pylist(), name) for role, name in told.items()}
    schemas = {"episodes": tables.EPISODES, "verdicts": tables.VERDICTS, "answers": tables.ANSWERS}
    flagged = audit.disk.read(given.flagged[0])
    for n in range(count):
        shard = hashlib.sha256(str(n).encode()).hexdigest()[:16]
        names = {role: f"{role}/{shard}.parquet" for role in told}
        for role, (found, _) in kept.items():
            with audit.part(names[role]) as path:
                rows = tables.Rows(path, schemas[role])
                for row in found:
                    rows.add(tuple(({**row, "shard": shard, "episode_id": f"{n}-{row['row']}"})[f.name] for f in schemas[role]))
                rows.close()
        audit.write(f"flagged/{shard}.jsonl.zst", flagged)
        update = {
            "shard": shard, "episodes": names["episodes"], "answers": names["answers"], "flagged": [f"flagged/{shard}.jsonl.zst"],
            "rubrics": {r: (names["verdicts"], h) for r, (_, h) in given.rubrics.items()}, "files": [(f"{n}.jsonl", 1, "")],
        }  # fmt: skip
        audit.commit(given.model_copy(update=update))
    audit.drop(given)
    finish(audit)
    audit.close()


@pytest.mark.slow
def test_thousands_of_small_shards(auditor, tmp_path, monkeypatch):
    """Three thousand in full, two groups' worth of them in CI."""
    monkeypatch.chdir(tmp_path)
    count = 3000 if os.environ.get("AUDITOR_SOAK") else 1200
    packs = 4 * math.ceil(count / GROUP_SHARDS)
    many(tmp_path, count)

    def opened():
        start = time.monotonic()
        with closing(connect(Audit.open("audit"))) as con:
            (counts,) = run(
                con, "SELECT count(*), count(DISTINCT model), (SELECT count(*) FROM verdicts WHERE flagged) FROM episodes"
            )[1]
            return counts, time.monotonic() - start

    before, files = rows("audit"), len(parts(tmp_path / "audit"))
    (counts, slow), start = opened(), time.monotonic()
    assert counts[0] == 8 * count
    told = auditor("compact", "audit", "--now").stderr
    took = time.monotonic() - start
    assert f"{count:,} shards: {4 * count:,} parts → {packs}, their commits in {count:,} files → 1" in told
    again, fast = opened()
    assert again == counts
    assert rows("audit") == before
    left = parts(tmp_path / "audit")
    assert len(left) == packs + 1
    print(
        f"\n{files:,} files → {len(left)}; opened and asked {slow:.2f} s → {fast:.2f} s ({slow / fast:.0f} times); compacted in {took:.1f} s"
    )
    commit = next(iter(Audit("audit").commits()))
    assert Audit("audit").table(commit.episodes, commit.shard).num_rows == 8
