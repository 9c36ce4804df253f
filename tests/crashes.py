"""What a crash leaves of files: a disk that notes what is done to it, stops at any moment, and forgets what it may."""

import os
import shutil

import numpy as np

from brainsim import _durable


class Stopped(BaseException):
    """A process ends: no handler of errors sees it."""


class Disk:
    """Stands in for `os` in `brainsim._durable`: notes every operation, and at operation `last` the process ends there.

    What is done later raises, too: the process is not there any more. Its locks are gone, as are those of a process.
    """

    def __init__(self, last=None, *, syncs=True):
        self.log, self.last, self.syncs, self.files = [], last, syncs, set()

    def __getattr__(self, name):
        return getattr(os, name)

    def note(self, *operation):
        if self.last is not None and len(self.log) >= self.last:
            while self.files:
                os.close(self.files.pop())
            raise Stopped
        self.log.append(operation)

    def open(self, path, flags, mode=0o777):
        if flags & os.O_CREAT:
            self.note("create", None, os.path.abspath(path), bool(flags & os.O_TRUNC))
        file = os.open(path, flags, mode)
        self.files.add(file)
        self.log.append(("open", file, os.path.abspath(path)))
        return file

    def close(self, file):
        if file in self.files:
            self.files.discard(file)
            os.close(file)

    def write(self, file, data):
        half = len(data) // 2
        if self.last == len(self.log) and half:
            os.write(file, data[:half])  # a process ends in the middle of a file, too
        self.note("write", file, bytes(data))
        return os.write(file, data)

    def fsync(self, file):
        self.note("fsync", file)
        if self.syncs:
            os.fsync(file)

    def ftruncate(self, file, length):
        self.note("truncate", file)
        os.ftruncate(file, length)

    def replace(self, a, b):
        self.note("rename", None, os.path.abspath(a), os.path.abspath(b))
        os.replace(a, b)

    rename = replace

    def mkdir(self, path):
        self.note("mkdir", None, os.path.abspath(path))
        os.mkdir(path)

    def unlink(self, path):
        self.note("unlink", None, os.path.abspath(path))
        os.unlink(path)

    def rmdir(self, path):
        os.rmdir(path)
        self.note("unlink", None, os.path.abspath(path))

    def rmtree(self, path, ignore_errors=False):
        self.note("rmtree", None, os.path.abspath(path))
        shutil.rmtree(path, ignore_errors)


def watch(monkeypatch, last=None):
    """The disk from now on; synchronising costs time and shows nothing here, so that it is only noted."""
    disk = Disk(last, syncs=False)
    monkeypatch.setattr(_durable, "os", disk)
    monkeypatch.setattr(_durable, "shutil", disk)
    return disk


class File:
    def __init__(self):
        self.now, self.safe = b"", b""

    def after_a_power_loss(self, rng):
        """What was synchronised, or any part of what was written since, with zeros where a part of it is not there."""
        kind = rng.integers(4)
        cut = int(rng.integers(len(self.now) + 1))
        any_part = [self.safe, self.now, self.now[:cut], bytes(cut) + self.now[cut:]]
        return self.now if self.now == self.safe else any_part[kind]


class Folder:
    def __init__(self):
        self.now, self.safe, self.pending = {}, {}, []

    def change(self, names):
        """Some names mean something else from now on, all at once; or nothing."""
        self.pending.append(names)
        self.now = self.changed(self.now, names)

    @staticmethod
    def changed(now, names):
        return {name: x for name, x in {**now, **names}.items() if x is not None}

    def after_a_power_loss(self, rng):
        """The names that were synchronised, with the first of the changes since, or with any of them."""
        found, count = self.safe, len(self.pending)
        kept = np.arange(count) < rng.integers(count + 1) if rng.integers(2) else rng.integers(2, size=count)
        for names, stays in zip(self.pending, kept, strict=True):
            found = self.changed(found, names) if stays else found
        return found


def power_loss(log, source, target, rng):
    """Writes what a power loss after the operations in `log` may leave of the folder `source` into `target`."""
    root, files = Folder(), {}

    def at(path):
        here = root
        parts = os.path.relpath(path, source).split(os.sep)
        for part in [] if parts == ["."] else parts:
            here = here.now[part]
        return here

    def parent(path):
        return at(os.path.dirname(path)), os.path.basename(path)

    for kind, file, *rest in log:
        if kind == "create":
            folder, name = parent(rest[0])
            if name not in folder.now:
                folder.change({name: File()})
            if rest[1]:
                folder.now[name].now = b""
        elif kind == "open":
            files[file] = at(rest[0])
        elif kind == "write":
            files[file].now += rest[0]
        elif kind == "truncate":
            files[file].now = b""
        elif kind == "mkdir":
            folder, name = parent(rest[0])
            folder.change({name: Folder()})
        elif kind == "fsync":
            x = files[file]
            x.safe = x.now if isinstance(x, File) else dict(x.now)
            x.pending = []
        elif kind == "rename":
            (a, old), (b, new) = map(parent, rest)
            what = a.now[old]
            if a is b:
                a.change({old: None, new: what})
            else:
                a.change({old: None})
                b.change({new: what})
        elif kind in ("unlink", "rmtree"):
            folder, name = parent(rest[0])
            folder.change({name: None})

    def write(folder, path):
        os.makedirs(path, exist_ok=True)
        for name, x in folder.after_a_power_loss(rng).items():
            inner = os.path.join(path, name)
            if isinstance(x, Folder):
                write(x, inner)
            else:
                with open(inner, "wb") as stream:
                    stream.write(x.after_a_power_loss(rng))

    write(root, target)
