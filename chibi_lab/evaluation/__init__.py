"""Measuring what a model draws, and comparing models side by side."""

from chibi_lab.lazy import attach

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "attributes": ("AttributeReader", "coverage", "effective_count", "read_back"),
        "detector": ("Detector", "train_detector"),
        "distances": ("Memorisation", "memorisation", "nearest"),
        "evaluate": ("active_units", "evaluate"),
        "features": ("psnr", "sharpness", "ssim"),
        "judge": ("Judge", "load_judge", "save_judge", "train_judge"),
        "report": ("compare",),
        "sets": (
            "frechet_distance",
            "histogram_distance",
            "kernel_distance",
            "neighbourhoods",
        ),
    },
)
