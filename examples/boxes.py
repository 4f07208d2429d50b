#!/usr/bin/python3
"""A heap with an order of its own, for any number of processes: boxes.py [ENDPOINT] < boxes.txt

A line is "length width height id". Prints the boxes, smallest first, until the heap is empty.
"""
import sys
from dataclasses import dataclass

from everdue.compat import HeapManager


@dataclass
class Box:
    length: int
    width: int
    height: int
    id: str

    @property
    def volume(self) -> int:
        return self.length * self.width * self.height


def main() -> None:
    endpoint = sys.argv[1] if len(sys.argv) > 1 else "tcp://127.0.0.1:7790"
    words = [line.split() for line in sys.stdin]
    boxes = [Box(*map(int, sizes), id=name) for *sizes, name in words]
    with HeapManager(endpoint, comparer=lambda box: box.volume, queue="boxes") as heap:
        heap.sync(boxes)
        while (box := heap.pop()) is not None:
            print(box.id, box.volume)


if __name__ == "__main__":
    main()
