"""What a run of chains says: pure functions from recorded series to estimates, and from these to text, JSON, HTML and PNG."""

from .estimates import Analysis, Estimate, Sector, analyse
from .figure import png
from .report import as_html, as_json, as_text

__all__ = ["Analysis", "Estimate", "Sector", "analyse", "as_html", "as_json", "as_text", "png"]
