"""The web address of a run's HTML report, where the folder of reports is published."""

from urllib.parse import quote

REPORT_PATH = "{run_id}/report.html"  # below `reports/` of a warehouse


def link_report(base_url: str | None, *, run_id: str, project: str) -> str | None:
    """Return the report's address below `base_url`, or None without one.

    A `base_url` that says `{run_id}` or `{project}` is taken as the whole address, with those filled in.
    """
    if not base_url:
        return None
    whole = "{run_id}" in base_url or "{project}" in base_url
    address = base_url if whole else f"{base_url.rstrip('/')}/{REPORT_PATH}"
    # By `replace`, since other braces in an address are nobody's placeholders.
    filled = address.replace("{run_id}", quote(run_id, safe=""))
    return filled.replace("{project}", quote(project, safe=""))
