"""Archives of very many members: `python -m tests.torture.archives [--members 100000]`.

A zip, a plain tar and a packed tar with growing numbers of members go through `extract`. Time must grow in
proportion (CPU time, less that of an archive of one), memory stay bounded, and each member be told of; of one
member more than the limit the rest is said not to be read.
"""

import argparse
import io
import json
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

from connectors.listing import MAX_MEMBERS
from tests.bench.measure import BIFROST, clean_environment, run
from tests.bench.scale import find_exponent

KINDS = ("zip", "tar", "tar.gz")
TIME_BAR, MEMORY_BAR_MIB = 1.2, 1024.0


def write_archive(path: Path, members: int) -> None:
    """Write an archive of so many logs, each with a failure."""
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
            for number in range(members):
                packed.writestr(*make_member(number))
        return
    with tarfile.open(path, "w:gz") if path.suffix == ".gz" else tarfile.open(path, "w") as archive:
        for number in range(members):
            name, content = make_member(number)
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))


def make_member(number: int) -> tuple[str, bytes]:
    name = f"jobs/{number // 1000:03}/build-{number:06}.log"
    return name, b"step one of the build went well\nerror: could not link the module\n" * 3


def count_members(archive: Path, out: Path) -> tuple[int, str]:
    """Return of how many members `extract` tells, and what else it says."""
    with out.open("wb") as sink:
        done = subprocess.run(
            [BIFROST, "extract", str(archive), "--format", "jsonl"],
            stdout=sink,
            stderr=subprocess.PIPE,
            env=clean_environment(),
            check=False,
        )
    with out.open(encoding="utf-8") as told:
        return len({json.loads(line)["path"] for line in told}), done.stderr.decode()


def try_kind(kind: str, members: int, folder: Path) -> bool:
    """Return whether archives of one kind hold."""
    points: list[tuple[float, float]] = []
    start_s = peak_mib = 0.0
    for count in (1, members // 16, members // 4, members):
        path = folder / f"{count}.{kind}"
        write_archive(path, count)
        used = run([BIFROST, "extract", path, "--format", "jsonl"], out=folder / "told")
        print(f"{kind}, {count:,} members: {used}", flush=True)
        start_s, peak_mib = start_s or used.cpu_s, max(peak_mib, used.peak_mib)
        if count > 1:
            points.append((count, max(0.01, used.cpu_s - start_s)))
    exponent = find_exponent(points)
    # The largest as well, since it is the last.
    told = len({json.loads(line)["path"] for line in (folder / "told").open(encoding="utf-8")})
    print(f"{kind}: exponent of CPU time {exponent:.2f}, peak {peak_mib:,.0f} MiB, {told:,} members told")
    return exponent <= TIME_BAR and peak_mib <= MEMORY_BAR_MIB and told == members


def main() -> int:
    """Try all kinds; return 1 if one does not hold."""
    parser = argparse.ArgumentParser(prog="python -m tests.torture.archives", description=__doc__)
    parser.add_argument("--members", type=int, default=MAX_MEMBERS)
    asked = parser.parse_args()
    held = True
    with tempfile.TemporaryDirectory(prefix="bifrost-archives-") as place:
        folder = Path(place)
        for kind in KINDS:
            held = try_kind(kind, asked.members, folder) and held
        path = folder / "more.zip"
        write_archive(path, MAX_MEMBERS + 1)
        told, said = count_members(path, folder / "told")
        print(f"zip of {MAX_MEMBERS + 1:,}: {told:,} members told; {said.strip()}")
        held = held and told == MAX_MEMBERS and str(MAX_MEMBERS) in said.replace(",", "")
    return 0 if held else 1


if __name__ == "__main__":
    sys.exit(main())
