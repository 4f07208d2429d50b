"""The file in which the workers of a measurement write down what they did (bench/ledger.h)."""
import array
import mmap
import pathlib
from dataclasses import dataclass

BUCKET_US, BUCKETS, PROCESSES_MAX, HEAD_NUMBERS = 10, 100_000, 16, 2
REGION_NUMBERS = 4 + 2 * BUCKETS


@dataclass
class Lateness:
    """A histogram of microseconds in steps of BUCKET_US."""

    counts: array.array

    def since(self, before: "Lateness") -> "Lateness":
        """What was added after `before`."""
        return Lateness(array.array("Q", (now - then for now, then
                                          in zip(self.counts, before.counts))))

    @property
    def total(self) -> int:
        """How many were counted."""
        return sum(self.counts)

    def percentile_us(self, share: float) -> int:
        """The upper end of the step that `share` (0 to 1) of all do not exceed; 0 without any."""
        left = self.total * share
        for place, count in enumerate(self.counts):
            left -= count
            if count and left <= 0:
                return (place + 1) * BUCKET_US
        return 0

    @property
    def max_us(self) -> int:
        """The upper end of the last step that is used: at most BUCKET_US too much, and
        BUCKET_US * BUCKETS for all that is more."""
        return max((place + 1 for place, count in enumerate(self.counts) if count),
                   default=0) * BUCKET_US


@dataclass
class Page:
    """What the ledger said at one moment, over all processes."""

    cycles: int
    breaks: int
    lateness: Lateness
    start: Lateness


class Ledger:
    """A ledger for `records` records whose keys end in 0 to records - 1."""

    def __init__(self, path: pathlib.Path, records: int) -> None:
        self.path = path
        size = 8 * (HEAD_NUMBERS + PROCESSES_MAX * REGION_NUMBERS + records)
        with open(path, "wb") as file:
            file.write(array.array("Q", [0, records]).tobytes())
            file.truncate(size)
        with open(path, "r+b") as file:
            self._map = mmap.mmap(file.fileno(), 8 * (HEAD_NUMBERS +
                                                      PROCESSES_MAX * REGION_NUMBERS))

    def read(self) -> Page:
        """The sums of now."""
        page = Page(0, 0, *(Lateness(array.array("Q", bytes(8 * BUCKETS))) for _ in range(2)))
        processes = int.from_bytes(self._map[:8], "little")
        for region in range(min(processes, PROCESSES_MAX)):
            at = 8 * (HEAD_NUMBERS + region * REGION_NUMBERS)
            numbers = array.array("Q", self._map[at:at + 8 * REGION_NUMBERS])
            page.cycles += numbers[0]
            page.breaks += numbers[1]
            for histogram, begin in ((page.lateness, 4), (page.start, 4 + BUCKETS)):
                histogram.counts = array.array("Q", map(
                    int.__add__, histogram.counts, numbers[begin:begin + BUCKETS]))
        return page

    def cycles(self) -> int:
        """Those of all processes, now; cheaper than read()."""
        return sum(int.from_bytes(self._map[at:at + 8], "little") for at in (
            8 * (HEAD_NUMBERS + region * REGION_NUMBERS) for region in range(PROCESSES_MAX)))

    def close(self) -> None:
        """Give the memory and the file back."""
        self._map.close()
        self.path.unlink()
