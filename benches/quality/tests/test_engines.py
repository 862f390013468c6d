"""Cross-validation over engines, with a program that stands in for `detect`."""

import math
import stat
import sys

import pytest

from quality import engines
from quality.data import DataError
from quality.program import Detect, ProgramError

# Says of each engine shown how many cycles it has been shown; refuses engines that it has learnt from, and results
# among the recordings.
STAND_IN = f"""#!{sys.executable}
import sys
from pathlib import Path
options = dict(zip(sys.argv[1::2], sys.argv[2::2]))
read = lambda name: [line.split() for line in (Path(options["--in"]) / name).read_text().splitlines()]
learnt, rows = read("train_FD001.txt"), read("test_FD001.txt")
if {{sensor for _, _, sensor in learnt}} & {{sensor for _, _, sensor in rows}}:
    sys.exit("judged what was learnt from")
shown = [unit for unit, _, _ in rows]
lines = [f"{{unit}},{{shown.count(unit)}}\\n" for unit in dict.fromkeys(shown)]
out = Path(options["--out"]).resolve()
out.mkdir(parents=True, exist_ok=True)
if out.is_relative_to(Path(options["--in"]).resolve()):
    sys.exit("results among the recordings")
(out / "rul.csv").write_text("unit,rul\\n" + "".join(lines))
print("judged; results in", options["--out"])
"""


def lives(lengths):
    """The only sensor tells engines apart."""
    return {unit: [f"{cycle} {unit}.5" for cycle in range(1, n + 1)] for unit, n in lengths.items()}


@pytest.fixture
def detect(tmp_path):
    program = tmp_path / "detect"
    program.write_text(STAND_IN)
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    return Detect(program, tmp_path)


def test_the_error_is_against_the_truth_that_is_not_capped():
    cuts = [engines.Cut(1, 10, 13.0), engines.Cut(2, 129, 125.0)]
    assert engines.rmse(cuts) == pytest.approx(math.sqrt((9 + 16) / 2))


def test_each_engine_is_held_out_once_a_seed_and_cut_within_the_range():
    lengths = {unit: 38 + 7 * unit for unit in range(100)}
    for seed in range(5):
        folds, left = engines.deal(lengths, seed)
        assert sorted(unit for fold in folds for unit in fold) == sorted(lengths)
        assert [len(fold) for fold in folds] == [20] * 5
        for unit, cuts in left.items():
            assert len(cuts) == 21
            assert all(7 <= cycles <= 145 and lengths[unit] - cycles >= 31 for cycles in cuts)


def test_the_same_seed_deals_the_same_and_another_does_not():
    lengths = {unit: 200 for unit in range(20)}
    assert engines.deal(lengths, 3) == engines.deal(lengths, 3)
    assert engines.deal(lengths, 3) != engines.deal(lengths, 4)


def test_an_engine_too_short_to_be_cut_is_refused():
    with pytest.raises(DataError, match="unit 7: expected 38 cycles or more, found 37"):
        engines.deal({7: 37}, 0)


def test_no_engine_is_judged_by_what_has_learnt_from_it_and_cuts_hide_the_rest(detect, tmp_path):
    lengths = {unit: 40 + 10 * unit for unit in range(1, 11)}
    found = engines.validate(detect, lives(lengths), tmp_path / "work", say=lambda _: None)
    assert len(found.seeds) == 5 and len(found.cuts) == 50
    assert [len(more) for more in found.more] == [200] * 5
    for cut in [*found.cuts, *sum(found.more, [])]:
        # The stand-in has said how many cycles it was shown.
        assert cut.predicted == lengths[cut.unit] - cut.left
    for unit, cuts in found.lives.items():
        assert [cut.predicted + cut.left for cut in cuts] == [lengths[unit]] * len(cuts)


def test_what_is_held_out_is_written_with_its_numbers(detect, tmp_path):
    said = engines.judge(detect, lives({1: 3}), lives({2: 2, 5: 4}), tmp_path / "fold")
    assert said == {2: 2.0, 5: 4.0}
    assert (tmp_path / "fold/in/train_FD001.txt").read_text() == "1 1 1.5\n1 2 1.5\n1 3 1.5\n"


def test_the_stand_in_tells_when_an_engine_was_learnt_from(detect, tmp_path):
    with pytest.raises(ProgramError, match="judged what was learnt from"):
        engines.judge(detect, lives({1: 3}), {2: ["1 1.5"]}, tmp_path / "fold")


def test_a_program_that_fails_is_told_with_what_it_said(detect, tmp_path):
    with pytest.raises(ProgramError, match="ended with 1: "):
        detect.run("cmapss", tmp_path / "nowhere", tmp_path)


def test_lives_with_a_gap_are_refused(tmp_path):
    (tmp_path / "train").write_text("1 1 0.5\n1 3 0.5\n")
    with pytest.raises(DataError, match="expected cycles 1 to 2 of unit 1"):
        engines.read(tmp_path / "train")
