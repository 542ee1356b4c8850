"""A trace's file: opened whatever it is packed in, its separator and its head found, lines counted.

What is no text with separators is refused by its name; so is what is damaged or cut short.
"""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import lzma
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Final, cast

from gateway.ledger.errors import BadQuery

_PACKED: Final = ((b"\x1f\x8b", gzip.open), (b"BZh", bz2.open), (b"\xfd7zXZ\x00", lzma.open))
_OTHERS: Final = (
    (b"PK\x03\x04", "a ZIP archive or a spreadsheet"),
    (b"Rar!", "a RAR archive"),
    (b"7z\xbc\xaf", "a 7z archive"),
    (b"\x28\xb5\x2f\xfd", "packed with zstd"),
    (b"PAR1", "a Parquet file"),
)
_ENCODINGS: Final = ((b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16"))
_SEPARATORS: Final = ",;\t|"
_TAR: Final = slice(257, 262)


class Sheet:
    """A trace's lines under its head. Iterating gives those that are not blank, cell by cell.

    ``head``: names as they are written; ``where``: only lines with these values at these places.
    """

    def __init__(
        self, path: Path, separator: str, head: list[str], lines: Iterator[str], before: int
    ) -> None:
        self.path = path
        self.separator = separator
        self.head = head
        self.where: list[tuple[int, str]] = []
        self._rows = csv.reader(lines, delimiter=separator, skipinitialspace=separator != "\t")
        self._before = before

    @property
    def line(self) -> int:
        """The number of the line that was read last, from 1."""
        return self._before + self._rows.line_num

    def __iter__(self) -> Iterator[list[str]]:
        width, where = len(self.head), self.where
        for row in self._rows:
            if len(row) != width:
                if not any(cell.strip() for cell in row):
                    continue
                if any(cell.strip() for cell in row[width:]):
                    raise self.refusal(
                        f"it has {len(row)} columns, and the head {width}: put quotes around what "
                        "holds a separator"
                    )
            if where and any(row[place : place + 1] != [value] for place, value in where):
                continue
            yield row

    def refusal(self, why: str) -> BadQuery:
        """What is wrong with the line that was read last."""
        return BadQuery("trace", f"--trace: {self.path}, line {self.line}: {why}.")

    def refused(self, why: str) -> BadQuery:
        """What is wrong with its head."""
        return BadQuery("trace", f"--trace: {self.path}, line {self._before}: {why}.")


@contextmanager
def opened(path: Path) -> Iterator[Sheet]:
    """A trace. Raises BadQuery, also while its lines are read."""
    sheet: Sheet | None = None
    try:
        with path.open("rb") as file:
            yield (sheet := _sheet(path, file))
    except UnicodeDecodeError as error:
        raise BadQuery(
            "trace", f"--trace: {path} is not UTF-8 text{_after(sheet)}: save it as UTF-8."
        ) from error
    except csv.Error as error:
        raise BadQuery("trace", f"--trace: {path} is not CSV{_after(sheet)} ({error}).") from error
    except (EOFError, zlib.error, lzma.LZMAError) as error:
        raise BadQuery(
            "trace",
            f"--trace: {path} is cut short or damaged{_after(sheet)}: it cannot be unpacked.",
        ) from error
    except OSError as error:
        raise BadQuery(
            "trace", f"--trace: {path} cannot be read ({error.strerror or error})."
        ) from error


def _after(sheet: Sheet | None) -> str:
    return "" if sheet is None else f", after line {sheet.line}"


def _sheet(path: Path, file: io.BufferedReader) -> Sheet:
    begin = file.peek(8)
    unpack = next((unpack for magic, unpack in _PACKED if begin.startswith(magic)), None)
    if unpack is not None:
        file = io.BufferedReader(cast("io.RawIOBase", unpack(file)))
        begin = file.peek(512)
    what = next((what for magic, what in _OTHERS if begin.startswith(magic)), None)
    if begin[_TAR] == b"ustar":
        what = "a tar archive"
    if what is not None:
        raise BadQuery("trace", f"--trace: {path} is {what}: unpack it, or write it as CSV.")
    encoding = next((name for magic, name in _ENCODINGS if begin.startswith(magic)), "utf-8-sig")
    text = io.TextIOWrapper(cast("BinaryIO", file), encoding, newline="")
    first, before = "", 0
    for first in text:
        before += 1
        if first.strip() and not first.startswith("#"):
            break
    if not first.strip():
        raise BadQuery("trace", f"--trace: {path} is empty.")
    separator = _separator(first)
    if first.lower().startswith("sep=") and len(first.strip()) == 5:  # a spreadsheet's own hint
        separator, first, before = first.strip()[4], next(text, ""), before + 1
    if first.lstrip()[:1] in ("{", "["):
        raise BadQuery("trace", f"--trace: {path} is JSON: write it as CSV.")
    (head,) = csv.reader([first], delimiter=separator, skipinitialspace=separator != "\t")
    return Sheet(path, separator, [name.strip() for name in head], text, before)


def _separator(head: str) -> str:
    """Whatever stands most often in the head; blanks, where nothing else does."""
    best = max(_SEPARATORS, key=head.count)
    if head.count(best):
        return best
    return " " if " " in head.strip() else ","
