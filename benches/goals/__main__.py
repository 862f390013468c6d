"""Parts of a report: what is aimed at, and what was found.

goals engines RUNS             the workloads `window` and `latency` against the goals
goals infer-figures FIGURES    inference in memory
goals infer FIGURES RUNS       inference, and the workload `score`, against the goals

RUNS are the harness's lines, FIGURES those of scripts/bench-infer.sh; both JSON, one a line.
"""

import json
import sys
from pathlib import Path

from . import engines, infer


def lines(path: str) -> list[dict]:
    return [json.loads(line) for line in Path(path).read_text().splitlines()]


match sys.argv[1:]:
    case ["engines", runs]:
        print(engines.report(lines(runs)))
    case ["infer-figures", figures]:
        print(infer.in_memory(lines(figures)))
    case ["infer", figures, runs]:
        print(infer.against_goals(lines(figures), lines(runs)))
    case _:
        sys.exit(__doc__)
