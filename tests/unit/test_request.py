"""What `request` sends, before there is a server to send it to."""

from pathlib import Path

import pytest

from bifrost_flow.cli.request import read_text
from bifrost_flow.errors import SettingsError


def test_what_is_sent_is_measured(tmp_path: Path) -> None:
    """A log that grows on its way, by its encoding or by what stands for its secrets, is refused here and not
    only where it is served."""
    log = tmp_path / "x.log"
    log.write_bytes(b"ERROR: it failed\n" + b"\xe9" * 600)
    assert len(read_text(str(log), max_kb=3)) == 617
    with pytest.raises(SettingsError, match="1 kB"):
        read_text(str(log), max_kb=1)
    log.write_text("ERROR: password=hunter2hunter2 refused\n")
    assert "hunter2" not in read_text(str(log), max_kb=1)
