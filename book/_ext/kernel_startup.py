"""Runs first in every kernel of a build or a test, which find it in PYTHONSTARTUP.

The bars that ``tqdm.auto`` draws in notebooks are widgets and pay no heed to TQDM_DISABLE. Those of
the console do: a chapter gets them instead, and shows no bar that stands still in a finished page.
"""

import tqdm.auto
import tqdm.std

tqdm.auto.tqdm = tqdm.std.tqdm
tqdm.auto.trange = tqdm.std.trange
del tqdm  # the notebook's first cell finds its namespace empty
