"""What a person touches: pictures, charts, and an avatar of one's own, from a wish to a file."""

from chibi_lab.lazy import attach

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "animation": ("blink", "turn"),
        "choice": ("AvatarChoice",),
        "chooser": ("AvatarChooser",),
        "credentials": ("Signature", "read_signature", "sign"),
        "cutting": ("cut_out",),
        "encoding": ("encode",),
        "enlarging": ("enlarge",),
        "figures": ("use_book_style",),
        "findings": ("Findings", "examine"),
        "flipbook": ("FlipBook",),
        "keeping": ("keep",),
        "keys": ("SigningKey",),
        "opening": ("open_picture",),
        "origin": ("Origin",),
        "painter": ("Approach", "Painter", "Recipe"),
        "panel": ("Studio",),
        "pictures": ("film_strip", "grid", "in_few_colors"),
        "provenance": ("embed", "extract"),
        "session": ("Candidate", "Session", "open_session", "repair"),
        "sliders": ("Slider", "mix", "slide", "sliders"),
        "watermark": ("Detection", "detect", "mark"),
    },
)
