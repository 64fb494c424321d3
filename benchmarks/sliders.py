"""Do the studio's sliders move what they say, and leave the rest?

    python benchmarks/sliders.py

Each slider is put to both of its ends for the same avatars, all attributes left open, of each
painter that ships, where the end fits the rest of the avatar. The judge reads the pictures. What
then lies where nobody can see it counts as a failure, too.
"""

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import report

from chibi_lab import pretrained
from chibi_lab.evaluation import load_judge
from chibi_lab.studio.painter import Painter
from chibi_lab.studio.sliders import fits, slide, sliders

AVATARS = 500


def measured(painter: Painter, judge: Any) -> dict[str, Any]:
    """For each slider and end: how often it is read there, and how often each other is left."""
    recipes, _ = painter.compose({}, seed=0, count=AVATARS)
    before = judge.read(painter.draw(recipes))
    rows: dict[str, Any] = {}
    for slider in sliders(painter):
        column = painter.schema.index(slider.name)
        values = painter.schema.values[column]
        for place in (0, 1):
            fit = [fits(painter, recipe, slider, place) for recipe in recipes]
            moved = [slide(painter, recipe, slider, place) for recipe in recipes]
            after = judge.read(painter.draw(moved))[fit]
            reached = after[:, column] == values.index(slider.stops[-place])
            left = (after == before[fit]).mean(0)
            rows[f"{slider.label}, {place}"] = {
                "fit": sum(fit),
                "reached": float(reached.mean()),
                "left": {
                    name: float(share)
                    for name, share in zip(painter.schema.names, left, strict=True)
                    if name != slider.name
                },
            }
    return rows


def main() -> None:
    """Measure and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=report.RESULTS)
    options = parser.parse_args()
    judge = load_judge(pretrained.path("judge") / "judge.safetensors")
    rows = {
        name: measured(Painter(pretrained.open_run(name)), judge)
        for name in ("modern-gan", "modern-vae")
    }
    for name, ends in rows.items():
        for end, row in ends.items():
            least = min(row["left"], key=row["left"].get)
            mean = np.mean(list(row["left"].values()))
            print(
                f"{name:>10}, {end:<14} {row['fit']} fit, reached {row['reached']:6.1%}, "
                f"left {mean:.1%}, least {least} {row['left'][least]:.1%}"
            )
    report.write("sliders", options.out, {"avatars": AVATARS, "rows": rows})


if __name__ == "__main__":
    main()
