"""Images to learn from: avatars drawn from seeds, the reader's own pictures, and batches."""

from chibi_lab.data.avatars import attribute_schema, avatar_svg
from chibi_lab.data.cache import load_avatars, split_seeds
from chibi_lab.data.folder import FolderReport, Skipped, read_folder, split_folder
from chibi_lab.data.images import BatchLoader, ImageSet, to_float, to_uint8
from chibi_lab.data.layers import render_avatar
from chibi_lab.data.open import open_images, open_loader, open_training
from chibi_lab.data.schema import AttributeSchema
from chibi_lab.data.shards import ShardLoader, ShardSet, open_shards, write_shards
from chibi_lab.data.styles import PALETTES, Palette, StyleInfo, style_info, style_names

__all__ = [
    "PALETTES",
    "AttributeSchema",
    "BatchLoader",
    "FolderReport",
    "ImageSet",
    "Palette",
    "ShardLoader",
    "ShardSet",
    "Skipped",
    "StyleInfo",
    "attribute_schema",
    "avatar_svg",
    "load_avatars",
    "open_images",
    "open_loader",
    "open_shards",
    "open_training",
    "read_folder",
    "render_avatar",
    "split_folder",
    "split_seeds",
    "style_info",
    "style_names",
    "to_float",
    "to_uint8",
    "write_shards",
]
