"""Lines of files nobody vouches for: numbered, of bounded length, and the account of those that cannot be used."""

import codecs
import csv
import errno
import gzip
import io
import json
import re
import zipfile
import zlib
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from copy import copy
from pathlib import Path
from typing import IO, Any, BinaryIO, TextIO, cast

from patchrec.data.writers import harmless
from patchrec.errors import InputError, OutOfResourcesError, UsageError

try:
    from lzma import LZMAError
except ImportError:  # a Python built without it cannot unpack such archives either
    LZMAError = zlib.error  # type: ignore[misc, assignment]

MAX_LINE_BYTES = 1 << 20
MAX_FILE_BYTES = 32 << 30
"""Of one file after decompression; far above any data set that fits in memory, far below what fills a disk."""
BLOCK = 1 << 20
AT_ONCE = 8
"""Blocks that are decoded together, so that values of columns repeat within them."""
SIP = 4 << 10
"""Packed bytes that are unpacked at once where nothing else bounds what becomes of them: 128 MiB of zstd at most."""

DAMAGED = (zipfile.BadZipFile, UnicodeError, zlib.error, EOFError, gzip.BadGzipFile, LZMAError, UnicodeDecodeError)
"""What unpacking raises on bytes that are not what was packed; the last one for file names in an archive."""

LISTED = 1000
"""Lines that are remembered by name; all are counted."""
LINES_KEPT = 100
"""Lines of a record that could not be read that are kept with it."""
SKIP_HINT = "fix the line, or leave it out with --skip-bad"
ENCODING_HINT = "give its --encoding such as latin-1 or cp1252, or save the file as UTF-8"
_VALUE = re.compile(r"'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\"")
_DIGITS = re.compile(r"(?<![\w+])\d+(?:[,.]\d+)*(?!\w)")
_CODES = re.compile(r"0x[0-9a-f]{2}|U\+[0-9A-F]{4,6}")


class Rejects:
    """The account of a table: rows read, and those that cannot be used or were left out by choice, by reason.

    The first row that cannot be used ends the reading, unless they are to be skipped.

    Attributes:
        messages: `file:line: reason` of the first skipped lines, in order.
        notices: What a user should know of lines that were used.
        read: Rows of the files, whatever became of them.
        rejected: Reason without its values -> how many rows could not be used.
        left_out: Reason -> how many rows an option left out.
        examples: Reason without its values -> the message of its first line.
    """

    def __init__(self, *, skip: bool = False, sink: "RejectsFile | None" = None) -> None:
        self.skip = skip
        self.messages: list[str] = []
        self.notices: list[str] = []
        self.read = 0
        self.rejected: Counter[str] = Counter()
        self.left_out: Counter[str] = Counter()
        self.examples: dict[str, str] = {}
        self._sink = sink
        self._waiting: deque[tuple[str, int, str, str, str]] = deque()

    def notice(self, message: str) -> None:
        """Note what a user should know of lines that were used, once."""
        if message not in self.notices:
            self.notices.append(message)

    def add(self, file: str, line: int, reason: str, hint: str = SKIP_HINT, *, row: object = None) -> None:
        """Note a row that cannot be used, which was counted as read.

        Args:
            file: Its name.
            line: Its number.
            reason: Why, with the value.
            hint: What to do about it.
            row: What it holds: text, or column -> value.

        Raises:
            InputError: Lines are not to be skipped.
        """
        self.settle(line)
        message = f"{file}:{line}: {reason}"
        if not self.skip:
            raise InputError(f"{message}; {hint}")
        kind = _CODES.sub("N", _VALUE.sub("...", reason))
        kind = kind if kind.startswith("the time is ") else _DIGITS.sub("N", kind)
        kind = kind.replace("not UTF-N", "not UTF-8")
        self.rejected[kind] += 1
        self.examples.setdefault(kind, message)
        if len(self.messages) < LISTED:
            self.messages.append(message)
        if self._sink is not None:
            self._sink.write(file, line, reason, row)

    def add_line(self, file: str, line: int, reason: str, hint: str = SKIP_HINT, *, text: str = "") -> None:
        """Note a line that cannot be used as a row at all; counts it as read. It is told in the order of lines."""
        self.read += 1
        at = len(self._waiting)
        while at and self._waiting[at - 1][1] > line:  # a later line of a block that was looked at before
            at -= 1
        self._waiting.insert(at, (file, line, reason, hint, text))

    def settle(self, before: int | None = None) -> None:
        """Tell the lines that could not be used, those before a line or all that were read.

        Raises:
            InputError: Lines are not to be skipped.
        """
        while self._waiting and (before is None or self._waiting[0][1] < before):
            file, line, reason, hint, text = self._waiting.popleft()
            self.add(file, line, reason, hint, row=text)

    def summary(self) -> list[str]:
        """Each reason with its number of rows and its first line, most frequent first."""
        return [f"{kind} ({count:,}), such as {self.examples[kind]}" for kind, count in self.rejected.most_common()]


