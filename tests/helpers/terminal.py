"""Progress on a pseudo terminal or a pipe, and what a terminal shows of it."""

import contextlib
import fcntl
import os
import pty
import struct
import termios
import threading

from keras_sphereface.utils import progress


class Output:
    """What was written to a file descriptor, which a thread reads: a terminal's buffer is small."""

    def __init__(self, descriptor: int):
        self.descriptor, self.text = descriptor, ""
        self.thread = threading.Thread(target=self._read)
        self.thread.start()

    def _read(self):
        written = b""
        # A terminal whose other end is closed raises, and a pipe ends.
        with contextlib.suppress(OSError):
            while block := os.read(self.descriptor, 4096):
                written += block
        self.text = written.decode()
        os.close(self.descriptor)


@contextlib.contextmanager
def shown_in(reader: int, writer: int):
    """Show progress on a file descriptor; yields its `Output`, complete after the block."""
    output = Output(reader)
    try:
        with os.fdopen(writer, "w") as stream, progress.shown_on(stream):
            yield output
    finally:
        output.thread.join()


def terminal(columns: int):
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    return shown_in(ours, theirs)


def pipe():
    return shown_in(*os.pipe())


def screen(text: str, columns: int) -> list[str]:
    """The lines that a terminal shows after `text`; one that is full goes on in the next."""
    lines, row, column = [""], 0, 0
    for character in text.replace("\x1b[A", "\v"):
        if character == "\v":
            row -= 1
        elif character == "\r":
            column = 0
        else:
            if character == "\n" or column == columns:
                row, column = row + 1, 0
            lines += [""] * (row + 1 - len(lines))
            if character != "\n":
                line = lines[row].ljust(column)
                lines[row] = line[:column] + character + line[column + 1 :]
                column += 1
    return [line.rstrip() for line in lines]
