"""The browser, for pages that a verb writes."""

from browsing import browser, visit

__all__ = ["browser", "visit"]