class RejectsFile:
    """A CSV file of the rows that could not be used: file, line, reason, and the row (`harmless`)."""

    HEADER = ("file", "line", "reason", "row")

    def __init__(self, stream: TextIO) -> None:
        self._rows = csv.writer(stream, lineterminator="\n")
        self._rows.writerow(self.HEADER)

    def write(self, file: str, line: int, reason: str, row: object) -> None:
        """Write one."""
        shown = row if isinstance(row, str) else json.dumps(row, ensure_ascii=False, default=str)
        shown = shown.encode("utf-8", "backslashreplace").decode("utf-8")
        self._rows.writerow([harmless(file), line, harmless(reason), harmless(shown)])


@contextmanager
def rejects_file(path: Path | None) -> Iterator[RejectsFile | None]:
    """Open a file for rejected rows, which appears when all are written.

    It appears when the import fails too, unless there is nothing in it: then an earlier one stays as it is.

    Raises:
        UsageError: There is a file that holds something else, or it cannot be written. OutOfResourcesError: The disk is
            full.
    """
    if path is None:
        yield None
        return
    unfinished = path.with_name(f".{path.name}.unfinished")
    try:
        if path.exists() and not path.read_bytes()[:64].startswith(",".join(RejectsFile.HEADER).encode()):
            raise UsageError(f"--rejects {str(path)!r} is there and holds something else; name another file")
        with unfinished.open("w", encoding="utf-8", newline="") as stream:
            file = RejectsFile(stream)
            begin = stream.tell()
            finished = False
            try:
                yield file
                finished = True
            finally:
                if finished or stream.tell() > begin:
                    stream.flush()
                    unfinished.replace(path)
                else:
                    unfinished.unlink()
    except OSError as error:
        with suppress(OSError):
            unfinished.unlink()
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise OutOfResourcesError(f"no space left for --rejects {str(path)!r}; free some and try again") from error
        raise UsageError(
            f"cannot write --rejects {str(path)!r} ({error.strerror or error}); name another file"
        ) from error


@contextmanager
def _named(file: str) -> Iterator[None]:
    """Say of which file an error about its encoding is."""
    try:
        yield
    except InputError as error:
        raise InputError(str(error) if file in str(error) else f"{file}: {error}") from error


@contextmanager
def reading(file: str) -> Iterator[None]:
    """Turn what a damaged or unreadable file raises into an `InputError` that names it."""
    try:
        yield
    except FileNotFoundError as error:
        raise InputError(f"no file {file!r}; check the path") from error
    except DAMAGED as error:
        raise InputError(f"{file!r} is damaged ({error}); get it again") from error
    except (RuntimeError, NotImplementedError) as error:  # zipfile: encrypted, or an unknown compression
        raise InputError(
            f"{file!r} cannot be unpacked ({error}); pack it without a password as an ordinary zip"
        ) from error
    except OSError as error:
        if error.errno is None:  # bz2 says so of bytes that are not its own
            raise InputError(f"{file!r} is damaged ({error}); get it again") from error
        raise InputError(
            f"cannot read {file!r} ({error.strerror or error}); check the path and its permissions"
        ) from error


