"""Cells of CSV files that a spreadsheet shows and does not run."""

from harness.safe_text import safe_text

FORMULA = ("=", "+", "-", "@", "|", "%", "\uff1d", "\uff0b", "\uff0d", "\uff20")
"""A cell that begins so is run as a formula by one spreadsheet or another."""


def harmless(cell: str) -> str:
    """Words of somebody else, as a cell."""
    cell = safe_text(cell).replace("\n", " ").replace("\t", " ").strip(" ")
    return f"'{cell}" if cell.startswith(FORMULA) else cell
