"""What a person touches: pictures, charts, and an avatar of one's own, from a wish to a file."""

from chibi_lab.studio.animation import blink, turn
from chibi_lab.studio.choice import AvatarChoice
from chibi_lab.studio.chooser import AvatarChooser
from chibi_lab.studio.credentials import Signature, read_signature, sign
from chibi_lab.studio.cutting import cut_out
from chibi_lab.studio.encoding import encode
from chibi_lab.studio.enlarging import enlarge
from chibi_lab.studio.figures import use_book_style
from chibi_lab.studio.findings import Findings, examine
from chibi_lab.studio.flipbook import FlipBook
from chibi_lab.studio.keeping import keep
from chibi_lab.studio.keys import SigningKey
from chibi_lab.studio.opening import open_picture
from chibi_lab.studio.origin import Origin
from chibi_lab.studio.painter import Approach, Painter, Recipe
from chibi_lab.studio.panel import Studio
from chibi_lab.studio.pictures import film_strip, grid, in_few_colors
from chibi_lab.studio.provenance import embed, extract
from chibi_lab.studio.session import Candidate, Session, open_session, repair
from chibi_lab.studio.sliders import Slider, mix, slide, sliders
from chibi_lab.studio.watermark import Detection, detect, mark

__all__ = [
    "Approach",
    "AvatarChoice",
    "AvatarChooser",
    "Candidate",
    "Detection",
    "Findings",
    "FlipBook",
    "Origin",
    "Painter",
    "Recipe",
    "Session",
    "Signature",
    "SigningKey",
    "Slider",
    "Studio",
    "blink",
    "cut_out",
    "detect",
    "embed",
    "encode",
    "enlarge",
    "examine",
    "extract",
    "film_strip",
    "grid",
    "in_few_colors",
    "keep",
    "mark",
    "mix",
    "open_picture",
    "open_session",
    "read_signature",
    "repair",
    "sign",
    "slide",
    "sliders",
    "turn",
    "use_book_style",
]
