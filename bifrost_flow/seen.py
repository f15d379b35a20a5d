"""What the evidence of a run's logs tells of the failures in them, shown or not."""

from collections.abc import Sequence

from bifrost_flow.records import Chunk, FileEvidence, Group, Problem


def list_unread(evidence: Sequence[FileEvidence]) -> list[Problem]:
    """Return a problem for each file that was found but gave no lines, or not all of them."""
    files = [each.file for each in evidence if each.file.status != "read"]
    return [Problem("extract", file.path, file.error or file.status) for file in files]


def list_seen(groups: Sequence[Group], evidence: Sequence[FileEvidence]) -> dict[str, list[str]]:
    """Return the paths that each failure of a run occurred in, shown or not."""
    seen = {group.fingerprint: list(group.paths) for group in groups}
    for path, names in list_unshown(evidence).items():
        for name in names:
            seen.setdefault(name, []).append(path)
    return seen


def list_mentioned(evidence: Sequence[FileEvidence]) -> set[str]:
    """Return the fingerprints that the logs of jobs that did not pass show, failures or not."""
    failing = (each for each in evidence if each.file.outcome != "passed")
    return {chunk.fingerprint for each in failing for chunk in each.chunks}


def list_unshown(evidence: Sequence[FileEvidence]) -> dict[str, tuple[str, ...]]:
    """Return, by path, the failures of jobs that the token budget left no room for; a job that passed has
    none."""
    return {
        each.file.path: each.unshown for each in evidence if each.unshown and each.file.outcome != "passed"
    }


def list_chunks(evidence: Sequence[FileEvidence]) -> list[Chunk]:
    """Return all pieces of evidence of a run."""
    return [chunk for each in evidence for chunk in each.chunks]
