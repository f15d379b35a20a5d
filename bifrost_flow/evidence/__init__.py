"""The evidence stage: what of a log is shown, decided without I/O. Reading is `connectors.extraction`'s."""

from bifrost_flow.evidence.group import group_chunks
from bifrost_flow.evidence.scan import scan_file

__all__ = ["group_chunks", "scan_file"]
