"""``python -m tests.fuzz.campaign``: all that tries to break the program, from one command, as a table.

Damaged and hostile files are read here; disks that run full, killed runs and pairs that end their processes are the
tests that are named in ``TESTS``.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

import fire

from tests.fuzz.__main__ import fuzzed
from tests.fuzz.judge import judged

ROOT = Path(__file__).resolve().parents[2]
CASES = Path(os.environ.get("WARPZOO_CASES", ROOT.parent / "shared" / "cases")) / "hostile"
TESTS = {
    "headers that lie, bombs, other files named": ("tests/pairs/test_text_headers.py", "tests/pairs/test_damage.py"),
    "wrong pairs, runs killed and resumed": ("tests/test_bad_input.py",),
    "pairs that end their process": ("tests/outputs/test_attempts.py",),
    "disks that run full": ("tests/outputs/test_full_disk.py",),
    "code on the command line, changed bundles": (
        "tests/warpzoo/test_trust.py", "tests/bundles_package/test_checksums.py",
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Row:
    """Of the table: what was tried how often, and what of it went wrong."""

    what: str
    tried: int
    wrong: int
    said: str
    seconds: float


def campaign(seconds: float = 300.0, first: int = 0, keep: str = "out/fuzz") -> None:
    """Print the table; exit code 1 where anything went wrong.

    Args:
        seconds: that damaged files are read for.
        first: number of the first damage.
        keep: folder for the files on which something was wrong.
    """
    rows = [_damaged(seconds, first, Path(keep)), *_hostile(), *(_tests(what, files) for what, files in TESTS.items())]
    print("| tried | how often | wrong | | seconds |\n| --- | --- | --- | --- | --- |")
    for row in rows:
        print(f"| {row.what} | {row.tried} | {row.wrong} | {row.said} | {row.seconds:.0f} |")
    sys.exit(1 if any(row.wrong for row in rows) else 0)


def _damaged(seconds: float, first: int, keep: Path) -> Row:
    start = time.monotonic()
    endings, faults = fuzzed(seconds, None, first, keep)
    total: Counter[str] = sum(endings.values(), Counter())
    tried = sum(total.values()) - total.pop("faults", 0)
    what = f"damaged files of {len(endings)} forms"
    return Row(what, tried, len(faults), _said(total), time.monotonic() - start)


def _hostile() -> list[Row]:
    if not CASES.is_dir():
        return []
    start, files = time.monotonic(), sorted(CASES.iterdir())
    found = list(judged(files))
    said = _said(Counter(verdict.ending for verdict in found))
    return [Row("known hostile files", len(files), sum(bool(v.faults) for v in found), said, time.monotonic() - start)]


def _said(endings: Counter[str]) -> str:
    return ", ".join(f"{count} {ending}" for ending, count in sorted(endings.items()))


def _tests(what: str, files: tuple[str, ...]) -> Row:
    start, report = time.monotonic(), ROOT / "out" / "campaign.xml"
    report.parent.mkdir(exist_ok=True)
    report.unlink(missing_ok=True)
    options = ["-q", "-p", "no:cacheprovider", "-m", "slow or not slow", f"--junitxml={report}", *files]
    done = subprocess.run([sys.executable, "-m", "pytest", *options], cwd=ROOT, capture_output=True, check=False)
    if not report.is_file():
        return Row(what, 0, 1, done.stderr.decode()[-200:], time.monotonic() - start)
    (suite,) = ElementTree.parse(report).getroot().iter("testsuite")
    count, skipped, wrong = (int(suite.get(name, 0)) for name in ("tests", "skipped", "failures"))
    wrong += int(suite.get("errors", 0))
    report.unlink()
    return Row(what, count - skipped, wrong, f"{skipped} skipped" if skipped else "", time.monotonic() - start)


if __name__ == "__main__":
    fire.Fire(campaign)
