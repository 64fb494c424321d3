"""Measuring what a model draws, and comparing models side by side."""

from chibi_lab.evaluation.attributes import AttributeReader, coverage, effective_count
from chibi_lab.evaluation.distances import Memorisation, memorisation, nearest
from chibi_lab.evaluation.features import psnr, sharpness
from chibi_lab.evaluation.report import compare

__all__ = [
    "AttributeReader",
    "Memorisation",
    "compare",
    "coverage",
    "effective_count",
    "memorisation",
    "nearest",
    "psnr",
    "sharpness",
]
