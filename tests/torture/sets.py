"""sets.py - full sets in a history: what a COMMIT changed, may have changed, and must not change.

A COMMIT that was accepted makes each of its lines a put, and each key that is not among them, where
it prunes, a removal. Keys that somebody else put or removed since BEGIN keep that: with one whose
change was asked and answered between BEGIN and COMMIT the set has nothing to do; with one whose
change overlaps the set, either may have come first. What was refused, only counted or given up
changes nothing. One that is not found after a crash may have been seen before it, and is undone. A COMMIT that was never answered may have been carried out, or not, at any time.

Pure, as story.py is.
"""

from collections.abc import Iterator

from story import NEVER, Change, Record, Story

OK, NOT_FOUND = 0, -3
COUNTS = ("created", "changed", "unchanged", "rejected", "kept", "absent", "pruned", "due_now")
PRUNING = ("prune", "guarded")


def add_sets(story: Story) -> None:
    """Write what the sets of a story may have done into its records."""
    others = {name: list(record.changes) for name, record in story.records.items()}
    for commit in story.commits:
        status = commit["answer"]["status"] if commit["answer"] else None
        undone = crash_of(story, commit) if status == NOT_FOUND else NEVER
        if commit["plan"] == "dry" or (status not in (OK, None) and undone == NEVER):
            continue
        commit |= {"undone": undone}
        for key, value in commit["lines"].items():
            record = story.record({"queue": commit["queue"], "key": key})
            add(record, commit, value, others.get(record.name, []))
        if commit["plan"] in PRUNING:
            for record in list(story.records.values()):
                if record.name[0] == commit["queue"] and record.name[1] not in commit["lines"]:
                    add(record, commit, None, others.get(record.name, []))


def crash_of(story: Story, commit: dict) -> float:
    """The end of the broker that was asked first, if it ended before the answer."""
    return next((down for down in story.downs if commit["t"] <= down <= commit["answer"]["t"]),
                NEVER)


def add(record: Record, commit: dict, value: str | None, others: list[Change]) -> None:
    """One key of a set that was carried out, or may have been."""
    end = commit["answer"]["t"] if commit["answer"] else NEVER
    if any(each.start > commit["opened"] and each.certain < commit["t"] and not each.found_none
           for each in others):
        return  # somebody else's since BEGIN
    if commit["undone"] < NEVER:
        record.changes.append(Change(commit["who"], -1, value, commit["t"], commit["undone"],
                                     undone=commit["undone"]))
        return
    is_alone = not any(each.start <= end and each.end >= commit["began"] for each in others)
    record.changes.append(Change(commit["who"], -1, value, commit["t"], end,
                                 end if is_alone else NEVER))


def wrongs(story: Story) -> Iterator[str]:
    """Commits whose answer cannot be."""
    for commit in story.commits:
        answer = commit["answer"]
        if not answer or answer["status"] != OK:
            continue
        what = f"the set {commit['set']} of {commit['who']} on {commit['queue']}"
        counts = dict(zip(COUNTS, answer["counts"]))
        if commit["plan"] == "wrong":
            yield f"{what} was carried out with a wrong checksum"
        if counts["pruned"] and commit["plan"] != "prune":
            yield f"{what} pruned {counts['pruned']} and was not to"
        lines = sum(counts[name] for name in ("created", "changed", "unchanged", "rejected",
                                              "kept"))
        if lines != len(commit["lines"]):
            yield f"{what} had {len(commit['lines'])} lines, and {lines} were counted"
