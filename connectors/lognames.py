"""Tell by its name whether a file is a log."""

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
        ".json",
        ".jsonl",
        ".ndjson",
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
