"""Plan which lines count. Stage `extract` does the reading."""

from bifrost_flow.language import t
from bifrost_flow.progress import progress
from tasks.normalise import ReadPlan
from tasks.stage import stage


@stage("filter")
def filter_lines(plan: ReadPlan) -> ReadPlan:
    """Return `plan` with the conditions that lines must meet; without any, all lines count."""
    progress().start_stage("filter", None)
    progress().end_stage("filter", t("run.filtered"))
    return plan
