"""What a person touches: pictures, charts, and the choice of an avatar."""

from chibi_lab.studio.choice import AvatarChoice
from chibi_lab.studio.chooser import AvatarChooser
from chibi_lab.studio.figures import use_book_style
from chibi_lab.studio.origin import Origin
from chibi_lab.studio.panel import Studio
from chibi_lab.studio.pictures import film_strip, grid
from chibi_lab.studio.provenance import embed, extract

__all__ = [
    "AvatarChoice",
    "AvatarChooser",
    "Origin",
    "Studio",
    "embed",
    "extract",
    "film_strip",
    "grid",
    "use_book_style",
]
