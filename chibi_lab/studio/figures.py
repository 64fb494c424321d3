"""How the book's charts look."""

from cycler import cycler

# Okabe and Ito (2008): distinguishable with every common kind of colour blindness.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")
DASHES = ("-", "--", "-.", ":", (0, (5, 1)), (0, (3, 1, 1, 1)), "-")


def use_book_style() -> None:
    """Set matplotlib's defaults: white ground for both themes, and lines that need no colour.

    Lines differ in colour and in dashes, so that a print in grey can be read too.
    """
    # Here, since it takes half a second, and pictures need no charts.
    import matplotlib.pyplot as plt

    plt.rcParams.update(
        {
            "figure.facecolor": "white",
            "savefig.facecolor": "white",
            "figure.dpi": 100,
            "savefig.dpi": 100,
            "figure.figsize": (7, 3),
            "figure.constrained_layout.use": True,
            "font.size": 10,
            "axes.titlesize": 10,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.grid": True,
            "axes.axisbelow": True,
            "grid.color": "#e5e5e5",
            "legend.frameon": False,
            "axes.prop_cycle": cycler(color=COLOURS, linestyle=DASHES),
            "image.cmap": "viridis",
        }
    )
