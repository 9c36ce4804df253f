"""Files that outlast a crash: there whole or not at all, on disk when a call returns, written by one process at a time.

What a program writes is on disk after `fsync` of the file, and its name after `fsync` of its folder; until then a power
loss may leave any part of it. A rename puts a file or a folder in place at once. All that is durable is made of these.
"""

import contextlib
import os
import re
import secrets
import shutil
import socket
import stat
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Self, final

try:
    import fcntl
except ImportError:  # Windows, where there is no lock
    fcntl = None

_LOCK = "lock"
OLD, NEW = "old", "new"  # inside of a temporary folder: what is being replaced, and by what
_ABREAST = 16
_NOFOLLOW = getattr(os, "O_NOFOLLOW", 0)


def write(files: Iterable[tuple[Path, bytes]]) -> None:
    """Writes files, each of which appears at once; all of them are on disk when this returns."""
    names: dict[Path, Path] = {}
    try:
        for path, data in files:
            partial = path.with_name(f".{path.name}.partial")
            names[partial] = path
            _put(partial, data)
        _each(sync, names)
        for partial, path in names.items():
            os.replace(partial, path)
    except OSError:
        for partial in names:  # they may be what fills the disk
            with contextlib.suppress(OSError):
                os.unlink(partial)
        raise
    _each(sync, {path.parent for path in names.values()})


def _put(path: Path, data: bytes) -> None:
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | _NOFOLLOW, 0o666)
    try:
        left = memoryview(data)
        while left:
            left = left[os.write(file, left) :]
    finally:
        os.close(file)


def _each(sync: Callable[[Path], None], paths: Iterable[Path]) -> None:
    """Side by side: a disk that is asked for many things at once does them ten times as fast as one by one."""
    paths = list(paths)
    if len(paths) < 2:
        for path in paths:
            sync(path)
        return
    with ThreadPoolExecutor(min(_ABREAST, len(paths))) as pool:
        list(pool.map(sync, paths))  # which raises what one of them has raised


def read(path: Path) -> bytes:
    """The bytes of a file that is neither a link nor a device.

    **Raises:** `OSError`.
    """
    file = os.open(path, os.O_RDONLY | _NOFOLLOW | getattr(os, "O_NONBLOCK", 0))  # a named pipe would wait for ever
    with open(file, "rb") as stream:
        if not stat.S_ISREG(os.fstat(file).st_mode):
            raise OSError(f"{path}: not a regular file")
        return stream.read()


def remove(path: Path) -> None:
    """Removes a file; after a power loss it may be there again."""
    os.unlink(path)


def drop_partials(folder: Path) -> None:
    """Removes what an interrupted `write` left in a folder."""
    for name in os.listdir(folder):
        if re.fullmatch(r"\..*\.partial", name):
            os.unlink(folder / name)


def sync(path: Path) -> None:
    """What was written into a file, or which names a folder has, is on disk when this returns."""
    if os.name == "nt":  # folders cannot be opened there
        return
    file = os.open(path, os.O_RDONLY)
    try:
        _flush(file)
    finally:
        os.close(file)


def sync_tree(folder: Path) -> None:
    """The same for all that is in a folder."""
    _each(sync, [Path(parent, name) for parent, _, names in os.walk(folder) for name in ["", *names]])


def _flush(file: int) -> None:
    if hasattr(fcntl, "F_FULLFSYNC"):  # on macOS fsync stops at the cache of the drive
        with contextlib.suppress(OSError):  # not on every file system
            fcntl.fcntl(file, fcntl.F_FULLFSYNC)  # pyright: ignore
            return
    os.fsync(file)


def is_folder(path: Path) -> bool:
    """Whether there is a folder, and not a link to one."""
    try:
        return stat.S_ISDIR(os.lstat(path).st_mode)
    except OSError:
        return False


def is_free(path: Path) -> bool:
    """Whether there is nothing at a path, or an empty folder."""
    return not os.path.lexists(path) or (is_folder(path) and not any(path.iterdir()))


@contextlib.contextmanager
def reported(path: Path, advice: str) -> Iterator[None]:
    """Errors of the file system as one line with what to do."""
    try:
        yield
    except OSError as error:
        gone = isinstance(error, FileNotFoundError | NotADirectoryError)
        what = "was removed or moved while it was written" if gone else f"cannot be written ({error.strerror or error})"
        raise OSError(f"{path}: {what}; {advice}") from None


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """The name of a file to write, which then is `path`, whole and on disk; in place of one that was there.

    **Raises:** `OSError`, in one line.
    """
    partial = path.with_name(f".{path.stem}-{secrets.token_hex(4)}{path.suffix}")
    try:
        with reported(path, "nothing was written"):
            yield partial
            sync(partial)
            os.replace(partial, path)
            sync(path.absolute().parent)
    finally:
        with contextlib.suppress(OSError):
            partial.unlink()