def unpacked(stream: BinaryIO, name: str) -> BinaryIO:
    """What a stream holds once it is unpacked as the end of its name says.

    Raises:
        InputError: Nothing here unpacks it.
    """
    ending = Path(name).suffix.lower()
    if ending == ".gz":
        return cast(BinaryIO, gzip.open(stream))
    if ending == ".bz2":
        import bz2

        return cast(BinaryIO, bz2.open(stream))
    if ending == ".xz":
        import lzma

        return cast(BinaryIO, lzma.open(stream))
    if ending == ".zst":
        try:
            from zstandard import ZstdDecompressor
        except ImportError:
            raise InputError(
                f"{name!r} is packed by zstd, which needs a package: `pip install zstandard`; or unpack it: `unzstd`"
            ) from None
        return cast(BinaryIO, io.BufferedReader(_Zstd(stream, ZstdDecompressor().decompressobj), BLOCK))
    return stream


def member(archive: zipfile.ZipFile, name: str) -> BinaryIO:
    """A file in an archive, unpacked as it is read: zipfile itself unpacks all that it took of some methods."""
    info = archive.getinfo(name)
    if info.compress_type == zipfile.ZIP_BZIP2:  # a kilobyte of it may be a gigabyte
        import bz2

        packed = copy(info)
        packed.compress_type, packed.file_size = zipfile.ZIP_STORED, packed.compress_size
        del packed.CRC  # of what it holds; the method has its own
        return cast(BinaryIO, bz2.open(archive.open(packed)))
    stream = archive.open(name)
    if info.compress_type == zipfile.ZIP_LZMA:
        return cast(BinaryIO, io.BufferedReader(_Sips(stream), SIP))
    return cast(BinaryIO, stream)


class _Sips(io.RawIOBase):
    """A stream of which little is taken at once."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream

    def readable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._stream.tell()

    def readinto(self, buffer: Any) -> int:
        taken = self._stream.read(min(len(buffer), SIP))
        buffer[: len(taken)] = taken
        return len(taken)


class _Zstd(io.RawIOBase):
    """What a stream of zstd frames holds. The package's own reader ends without a word where a frame is cut off."""

    def __init__(self, stream: BinaryIO, frame: Callable[[], Any]) -> None:
        self._stream = stream
        self._new_frame = frame
        self._frame: Any = None
        self._packed = b""
        self._ready = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._ready:
            raw = self._packed or self._stream.read(SIP)
            self._packed = b""
            if not raw:
                if self._frame is not None:
                    raise EOFError("zstd data ends before its end")
                return 0
            self._frame = self._frame or self._new_frame()
            try:
                self._ready = memoryview(self._frame.decompress(raw))  # 128 MiB maybe, of which no copy is made
            except Exception as error:  # of a package that is not always there
                raise zlib.error(f"zstd: {error}") from error
            if self._frame.eof:
                self._packed, self._frame = self._frame.unused_data, None
        size = min(len(buffer), len(self._ready))
        buffer[:size] = self._ready[:size]
        self._ready = self._ready[size:]
        return size


def open_bytes(path: Path) -> BinaryIO:
    """Open a file for reading, unpacking it as the end of its name says."""
    return unpacked(path.open("rb"), path.name)


class _Recoded(io.RawIOBase):
    """A stream of text in some encoding, as UTF-8."""

    def __init__(self, stream: BinaryIO, encoding: str) -> None:
        self._stream = stream
        self._encoding = encoding
        self._decoder = codecs.getincrementaldecoder(encoding)()
        self._ready = b""
        self._ended = False

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._ready and not self._ended:
            raw = self._stream.read(BLOCK)
            self._ended = not raw
            try:
                text = self._decoder.decode(raw, self._ended)
            except UnicodeError as error:
                raise InputError(
                    f"the text is not in the encoding {self._encoding} ({error}); give another --encoding"
                ) from error
            self._ready = text.encode("utf-8", "surrogatepass")
        size = min(len(buffer), len(self._ready))
        buffer[:size] = self._ready[:size]
        self._ready = self._ready[size:]
        return size


