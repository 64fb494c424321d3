"""Measuring what a model draws, and comparing models side by side."""

from chibi_lab.evaluation.attributes import (
    AttributeReader,
    coverage,
    effective_count,
    read_back,
)
from chibi_lab.evaluation.detector import Detector, train_detector
from chibi_lab.evaluation.distances import Memorisation, memorisation, nearest
from chibi_lab.evaluation.evaluate import active_units, evaluate
from chibi_lab.evaluation.features import psnr, sharpness, ssim
from chibi_lab.evaluation.judge import Judge, load_judge, save_judge, train_judge
from chibi_lab.evaluation.report import compare
from chibi_lab.evaluation.sets import (
    frechet_distance,
    histogram_distance,
    kernel_distance,
    neighbourhoods,
)

__all__ = [
    "AttributeReader",
    "Detector",
    "Judge",
    "Memorisation",
    "active_units",
    "compare",
    "coverage",
    "effective_count",
    "evaluate",
    "frechet_distance",
    "histogram_distance",
    "kernel_distance",
    "load_judge",
    "memorisation",
    "nearest",
    "neighbourhoods",
    "psnr",
    "read_back",
    "save_judge",
    "sharpness",
    "ssim",
    "train_detector",
    "train_judge",
]
