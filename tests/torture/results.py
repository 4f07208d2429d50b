"""results.py - what the rounds of torture gave, added up over many runs.

A file of JSON lines, results.jsonl, one a round: fault, seed, seconds, sums, violations.
"""

import collections
import json
import pathlib

ENOUGH = 1000  # faults of each kind that a release wants


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
        """Whether there were as many of this fault as a release wants; one round of a control."""
        sums = [each["sums"] for each in self.rounds if each["fault"] == fault]
        return bool(sums) and (fault.startswith("control-") or
                               sum(each["faults"] for each in sums) >= ENOUGH)

    def add(self, fault: str, seed: int, seconds: float, sums: dict,
            violations: list[str]) -> None:
        """Append a round and say how it went."""
        line = {"fault": fault, "seed": seed, "seconds": round(seconds, 2), "sums": sums,
                "violations": violations[:20]}
        self.rounds.append(line)
        with open(self.file, "a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
        said = f"{len(violations)} VIOLATIONS" if violations else "sound"
        print(f"{fault} seed {seed}: {sums['faults']} faults, {seconds:.1f} s, {said}", flush=True)
        for violation in violations[:5]:
            print(f"  {violation}", flush=True)

    def table(self) -> str:
        """One line a fault: rounds, cycles, what was acknowledged and granted, violations."""
        by_fault: dict[str, collections.Counter] = collections.defaultdict(collections.Counter)
        for each in self.rounds:
            sums = by_fault[each["fault"]]
            sums.update(each["sums"])
            sums.update(rounds=1, violations=len(each["violations"]))
        lines = ["| fault | rounds | faults | acknowledged | granted | resumed | stale | sets | "
                 "violations |", "| --- | --- | --- | --- | --- | --- | --- | --- | --- |"]
        for fault, sums in sorted(by_fault.items()):
            lines.append(f"| {fault} | {sums['rounds']} | {sums['faults']:,} | "
                         f"{sums['acknowledged']:,} | {sums['grants']:,} | {sums['resumed']:,} | "
                         f"{sums['stale']:,} | {sums['sets']:,} | {sums['violations']} |")
        return "\n".join(lines)