def recoded(stream: BinaryIO, encoding: str | None) -> BinaryIO:
    """The stream as UTF-8.

    Raises:
        UsageError: There is no such encoding of text.
    """
    if encoding is None:
        return stream
    try:
        name = codecs.lookup(encoding).name
        "".encode(encoding)
    except (LookupError, UnicodeError) as error:
        raise UsageError(f"no encoding {encoding!r}; give one such as latin-1, utf-16 or cp1252") from error
    if name in ("utf-8", "utf-8-sig"):
        return stream
    return cast(BinaryIO, io.BufferedReader(_Recoded(stream, encoding), BLOCK))


def blocks(stream: BinaryIO, file: str, rejects: Rejects) -> Iterator[tuple[int, bytes]]:
    """Blocks of whole lines, each with the number of its first line, from 1. A line that is too long is rejected.

    Raises:
        InputError: The stream is damaged or longer than any data set.
    """
    number, total, rest = 1, 0, b""
    with reading(file), _named(file):
        while raw := stream.read(BLOCK):
            total += len(raw)
            if total > MAX_FILE_BYTES:
                raise InputError(
                    f"{file!r} is larger than {MAX_FILE_BYTES >> 30} GiB unpacked; is this the right file?"
                )
            if len(rest) > MAX_LINE_BYTES:  # only its length matters now
                end = raw.find(b"\n")
                if end < 0:
                    continue
                _too_long(rejects, file, number, rest)
                number, rest, raw = number + 1, b"", raw[end + 1 :]
            end = raw.rfind(b"\n") + 1
            if not end:
                rest += raw
                continue
            block, rest = rest + raw[:end], raw[end:]
            first = block.find(b"\n")
            if first > MAX_LINE_BYTES:
                _too_long(rejects, file, number, block)
                number, block = number + 1, block[first + 1 :]
            if block:
                yield number, block
                number += block.count(b"\n")
        if len(rest) > MAX_LINE_BYTES:
            _too_long(rejects, file, number, rest)
        elif rest:
            yield number, rest


def _too_long(rejects: Rejects, file: str, number: int, line: bytes) -> None:
    begin = line[:200].decode("utf-8", "backslashreplace")
    reason = f"longer than {MAX_LINE_BYTES >> 20} MiB"
    rejects.add_line(file, number, reason, "is this the right file?", text=f"{begin}...")


