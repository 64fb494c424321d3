"""Images to learn from: avatars drawn from seeds, the reader's own pictures, and batches."""

from chibi_lab.lazy import attach

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "avatars": ("attribute_schema", "avatar_svg"),
        "cache": ("load_avatars", "split_seeds"),
        "folder": ("FolderReport", "Skipped", "read_folder", "split_folder"),
        "images": ("BatchLoader", "ImageSet", "to_float", "to_uint8"),
        "layers": ("render_avatar",),
        "open": ("open_images",),
        "schema": ("AttributeSchema",),
        "styles": ("PALETTES", "Palette", "StyleInfo", "style_info", "style_names"),
    },
)
