"""The demo over several seeds: mean and worst of student accuracy, student ASR and twin ASR, and the wall time.

python benchmarks/demo_seeds.py --seeds 5
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parents[1]), str(Path(__file__).resolve().parent)]

from cifar10 import run  # noqa: E402

from abd_app.demo import demo_plan  # noqa: E402


def main() -> None:
    """Runs the demo once a seed and prints a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5, help="how many")
    parser.add_argument("--first", type=int, default=0, help="the first of them")
    options = parser.parse_args()
    print("| Seed | Teacher accuracy / ASR | Twin accuracy / ASR | Student accuracy / ASR | Kept accuracy | Seconds |")
    print("|---|---|---|---|---|---|")
    kept, asr, twin_asr = [], [], []
    for seed in range(options.first, options.first + options.seeds):
        with tempfile.TemporaryDirectory() as folder:
            report = run(demo_plan(f"{folder}/demo", seed=seed))
        scores = [report[role] for role in ("teacher", "twin", "student")]
        rates = [(one["accuracy"], one["asr"]["sticker"]) for one in scores]
        kept.append(rates[2][0] / rates[0][0])
        asr.append(rates[2][1])
        twin_asr.append(rates[1][1])
        cells = " | ".join(f"{accuracy:.3f} / {rate:.3f}" for accuracy, rate in rates)
        print(f"| {seed} | {cells} | {kept[-1]:.3f} | {report['wall_s']:.0f} |", flush=True)
    print(
        f"\nmean / worst over {options.seeds} seeds: relative accuracy {statistics.mean(kept):.3f} / {min(kept):.3f}, "
        f"student ASR {statistics.mean(asr):.3f} / {max(asr):.3f}, "
        f"twin ASR {statistics.mean(twin_asr):.3f} / {min(twin_asr):.3f}"
    )


if __name__ == "__main__":
    main()
