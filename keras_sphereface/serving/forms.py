"""Forms of a request, `multipart/form-data`, parsed in memory: no upload touches the disk."""

import dataclasses
from typing import Any

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from keras_sphereface.serving.problems import ProblemError

MULTIPART = b"multipart/form-data"
MAX_FIELD_BYTES = 1024  # of a value that is no file
MAX_PARTS = 32
MAX_HEADER_BYTES = 4096  # of all headers of a part
MAX_BOUNDARY_BYTES = 70  # RFC 2046
_MISSHAPEN = "misshapen-form"


@dataclasses.dataclass
class Form:
    """The parts of a form.

    Attributes:
        values: {name: text} of the fields.
        files: {name: contents} of the files. Their names are not kept.
    """

    values: dict[str, str] = dataclasses.field(default_factory=dict)
    files: dict[str, list[bytes]] = dataclasses.field(default_factory=dict)


def parse_form(content_type: str, body: bytes) -> Form:
    """Parse a form.

    Args:
        content_type: Value of the header Content-Type.
        body: The body of the request.

    Raises:
        ProblemError: 415 for another type, 400 for a damaged form, 413 for too many parts.
    """
    kind, options = parse_options_header(content_type)
    if kind != MULTIPART:
        raise ProblemError(
            415, "not-a-form", "The body must be multipart/form-data, as `curl -F` sends it."
        )
    boundary = options.get(b"boundary", b"")
    if not 0 < len(boundary) <= MAX_BOUNDARY_BYTES:
        raise ProblemError(400, _MISSHAPEN, "The Content-Type must have a boundary.")
    reader = _PartReader()
    try:
        parser = MultipartParser(boundary, reader.callbacks())
        parser.write(body)
        parser.finalize()
    except FormParserError as error:
        raise ProblemError(400, _MISSHAPEN, "The body is no whole multipart form.") from error
    if not reader.ended:
        raise ProblemError(400, _MISSHAPEN, "The form ends before its last boundary.")
    return reader.form


class _PartReader:
    """Receives the events of the parser."""

    def __init__(self) -> None:
        self.form, self.ended, self._parts = Form(), False, 0
        self._start()

    def callbacks(self) -> Any:
        return {
            "on_part_begin": self._start,
            "on_part_data": self._data,
            "on_part_end": self._end,
            "on_header_field": self._header_name_data,
            "on_header_value": self._header_value_data,
            "on_header_end": self._header_end,
            "on_headers_finished": self._headers_end,
            "on_end": self._form_end,
        }

    def _start(self) -> None:
        self._content, self._name, self._is_file = bytearray(), "", False
        self._header_name, self._header_value = bytearray(), bytearray()
        self._headers: dict[bytes, bytes] = {}
        self._header_bytes = 0

    def _count_header(self, count: int) -> None:
        self._header_bytes += count
        if self._header_bytes > MAX_HEADER_BYTES:
            raise ProblemError(400, _MISSHAPEN, "A part of the form has too long headers.")

    def _header_name_data(self, data: bytes, start: int, end: int) -> None:
        self._count_header(end - start)
        self._header_name += data[start:end]

    def _header_value_data(self, data: bytes, start: int, end: int) -> None:
        self._count_header(end - start)
        self._header_value += data[start:end]

    def _header_end(self) -> None:
        self._headers[bytes(self._header_name).lower()] = bytes(self._header_value)
        self._header_name, self._header_value = bytearray(), bytearray()

    def _headers_end(self) -> None:
        self._parts += 1
        if self._parts > MAX_PARTS:
            raise ProblemError(413, "too-many-parts", f"A form has at most {MAX_PARTS} parts.")
        _, options = parse_options_header(self._headers.get(b"content-disposition", b""))
        try:
            self._name = options[b"name"].decode("utf-8")
        except (KeyError, UnicodeDecodeError):
            raise ProblemError(400, _MISSHAPEN, "A part of the form has no name.") from None
        self._is_file = b"filename" in options

    def _data(self, data: bytes, start: int, end: int) -> None:
        if not self._is_file and len(self._content) + end - start > MAX_FIELD_BYTES:
            raise ProblemError(
                413, "field-too-long", f"A field of a form has at most {MAX_FIELD_BYTES} bytes."
            )
        self._content += data[start:end]

    def _end(self) -> None:
        if self._is_file:
            self.form.files.setdefault(self._name, []).append(bytes(self._content))
            return
        if self._name in self.form.values:
            raise ProblemError(400, _MISSHAPEN, "A field of the form is given twice.")
        try:
            self.form.values[self._name] = self._content.decode("utf-8")
        except UnicodeDecodeError:
            raise ProblemError(400, _MISSHAPEN, "A field of the form is not UTF-8.") from None

    def _form_end(self) -> None:
        self.ended = True
