"""bifrost-flow: find what failed in piles of logs, and explain each distinct failure once."""


def __getattr__(name: str) -> str:
    """Return `__version__`, looked up when asked for: reading metadata takes longer than most imports."""
    if name != "__version__":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib.metadata import version

    return version("bifrost-flow")
