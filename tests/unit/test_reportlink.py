"""A report's web address comes from the settings and the run."""

import pytest

from bifrost_flow.reportlink import link_report


@pytest.mark.parametrize(
    ("base_url", "link"),
    [
        (None, None),
        ("https://ci.example/reports", "https://ci.example/reports/r%201/report.html"),
        ("https://ci.example/reports/", "https://ci.example/reports/r%201/report.html"),
        ("https://ci.example/{project}/{run_id}.html?x={y}", "https://ci.example/web%2Fapi/r%201.html?x={y}"),
    ],
)
def test_link(base_url: str | None, link: str | None) -> None:
    """Below an address, or with the run in its place; nothing in a name can lead elsewhere."""
    assert link_report(base_url, run_id="r 1", project="web/api") == link
