"""The set of the demo: one record for each regular file, as lines of JSON."""

import hashlib
import json
import os
import stat
import time

SKIPPED_DIRECTORIES = {"/proc", "/sys", "/dev", "/run"}
KEY_BYTES_MAX = 1024
FILE_BYTES_MAX = 16 << 20  # one larger file would hold up a worker for longer than a demo lasts
GENERATED_FILE_BYTES = 4096  # on disk
SAMPLE_FILES = 500
SAMPLE_SECONDS_MAX = 3


class FileSet:
    """Collects up to `records_max` paths and writes them as records. `is_stopping` is asked between
    folders; what was found until then is the set."""

    def __init__(self, records_max, say, is_stopping):
        self.records_max = records_max
        self.say = say
        self.is_stopping = is_stopping
        self.paths = []
        self.generated = 0
        self.skipped = {"unreadable": 0, "not UTF-8": 0, "over 16 MiB": 0}

    def find(self, top, leave_out):
        """Walk from `top` in a fixed order, without following links, until there are enough."""
        said = time.monotonic()
        folders = [top]
        while folders and len(self.paths) < self.records_max and not self.is_stopping():
            if time.monotonic() - said >= 1:
                said = time.monotonic()
                self.say(f"finding files: {len(self.paths):,}")
            try:
                with os.scandir(folders.pop()) as entries:
                    entries = sorted(entries, key=lambda entry: entry.name)
            except OSError:
                continue
            below = []
            for entry in entries:
                if entry.is_symlink():
                    continue
                if entry.is_dir(follow_symlinks=False):
                    if entry.path not in SKIPPED_DIRECTORIES and entry.path != leave_out:
                        below.append(entry.path)
                elif len(self.paths) < self.records_max:
                    self._consider(entry)
            folders.extend(reversed(below))

    def _consider(self, entry):
        try:
            status = entry.stat(follow_symlinks=False)
        except OSError:
            return  # it has gone since
        if not stat.S_ISREG(status.st_mode):
            return
        if status.st_size > FILE_BYTES_MAX:
            self.skipped["over 16 MiB"] += 1
        elif not is_utf8(entry.path):
            self.skipped["not UTF-8"] += 1
        elif not os.access(entry.path, os.R_OK):
            self.skipped["unreadable"] += 1
        else:
            self.paths.append(entry.path)

    def fill_up(self, folder):
        """Generate small files until there are enough, or the disk is a third full of them."""
        disk = os.statvfs(folder)
        room = disk.f_bavail * disk.f_frsize // 3 // GENERATED_FILE_BYTES
        if disk.f_files:
            room = min(room, disk.f_favail // 3)
        for number in range(min(self.records_max - len(self.paths), room)):
            if self.is_stopping():
                return
            below = os.path.join(folder, f"{number // 1000:04}")
            if number % 1000 == 0:
                os.mkdir(below)
            path = os.path.join(below, f"{number % 1000:03}.txt")
            with open(path, "w", encoding="ascii") as file:
                file.write(f"generated file {number}\n")
            self.paths.append(path)
            self.generated += 1

    def seconds_a_file(self):
        """What reading one file takes here: the mean of a sample from the whole set."""
        step = max(1, len(self.paths) // SAMPLE_FILES)
        start = time.monotonic()
        count = 0
        for path in self.paths[::step]:
            try:
                with open(path, "rb", buffering=0) as file:
                    while file.read(65536):
                        pass
            except OSError:
                pass  # it has gone since
            count += 1
            if time.monotonic() - start > SAMPLE_SECONDS_MAX:
                break
        return (time.monotonic() - start) / count

    def write(self, name, every, first):
        """One line a record. That of the path `first` is due at once and goes before others that
        are due; the others are spread. The paths of a walk are distinct, so the keys are."""
        with open(name, "w", encoding="utf-8") as file:
            for path in self.paths:
                record = {"key": key_of(path), "every": every, "payload": {"path": path}}
                if path == first:
                    record |= {"due": int(time.time()), "rank": -1}
                file.write(json.dumps(record, ensure_ascii=False) + "\n")

    def describe(self):
        text = f"{len(self.paths):,} files"
        if self.generated:
            text += f" ({self.generated:,} of them generated)"
        left_out = [f"{count:,} {why}" for why, count in self.skipped.items() if count]
        return text + (f"; left out: {', '.join(left_out)}" if left_out else "")


def is_utf8(path):
    try:
        path.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def key_of(path):
    """The path, or its hash where it is too long for a key or holds control characters."""
    coded = path.encode("utf-8")
    if len(coded) <= KEY_BYTES_MAX and all(byte >= 32 and byte != 127 for byte in coded):
        return path
    return "blake2:" + hashlib.blake2b(coded, digest_size=16).hexdigest()
