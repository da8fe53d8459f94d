"""What a run tells while it works: one progress line, and plain lines that stay."""

import sys
import time
from typing import TextIO

from ..training.fit import Record

SHORT = {"feature_std": "spread", "feature_rank": "rank"}
"""Scalars that stand in every line of a pretraining."""


class Console:
    """Writes to a stream; on a terminal the progress line is rewritten in place, elsewhere an epoch is a line.

    Args:
        quiet: say nothing but what is asked for with `always`.
    """

    def __init__(self, quiet: bool = False, stream: TextIO | None = None) -> None:
        self.quiet = quiet
        self.stream = sys.stdout if stream is None else stream
        self.live = self.stream.isatty()
        self._open_line = False
        self._shown_at = 0.0
        self._began: dict[str, tuple[float, int]] = {}

    def say(self, text: str = "", *, always: bool = False) -> None:
        """A line that stays."""
        if self.quiet and not always:
            return
        self._finish_line()
        print(text, file=self.stream, flush=True)

    def progress(self, text: str, *, final: bool = False) -> None:
        """The line of the moment; `final` lets it stay."""
        if self.quiet:
            return
        if self.live:
            if final or time.monotonic() - self._shown_at > 0.1:
                self._shown_at = time.monotonic()
                print(f"\r\033[2K{text}", end="", file=self.stream, flush=True)
                self._open_line = True
            if final:
                self._finish_line()
        elif final:
            print(text, file=self.stream, flush=True)

    def epoch(self, stage: str, record: Record, unit: str = "images") -> None:
        """The progress line of a training: epoch, scalars, speed in units, loader share, time left."""
        probes, shown = {}, []
        for name, value in record.scalars.items():
            if name.startswith("probe."):
                probes[name.removeprefix("probe.")] = value
            else:
                digits = 2 if name in SHORT else 4
                shown.append(f"{SHORT.get(name, name).replace('_', ' ')} {value:.{digits}g}")
        scalars = " · ".join(shown)
        left = (
            f"{duration(record.seconds_left)} left"
            if record.step < record.steps
            else f"done in {duration(record.seconds)}"
        )
        text = (
            f"{stage} · epoch {record.epoch}/{record.epochs} · {scalars} · {record.images_per_second:.0f} {unit}/s · "
            f"loader {record.loader_share:.0%} · {left}"
        )
        if record.compile_seconds:
            text += f" · compiled in {duration(record.compile_seconds)}"
        self.progress(text, final=not self.live or record.step == record.steps or record.kind != "epoch")
        if probes:
            scores = " · ".join(f"{name.replace('.', ' ')} {value:.4g}" for name, value in probes.items())
            self.say(f"{stage} · epoch {record.epoch} · probe: {scores}")

    def counting(self, what: str, done: int, total: int) -> None:
        """A count of rows, files or fits, and the time left; the time starts with the first call for `what`."""
        now = time.monotonic()
        if what not in self._began:
            self._began[what] = (now, done)
        since, at_first = self._began[what]
        text = f"{what} · {done:,} of {total:,}"
        if done == total:
            del self._began[what]
        elif done > at_first:
            text += f" · {duration((now - since) * (total - done) / (done - at_first))} left"
        self.progress(text, final=done == total)

    def _finish_line(self) -> None:
        if self._open_line:
            print(file=self.stream, flush=True)
            self._open_line = False


def duration(seconds: float) -> str:
    """E.g. `45 s`, `3:05 min`, `2:10 h`."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes}:{rest:02d} min"
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d} h"
