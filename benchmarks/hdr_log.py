"""The gaps of a run as an HdrHistogram log (format 1.2, compressed V2), for the tools that read such logs.

One interval a core, tagged `cpuN`, from the start of its run to its end. Values are ns, every gap once; what is shorter than the
threshold is not in it. The buckets are HdrHistogram's own at three digits, so nothing is lost on the way.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TextIO

from hdrh.histogram import HdrHistogram
from hdrh.log import HistogramLogWriter

from sovereign.benchmarks.core_run import CoreRun
from sovereign.benchmarks.gap_histogram import LONGEST_NS, SIGNIFICANT_DIGITS, TOPS_NS
from sovereign.runtime.errors import ResourceError

NS_PER_MAX_UNIT = 1_000_000.0


def open_log(path: Path) -> TextIO:
    """The file, before the run: nobody measures for a minute to learn that it cannot be written. ResourceError says why."""
    try:
        return path.open("w", encoding="ascii")
    except OSError as error:
        raise ResourceError(
            "the histogram log cannot be written",
            where=str(path),
            got=error.strerror or str(error),
            hint="name a file in a folder that is there and yours to write: --hdr FILE",
        ) from error


def histogram_of(run: CoreRun) -> HdrHistogram:
    """One core's gaps, stamped with the run's start and end."""
    made = HdrHistogram(1, LONGEST_NS, SIGNIFICANT_DIGITS)
    for bucket, times in run.counts:
        made.record_value(int(TOPS_NS[bucket]), times)
    made.set_start_time_stamp(run.started_ns / 1e6)
    made.set_end_time_stamp((run.started_ns + run.wall_ns) / 1e6)
    return made


def write_log(file: TextIO, runs: list[CoreRun], threshold_ns: int) -> None:
    """All of them. The file is closed."""
    with file:
        log = HistogramLogWriter(file)
        log.output_comment(f"[gaps of a spinning thread, ns, of {threshold_ns} ns and longer]")
        log.output_log_format_version()
        # Rounded down: a reader leaves out what begins before the log's start.
        start_s = min((run.started_ns for run in runs), default=0) // 1_000_000 / 1_000
        when = datetime.fromtimestamp(start_s, UTC).isoformat(timespec="milliseconds")
        log.output_comment(f"[StartTime: {start_s:.3f} (seconds since epoch), {when}]")
        log.output_legend()
        for run in runs:
            file.write(f"Tag=cpu{run.cpu},")
            log.output_interval_histogram(histogram_of(run), max_value_unit_ratio=NS_PER_MAX_UNIT)
