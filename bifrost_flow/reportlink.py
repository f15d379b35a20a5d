"""The web address of a run's HTML report, where the folder of reports is published."""

from urllib.parse import quote

REPORT_PATH = "{run_id}/report.html"  # below `reports/` of a warehouse


def link_report(base_url: str | None, *, run_id: str, project: str) -> str | None:
    """Return the report's address below `base_url`, or None without one."""
    if not base_url:
        return None
    # By `replace`, since other braces in an address are nobody's placeholders.
    filled = name_address(base_url).replace("{run_id}", quote(run_id, safe=""))
    return filled.replace("{project}", quote(project, safe=""))


def name_address(base_url: str) -> str:
    """Return the address of any report, with `{run_id}` and perhaps `{project}` to be filled in.

    A `base_url` that says one of these is taken as the whole address.
    """
    whole = "{run_id}" in base_url or "{project}" in base_url
    return base_url if whole else f"{base_url.rstrip('/')}/{REPORT_PATH}"
