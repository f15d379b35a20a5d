"""bifrost-flow: find what failed in piles of logs, and explain each distinct failure once."""

from importlib.metadata import version

__version__ = version("bifrost-flow")
