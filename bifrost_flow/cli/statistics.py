"""Show counts over events: as one JSON object, or as tables with bars that fit the terminal."""

import json
from shutil import get_terminal_size

from bifrost_flow.language import t
from bifrost_flow.render.defuse import put_on_one_line

_BAR = 24
_LEAST_NAME = 16
_MAX_WIDTH = 120


def print_stats(summary: dict[str, object], *, as_json: bool) -> None:
    """Print what `EventStats.summarise` returned."""
    if as_json:
        print(json.dumps(summary, ensure_ascii=False))
        return
    width = min(_MAX_WIDTH, get_terminal_size((100, 24)).columns)
    for name, value in summary.items():
        title = t(f"evidence.stats.{name}")
        if not isinstance(value, dict):
            print(f"{title}: {value:,}")
        elif value:
            print(f"\n{title}")
            # Minutes tell more in their own order: it shows when things began.
            items = sorted(value.items()) if name == "busiest_minutes" else list(value.items())
            for line in render_bars(items, width=width):
                print(line)


def render_bars(items: list[tuple[str, int]], *, width: int) -> list[str]:
    """Return a line for each name and count: count, bar, and what fits of the name into `width` columns.

    Wide characters take two columns, as a terminal shows them.
    """
    from rich.cells import cell_len, set_cell_size

    most = max((count for _, count in items), default=1)
    digits = max((len(f"{count:,}") for _, count in items), default=1)
    bar = min(_BAR, max(4, width - digits - _LEAST_NAME - 4))
    room = max(1, width - digits - bar - 4)
    lines = []
    for key, count in items:
        name = put_on_one_line(key)
        if cell_len(name) > room:
            name = f"{set_cell_size(name, room - 1).rstrip()}…"
        filled = max(1, round(bar * count / most))
        lines.append(f"{count:>{digits},}  {'█' * filled:<{bar}}  {name}".rstrip())
    return lines
