"""Tell by its name whether a file is a log."""

import re
from pathlib import PurePath

LOG_SUFFIXES = frozenset(
    {".log", ".txt", ".out", ".err", ".trace", ".stderr", ".stdout", ".raw", ".console", ""}
)
PACKED_SUFFIXES = frozenset({".gz", ".bz2", ".xz", ".zst", ".zstd", ".lzma"})
# What a folder of logs also holds and nobody means: tables, pictures, code, documents, archives of other
# things.
OTHER_SUFFIXES = frozenset(
    [
        ".parquet",
        ".duckdb",
        ".db",
        ".sqlite",
        ".wal",
        ".csv",
        ".tsv",
        ".yaml",
        ".yml",
        ".toml",
        ".ini",
        ".cfg",
        ".md",
        ".rst",
        ".html",
        ".htm",
        ".xml",
        ".css",
        ".js",
        ".ts",
        ".py",
        ".pyc",
        ".sh",
        ".sql",
        ".lock",
        ".png",
        ".jpg",
        ".jpeg",
        ".gif",
        ".svg",
        ".webp",
        ".ico",
        ".pdf",
        ".woff",
        ".woff2",
        ".ttf",
        ".whl",
        ".jar",
        ".class",
        ".so",
        ".dll",
        ".exe",
        ".o",
        ".a",
        ".bin",
        ".gguf",
        ".zip",
        ".tar",
        ".tgz",
        ".7z",
        ".rar",
        ".deb",
        ".rpm",
        ".mp4",
        ".pem",
        ".key",
        ".crt",
        ".sarif",
    ]
)
# Data as a rule, logs where each line is an object that tells of an event.
OBJECT_SUFFIXES = frozenset({".json", ".jsonl", ".ndjson"})
OTHER_FOLDERS = frozenset({"LICENSES", "node_modules", "__pycache__"})
PLAIN_NAMES = frozenset({"LICENSE", "MAKEFILE", "DOCKERFILE", "README", "NOTICE"})


def judge_name(path: str) -> bool | None:
    """Tell whether the owner of a file with this name would call it a log; None where only a look at its
    bytes can tell.
    """
    name = PurePath(path)
    suffix = name.suffix.lower()
    if suffix in PACKED_SUFFIXES:
        suffix = PurePath(name.stem).suffix.lower()
    elif suffix.lstrip(".").isdigit():
        return True  # rotated: app.log.1
    if suffix in OTHER_SUFFIXES:
        return False
    if suffix in LOG_SUFFIXES:
        return suffix != "" or name.name.upper() not in PLAIN_NAMES
    return None


# What data hardly has in each row, and what logs always have.
_DATED = re.compile(
    r"\"(?:[@_]*(?:realtime_)?time(?:_?stamp)?|ts|datetime|date|asctime|@t)\"\s*:", re.IGNORECASE
)


def holds_events(head: bytes) -> bool:
    """Tell whether the first bytes of a file are lines of JSON that tell what a program said, and when."""
    from bifrost_flow.evidence.unwrap import unwrap_line  # with Polars, which nothing else here needs

    lines = [line for line in head.decode("utf-8", "replace").split("\n") if line.strip()][:4]
    # The last may be cut off.
    whole = lines[:-1] if len(lines) > 1 else lines
    told = [_DATED.search(line) is not None and unwrap_line(line) != line for line in whole]
    return bool(told) and all(told)
