"""The modern GAN on few pictures, with DiffAugment and without.

    python benchmarks/few_pictures.py

On one thread, a quarter of an hour in all. Each training stops at every quarter to be measured
against test avatars, and goes on; what is measured is not measured again.
"""

import argparse
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import report
import torch

from chibi_lab.evaluation import evaluate
from chibi_lab.training import ModernGANConfig, train_modern_gan

DRAWN = 2_000
STOPS = 4


def main() -> None:
    """Train, measure, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pictures", type=int, default=300)
    parser.add_argument("--images", type=int, default=48_000, help="seen by each")
    parser.add_argument("--runs", type=Path, default=Path("runs/few_pictures"))
    parser.add_argument("--out", type=Path, default=report.RESULTS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    rows: dict[str, list[dict[str, Any]]] = {"without": [], "DiffAugment": []}
    for stop in range(1, STOPS + 1):
        for name, measured in rows.items():
            # A folder of one's own says nothing of what its pictures show.
            config = replace(
                ModernGANConfig(count=options.pictures, conditional=False),
                augment=name == "DiffAugment",
                images=options.images * stop // STOPS,
            )
            out = options.runs / name
            kept = options.runs / f"{name}-{stop}.json"
            if not kept.exists():
                run = train_modern_gan(config, out, resume=out.exists())
                figures = {"images_seen": run.images_seen, **evaluate(run, DRAWN)}
                kept.write_text(json.dumps(figures), encoding="utf-8")
            measured.append(json.loads(kept.read_text(encoding="utf-8")))
    result = {"pictures": options.pictures, "rows": rows}
    report.write("few_pictures", options.out, result)


if __name__ == "__main__":
    main()
