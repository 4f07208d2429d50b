"""results.py - what the rounds of torture gave, added up over many runs.

A file of JSON lines, results.jsonl, one a round: fault, seed, cycles, seconds, sums, violations.
"""

import collections
import json
import pathlib

ENOUGH = {"broker kills": 2000, "worker kills and stops": 2000, "broker stops": 500,
          "partitions and proxy faults": 1000}


class Results:
    def __init__(self, place: pathlib.Path) -> None:
        place.mkdir(parents=True, exist_ok=True)
        self.place, self.file = place, place / "results.jsonl"
        self.rounds: list[dict] = []
        if self.file.exists():
            self.rounds = [json.loads(line) for line in self.file.read_text("utf-8").splitlines()]

    def has(self, fault: str, seed: int) -> bool:
        return any(each["fault"] == fault and each["seed"] == seed for each in self.rounds)

    def is_enough(self, fault: str) -> bool:
        """Whether this fault has the cycles that a release wants."""
        mine = [each for each in self.rounds if each["fault"] == fault]
        return bool(mine) and sum(each["cycles"] for each in mine) >= ENOUGH[mine[0]["counts_as"]]

    def add(self, fault: str, counts_as: str, seed: int, cycles: int, seconds: float, sums: dict,
            violations: list[str]) -> None:
        """Append a round and say how it went."""
        line = {"fault": fault, "counts_as": counts_as, "seed": seed, "cycles": cycles,
                "seconds": round(seconds, 2), "sums": sums, "violations": violations[:20]}
        self.rounds.append(line)
        with open(self.file, "a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
        said = f"{len(violations)} VIOLATIONS" if violations else "sound"
        print(f"{fault} seed {seed}: {cycles} cycles, {seconds:.1f} s, {said}", flush=True)
        for violation in violations[:5]:
            print(f"  {violation}", flush=True)

    def table(self) -> str:
        """One line a fault: rounds, cycles, what was acknowledged and granted, violations."""
        by_fault: dict[str, collections.Counter] = collections.defaultdict(collections.Counter)
        for each in self.rounds:
            sums = by_fault[each["fault"]]
            sums.update(each["sums"])
            sums.update(rounds=1, cycles=each["cycles"], violations=len(each["violations"]))
        lines = ["| fault | rounds | cycles | acknowledged | granted | resumed | stale | violations"
                 " |", "| --- | --- | --- | --- | --- | --- | --- | --- |"]
        for fault, sums in sorted(by_fault.items()):
            lines.append(f"| {fault} | {sums['rounds']} | {sums['cycles']:,} | "
                         f"{sums['acknowledged']:,} | {sums['grants']:,} | {sums['resumed']:,} | "
                         f"{sums['stale']:,} | {sums['violations']} |")
        return "\n".join(lines)
