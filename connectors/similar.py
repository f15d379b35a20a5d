"""Earlier findings of a project that read like a new one, found by one query over the warehouse."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from bifrost_flow.records import Finding, Report, SimilarFinding
from connectors.warehouse import Warehouse
from connectors.warehouse.restore import restore_finding

MAX_SIMILAR = 3
# The share of their words, by weight, that two findings have in common. Below it, what they share is the
# vocabulary of their tools and of whoever explained them.
MIN_LIKENESS = 0.12
# Who is compared at all: with these, a project of any number of findings costs one pass over their titles.
_RAREST_WORDS = 16
_MOST_A_WORD = 200
_MOST_COMPARED = 25
_WORD = r"[\p{L}_][\p{L}\p{M}\p{N}_]+"
# What any failure is told with. A project of few findings has no statistics yet that would say so.
_COMMON_WORDS = """
    an and are as at be because been before but by can cannot could did does for from had has have if in into
    is it its no not of on or so than that the then there this to was were when where which while will with
    without build error found errors exit fail failed fails failing failure job log process run step task
    오류 에러 실패 때문에 있습니다 없습니다 했습니다 합니다 작업 빌드 단계 실행
"""

Similar = dict[str, tuple[SimilarFinding, ...]]


def find_similar(
    warehouse: Warehouse,
    findings: Sequence[Finding],
    templates: Mapping[str, str],
    *,
    project: str,
    before: datetime,
) -> Similar:
    """Return, by fingerprint, up to `MAX_SIMILAR` findings like each of `findings`, the most like it first.

    They are of runs of `project` that began before `before`, each as it was last told there. Findings without
    any are left out. `templates` are the masked texts behind the fingerprints of `findings`.

    Raises:
        WarehouseError: the tables can't be read.
    """
    if not findings:
        return {}
    wanted = [
        {
            "fingerprint": finding.fingerprint,
            "category": finding.category,
            "title": finding.title,
            "root_cause": "" if finding.provider == "rules" else finding.root_cause,
            "template": templates.get(finding.fingerprint, ""),
        }
        for finding in findings
    ]
    parameters = {
        "wanted": wanted,
        "project": project,
        "before": before,
        "word": _WORD,
        "common_words": _COMMON_WORDS.split(),
        "rarest": _RAREST_WORDS,
        "most_a_word": _MOST_A_WORD,
        "most_compared": _MOST_COMPARED,
        "least": MIN_LIKENESS,
        "most": MAX_SIMILAR,
    }
    found: Similar = {}
    for of, *values in warehouse.query_named("similar", "find_similar", parameters).rows:
        found[of] = (*found.get(of, ()), SimilarFinding(*values))
    return found


def add_similar(warehouse: Warehouse, report: Report) -> Report:
    """Return `report`, of a run in `warehouse`, with what is like its new findings.

    Raises:
        WarehouseError: the tables can't be read.
    """
    new = [finding for finding in report.findings if finding.status == "new"]
    if not new:
        return report
    run = report.run
    templates = dict(warehouse.query_named("similar", "read_templates", {"run_id": run.run_id}).rows)
    similar = find_similar(warehouse, new, templates, project=run.project, before=run.started_at)
    return replace(report, similar=similar)


def find_similar_to(
    warehouse: Warehouse, fingerprint: str, project: str | None
) -> tuple[SimilarFinding, ...]:
    """Return what was like the finding `fingerprint` when it was new, in `project` or (None) in any.

    Raises:
        WarehouseError: the tables can't be read.
    """
    parameters = {"fingerprint": fingerprint, "project": project}
    first = warehouse.query_named("similar", "find_first_telling", parameters).as_dicts()
    if not first:
        return ()
    row = first[0]
    templates = dict(warehouse.query_named("similar", "read_templates", {"run_id": row["run_id"]}).rows)
    return find_similar(
        warehouse, [restore_finding(row)], templates, project=row["project"], before=row["started_at"]
    ).get(fingerprint, ())
