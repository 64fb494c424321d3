"""The sample grids of a run, put together to a film."""

from PIL import Image

from chibi_lab.errors import ChibiError
from chibi_lab.files import writing
from chibi_lab.training.run import Run, say

FRAMES = 120  # at most: half a minute, and some 200 MB of memory while it is written
LARGEST = 1_100  # pixels, about the sheet of a run of 128 pixels
FRAME_MS, LAST_FRAME_MS = 250, 2_000


def write_timelapse(run: Run) -> None:
    """Write ``timelapse.webp``, the sample grids of a run or as many as make half a minute."""
    paths = run.samples()
    between = (len(paths) - 1) / (FRAMES - 1)
    if between > 1:
        paths = [paths[round(number * between)] for number in range(FRAMES)]
    grids: list[Image.Image] = []
    for path in paths:
        try:
            grid = run.open_sample(path)
        except ChibiError as error:
            say(f"{error}; it is left out of the film")
            continue
        grid.thumbnail((LARGEST, LARGEST))
        if not grids or grid.size == grids[0].size:
            grids.append(grid)
    if not grids:
        return
    lengths = [FRAME_MS] * (len(grids) - 1) + [LAST_FRAME_MS]
    with writing(run.path / "timelapse.webp") as file:
        options = {"save_all": True, "append_images": grids[1:], "loop": 0}
        grids[0].save(file, "WEBP", duration=lengths, **options)