class Lines:
    """Decoded lines of a text file without their ends, taken one by one or the rest of a block at once.

    Attributes:
        number: Of the last line given out. first: Of the first one given out since this was set to 0.
        given: The last lines given out since it was emptied.
        begins_late: Whether the very first line could not be used.
    """

    def __init__(self, stream: BinaryIO, file: str, rejects: Rejects, *, encodings: bool = True) -> None:
        """Read lines of a file, whose encoding an option may name unless `encodings` is false."""
        self._blocks = blocks(stream, file, rejects)
        self._recode = ENCODING_HINT if encodings else "save the file as UTF-8"
        self._ahead: tuple[int, bytes] | None = None
        self._file = file
        self._rejects = rejects
        self._clean: tuple[int, bytes] | None = None  # a block that is text, before anything is taken from it
        self._numbers: list[int] | range = range(0)
        self._texts: list[str] = []
        self._place = self._taken = 0
        self.number = 0
        self.first = 0
        self.begins_late = False
        self.given: deque[str] = deque(maxlen=LINES_KEPT)

    def __iter__(self) -> "Lines":
        return self

    def __next__(self) -> str:
        while self.at_end_of_block:
            if not self._fill():
                raise StopIteration
        text = self._texts[self._place]
        self.number = self._numbers[self._place]
        self._place += 1
        self.first = self.first or self.number
        self.given.append(text)
        return text

    @property
    def at_end_of_block(self) -> bool:
        """Whether nothing is left of the block that was read last."""
        if self._clean is not None:
            self._unfold()
        return self._place >= len(self._texts)

    def take_block(self) -> tuple[int, bytes] | None:
        """A whole block in UTF-8 without its last line break, and the number of its first line.

        None where something of the block is taken, some line is no text, or at the end of the file.
        """
        if self._clean is None and self._place >= len(self._texts):
            self._fill()
        block, self._clean = self._clean, None
        if block is not None:
            self._block = block
        return block

    def give_back_block(self) -> None:
        """Take back what `take_block` gave."""
        self._clean = self._block

    def take(self) -> tuple[list[int] | range, list[str]] | None:
        """What is left of a block: numbers and lines; None at the end of the file."""
        while self.at_end_of_block:
            if not self._fill():
                return None
        numbers, texts = self._numbers[self._place :], self._texts[self._place :]
        self._taken, self._place = self._place, len(self._texts)
        return numbers, texts

    def skip_blank(self) -> None:
        """Pass over the blank lines that come next, at the speed of blocks."""
        while True:
            if self._clean is not None:
                number, block = self._clean
                stop = block.rfind(b"\n", 0, len(block) - len(block.lstrip(b"\r\n"))) + 1
                self._clean = number + block.count(b"\n", 0, stop), block[stop:]
                if stop < len(block):
                    return
                self._clean = None
            while self._place < len(self._texts):
                if self._texts[self._place] not in ("", "\r"):
                    return
                self._place += 1
            if not self._fill():
                return

    def give_back(self) -> None:
        """Take back what `take` gave, to give it out line by line."""
        self._place = self._taken

    def _fill(self) -> bool:
        found = self._ahead or next(self._blocks, None)
        self._ahead = None
        if found is None:
            return False
        number, block = found
        several, until = [block], number + block.count(b"\n")
        while number > 1 and len(several) < AT_ONCE and (following := next(self._blocks, None)) is not None:
            if following[0] != until:  # a line between them is not used
                self._ahead = following
                break
            several.append(following[1])
            until += following[1].count(b"\n")
        block = b"".join(several)
        if number == 1:
            if block.startswith((b"\xff\xfe", b"\xfe\xff")):
                raise InputError(f"{self._file}:1: the file is UTF-16; give --encoding utf-16, or save it as UTF-8")
            block = block.removeprefix(b"\xef\xbb\xbf")
        whole = block[:-1] if block.endswith(b"\n") else block
        self._numbers, self._texts, self._place = range(0), [], 0
        if b"\0" not in whole and _is_text(whole):
            self._clean = number, whole
        else:
            self._numbers, self._texts = self._decoded(number, whole)
        if self.number == 0:
            self.begins_late = number != 1 or (self._clean is None and next(iter(self._numbers), 0) != 1)
        return True

    def _unfold(self) -> None:
        """Split the block into lines."""
        assert self._clean is not None
        (number, whole), self._clean = self._clean, None
        self._texts = whole.decode("utf-8").split("\n")
        self._numbers, self._place = range(number, number + len(self._texts)), 0

    def _decoded(self, number: int, whole: bytes) -> tuple[list[int], list[str]]:
        """Numbers and texts of the lines of a block that are text."""
        numbers, texts = [], []
        for place, line in enumerate(whole.split(b"\n"), start=number):
            shown = line.decode("utf-8", "backslashreplace")
            if b"\0" in line:
                hint = "is it a text file in UTF-8? fix the line, or pass --skip-bad"
                self._rejects.add_line(self._file, place, "a NUL byte", hint, text=shown)
                continue
            try:
                texts.append(line.decode("utf-8"))
                numbers.append(place)
            except UnicodeDecodeError as error:
                reason = f"not UTF-8 (byte 0x{line[error.start]:02x} at {error.start + 1})"
                self._rejects.add_line(self._file, place, reason, self._recode, text=shown)
        return numbers, texts


def _is_text(content: bytes) -> bool:
    try:
        content.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def account(kept: int, rejects: Rejects) -> Mapping[str, Any]:
    """The account of a table as plain JSON; every row that was read is in it once."""
    found = {"read": rejects.read, "kept": kept, "rejected": dict(rejects.rejected), "left_out": dict(rejects.left_out)}
    assert rejects.read == kept + sum(rejects.rejected.values()) + sum(rejects.left_out.values()), found
    return found