@final
class Lock:
    """A folder's lock: of the operating system, on the file `lock` in it. It ends with its process, however that ends.

    It also holds on network file systems that have locks (NFS, CIFS, Lustre and GPFS as they are mostly set up). On
    Windows, and where a file system has none, nothing is locked.

    **Raises:** `ValueError`, with the process that holds the lock, or why there can be none.
    """

    def __init__(self, folder: Path, shown: Path | None = None):
        self.shown = shown or folder
        self._path = folder / _LOCK
        try:
            self._file = os.open(self._path, os.O_RDWR | os.O_CREAT | _NOFOLLOW, 0o666)
        except OSError as error:
            raise ValueError(f"{self.shown}: cannot be written ({error.strerror})") from None
        try:
            self._take()
        except BaseException:
            os.close(self._file)
            raise

    def _take(self) -> None:
        try:
            if fcntl is not None:
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            who = re.sub(r"[^\w .-]", "", os.read(self._file, 200).decode(errors="replace")) or "another process"
            raise ValueError(f"{self.shown}: is being written by {who}; nothing was written") from None
        except OSError:  # a file system without locks
            pass
        os.ftruncate(self._file, 0)
        os.write(self._file, f"process {os.getpid()} on {socket.gethostname()}".encode())

    def moved(self, folder: Path) -> None:
        """The folder has a new name."""
        self._path = folder / _LOCK

    def check(self) -> None:
        """`FileNotFoundError` if the folder is not there any more, or another one is in its place."""
        if not os.path.samestat(os.fstat(self._file), os.stat(self._path)):
            raise FileNotFoundError(self._path)

    def release(self) -> None:
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_) -> None:
        self.release()


@final
class NewFolder:
    """A context with a locked temporary folder beside `path`, which `publish` puts there: whole or not at all.

    What dead processes have left of such folders is removed first; those of living ones, and other files, stay.

    **Raises:** `ValueError` if it cannot be made.
    """

    def __init__(self, path: Path):
        self.path, self.published = path, False

    def __enter__(self) -> Self:
        path = self.path.absolute()
        try:
            make(path.parent)
            clean(path)
            self.folder = path.with_name(f".{path.name}-{secrets.token_hex(4)}")
            os.mkdir(self.folder)
            self.lock = Lock(self.folder, self.path)
            sync(self.folder)  # no file in it without the lock, by which `clean` knows it
        except OSError as error:
            raise ValueError(f"{self.path}: cannot be written ({error.strerror})") from None
        return self

    def __exit__(self, *_) -> None:
        if not self.published:
            shutil.rmtree(self.folder, ignore_errors=True)
            self.lock.release()

    def publish(self, *, overwrite: bool = False) -> Lock:
        """Moves the folder to `path`, in place of the one there if it may be overwritten; also its lock, still held."""
        path = self.path.absolute()
        sync_tree(self.folder)
        if overwrite and not is_free(path):
            with Lock(path, self.path), NewFolder(self.path) as old:
                os.replace(path, old.folder / OLD)
                os.replace(self.folder, path)
        elif not is_free(path):
            raise ValueError(f"{self.path}: another process made it meanwhile; nothing was written")
        else:
            if path.exists():
                os.rmdir(path)
            os.rename(self.folder, path)
        self.published = True
        self.lock.moved(path)
        sync(path.parent)
        return self.lock


def clean(path: Path) -> None:
    """Removes the temporary folders of `path` that nobody writes any more, and ends what they were in the middle of."""
    ours = re.compile(rf"\.{re.escape(path.name)}-[0-9a-f]{{8}}")
    for folder in path.parent.iterdir():
        if ours.fullmatch(folder.name) and is_folder(folder):
            with contextlib.suppress(ValueError, OSError):
                if not (folder / _LOCK).is_file():
                    os.rmdir(folder)  # it had not come further; one with files is somebody else's
                    continue
                with Lock(folder):
                    _end(folder, path)
                    shutil.rmtree(folder)


def _end(folder: Path, path: Path) -> None:
    """Where what was at `path` had been moved aside: the rest of what is new is moved, or it is moved back."""
    old, new = folder / OLD, folder / NEW
    if is_folder(old) and is_folder(new) and is_folder(path):
        for name in os.listdir(new):
            os.replace(new / name, path / name)
    elif is_folder(old) and not path.exists():
        os.replace(old, path)
    sync(path.parent)


def make(folder: Path) -> None:
    """Makes a folder and those above it, if there are none."""
    if not folder.is_dir():
        make(folder.parent)
        os.mkdir(folder)
        sync(folder.parent)
