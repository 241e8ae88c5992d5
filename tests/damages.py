"""Ways in which a file that we wrote is no longer what we wrote."""

import random
from pathlib import Path

DEEP = b"[" * 100_000 + b"]" * 100_000
SAYS_NOTHING = (b"", b"null", b"[]", b"{}", b"0", b'""', b"\n", b"\x00" * 64, DEEP, b'{"record": ' + DEEP + b"}")


def damage(path: Path, luck: random.Random) -> str:
    """Damage a file in one of these ways; say how."""
    content = path.read_bytes()
    how = luck.choice((flip, flip, flip, cut, cut, blank, nothing, recoded, doubled, torn_in, swapped, gone))
    how(path, content, luck)
    return f"{path.name}: {how.__name__}"


def flip(path: Path, content: bytes, luck: random.Random) -> None:
    """Bits of one byte."""
    changed = bytearray(content or b"x")
    changed[luck.randrange(len(changed))] ^= luck.randrange(1, 256)
    path.write_bytes(changed)


def cut(path: Path, content: bytes, luck: random.Random) -> None:
    """An end that was not written."""
    path.write_bytes(content[: luck.randrange(max(1, len(content)))])


def blank(path: Path, content: bytes, luck: random.Random) -> None:
    """A block of zeros, as after a power cut."""
    place, length = luck.randrange(max(1, len(content))), luck.randrange(1, 5000)
    path.write_bytes(content[:place] + bytes(len(content[place : place + length])) + content[place + length :])


def nothing(path: Path, content: bytes, luck: random.Random) -> None:
    """Something that is well formed, maybe, and says nothing."""
    path.write_bytes(luck.choice(SAYS_NOTHING))


def recoded(path: Path, content: bytes, luck: random.Random) -> None:
    """Saved again by an editor in another encoding."""
    path.write_bytes(content.decode("latin-1").encode(luck.choice(("utf-16", "utf-8-sig", "utf-32"))))


def doubled(path: Path, content: bytes, luck: random.Random) -> None:
    """Appended to itself."""
    path.write_bytes(content + content)


def torn_in(path: Path, content: bytes, luck: random.Random) -> None:
    """Bytes that came from elsewhere."""
    place = luck.randrange(max(1, len(content)))
    path.write_bytes(content[:place] + luck.randbytes(luck.randrange(1, 300)) + content[place:])


def swapped(path: Path, content: bytes, luck: random.Random) -> None:
    """The content of another file of the folder."""
    others = sorted(other for other in path.parent.iterdir() if other.is_file() and other.read_bytes() != content)
    path.write_bytes(luck.choice(others).read_bytes() if others else b"other")


def gone(path: Path, content: bytes, luck: random.Random) -> None:
    """Deleted."""
    path.unlink()
