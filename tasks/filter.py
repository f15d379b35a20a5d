"""Plan which lines count. Stage `extract` does the reading."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from bifrost_flow.evidence.filtering import build_filter
from bifrost_flow.language import t
from bifrost_flow.progress import progress
from tasks.normalise import ReadPlan
from tasks.stage import stage


@stage("filter")
def filter_lines(
    plan: ReadPlan,
    *,
    severity: str | None = None,
    keywords: Sequence[str] = (),
    regex: bool = False,
    since: str | None = None,
    until: str | None = None,
    now: datetime | None = None,
) -> ReadPlan:
    """Return `plan` with the conditions that events must meet; without any, all lines count. Times like
    "2h ago" are before `now`.

    Raises:
        SettingsError: a level, pattern or time can't be understood.
    """
    progress().start_stage("filter", None)
    wanted = build_filter(
        severity=severity, keywords=keywords, regex=regex, since=since, until=until, now=now
    )
    said = [
        f"severity ≥ {severity}" if severity else "",
        *(repr(keyword) for keyword in keywords),
        f"since {wanted.since:%Y-%m-%d %H:%M:%SZ}" if wanted and wanted.since else "",
        f"until {wanted.until:%Y-%m-%d %H:%M:%SZ}" if wanted and wanted.until else "",
    ]
    conditions = ", ".join(part for part in said if part)
    message = t("run.filtered_to", conditions=conditions) if wanted else t("run.filtered")
    progress().end_stage("filter", message)
    return replace(plan, wanted=wanted)
