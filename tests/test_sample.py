"""The draw: by id and seed alone, with its probability kept."""

from __future__ import annotations

from auditor.sample import draw


def test_candidates_and_all_are_certain():
    for candidate, on, stratum in ((True, "candidates", "candidate"), (False, "all", "all"), (True, "all", "all")):
        d = draw("e", candidate=candidate, judge_on=on, sample_rest=0.05, seed=0)
        assert (d.stratum, d.inclusion, d.chosen, d.weight) == (stratum, 1.0, True, 1.0)


def test_the_rest_is_drawn_with_its_probability_and_the_same_every_time():
    drawn = [draw(f"episode-{i}", candidate=False, judge_on="candidates", sample_rest=0.05, seed=7) for i in range(20_000)]
    chosen = [d for d in drawn if d.chosen]
    assert 850 < len(chosen) < 1150
    assert {d.weight for d in chosen} == {20.0}
    assert {d.weight for d in drawn if not d.chosen} == {0.0}
    assert drawn[:50] == [
        draw(f"episode-{i}", candidate=False, judge_on="candidates", sample_rest=0.05, seed=7) for i in range(50)
    ]


def test_another_seed_draws_others_and_a_larger_share_keeps_the_smaller():
    def ids(share: float, seed: int) -> set[int]:
        return {
            i for i in range(2000) if draw(str(i), candidate=False, judge_on="candidates", sample_rest=share, seed=seed).chosen
        }

    assert ids(0.1, 0) != ids(0.1, 1)
    assert ids(0.05, 0) < ids(0.1, 0)
    assert not ids(0.0, 0)
