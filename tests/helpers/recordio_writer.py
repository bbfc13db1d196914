"""Writes RecordIO files as MXNet does. The package only reads them."""

import struct

MAGIC = bytes.fromhex("0a23d7ce")


def pack(label, image, number, flag_labels=None):
    """A payload: header, labels if there are several, image."""
    labels = flag_labels or []
    header = struct.pack("<IfQQ", len(labels), label, number, 0)
    return header + struct.pack(f"<{len(labels)}f", *labels) + image


def part(flag, payload):
    """One part, padded."""
    return MAGIC + struct.pack("<I", flag << 29 | len(payload)) + payload + bytes(-len(payload) % 4)


def record(payload):
    """A record: one part, or several where the payload holds the magic at a multiple of 4."""
    pieces, begin = [], 0
    for place in range(0, len(payload) - 3, 4):
        if payload[place : place + 4] == MAGIC:
            pieces.append(payload[begin:place])
            begin = place + 4
    pieces.append(payload[begin:])
    flags = [1] + [2] * (len(pieces) - 2) + [3] if len(pieces) > 1 else [0]
    return b"".join(part(flag, piece) for flag, piece in zip(flags, pieces, strict=True))


def write_rec(path, payloads, index=None):
    """A file of these payloads, and its index if that has a path."""
    offsets, content = [], b""
    for payload in payloads:
        offsets.append(len(content))
        content += record(payload)
    path.write_bytes(content)
    if index is not None:
        index.write_text("".join(f"{key}\t{offset}\n" for key, offset in enumerate(offsets)))
