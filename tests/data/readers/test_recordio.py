import contextlib
import io
import itertools
import re
import struct
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keras_sphereface.data.readers import recordio
from keras_sphereface.data.types import MAX_IMAGE_BYTES, ByteRange, ImageRecord, SkippedImage
from tests.helpers.recordio_writer import MAGIC, pack, part, record, write_rec

# An image begins 24 bytes into its payload, so this is where it is split and where it is not.
JPEG = b"\xff\xd8\xff\xe0 face \xff\xd9"
SPLIT = {
    "start": MAGIC + b"\xff\xd8face",
    "middle": b"\xff\xd8\xff\xe0" + MAGIC + b"face\xff\xd9",
    "end": b"\xff\xd8face\xff\xd9" + MAGIC,
    "only": MAGIC,
    "several": b"\xff\xd8\xff\xe0" + MAGIC + MAGIC + b"face" + MAGIC + b"\xff\xd9",
    "beside unaligned": b"\xff" + MAGIC + b"\xff\xd8\xff" + MAGIC + b"\xff\xd8" + MAGIC + b"\xd9",
}
ENDS = "the file ends in the middle of a record"


def read(content, name="train.rec", prefix=""):
    """Return the entries that the reader yields for these bytes, with the spans read."""
    file = io.BytesIO(content)
    entries = []
    for entry in recordio.read_recordio(file, name, prefix):
        if isinstance(entry, ImageRecord) and isinstance(entry.content, ByteRange):
            assert entry.content.file == name
            entry = entry._replace(content=entry.content.read(file))
        entries.append(entry)
    return entries


def simple(label, image, number=0):
    return record(pack(label, image, number))


def test_a_file_written_by_hand_is_read():
    content = bytes.fromhex(
        "0a23d7ce 1b000000"  # magic, whole, 27 bytes
        "00000000 0000e040 0700000000000000 0000000000000000"  # label 7, id 7
        "ffd8d9 00"  # image, padding
        "0a23d7ce 20000020"  # magic, first part, 32 bytes
        "01000000 00000000 0000000000000000 0000000000000000 00004041"  # one label, 12
        "ffd8ffe0"
        "0a23d7ce 02000060"  # magic, last part, 2 bytes
        "ffd9 0000"
    )
    assert list(recordio.read_recordio(io.BytesIO(content), "a/train.rec", "a/")) == [
        ImageRecord("a/00000000", "7", ByteRange("a/train.rec", 32, 3)),
        ImageRecord("a/00000001", "12", bytes.fromhex("ffd8ffe0 0a23d7ce ffd9")),
    ]


@pytest.mark.parametrize(
    ("label", "flag_labels", "identity"),
    [
        (7, None, "7"),
        (0, None, "0"),
        (99, [7], "7"),
        (99, [7, 1], "7"),
        (99, [7, float("nan"), -1], "7"),
        (2**24 - 1, None, "16777215"),
    ],
)
def test_a_label_stands_in_the_header_or_first_behind_it(label, flag_labels, identity):
    content = record(pack(label, JPEG, 0, flag_labels))
    assert read(content) == [ImageRecord("00000000", identity, JPEG)]


@pytest.mark.parametrize("label", [-1, 1.5, float("nan"), float("inf"), -float("inf")])
def test_a_label_that_is_no_identity_is_dropped(label):
    content = record(pack(label, JPEG, 0)) + record(pack(0, JPEG, 1, [label])) + simple(3, JPEG)
    reason = "the label is not a whole number >= 0"
    assert read(content) == [
        SkippedImage("00000000", reason),
        SkippedImage("00000001", reason),
        ImageRecord("00000002", "3", JPEG),
    ]


def with_header(first=3, end=5):
    """A header, images 1 and 2, and two identity records."""
    return [
        pack(0, b"", 0, [first, end]),
        pack(4, b"one", 1),
        pack(9, b"two", 2),
        pack(0, b"", 3, [1, 2]),
        pack(0, b"", 4, [2, 3]),
    ]


def test_header_and_identity_records_are_passed_over():
    content = b"".join(map(record, with_header()))
    expected = [ImageRecord("x/00000001", "4", b"one"), ImageRecord("x/00000002", "9", b"two")]
    assert read(content, prefix="x/") == expected


def test_a_record_without_image_beside_the_identities_is_dropped():
    content = b"".join(map(record, with_header(first=4)))
    assert read(content)[2:] == [SkippedImage("00000003", "the record holds no image")]
    content = b"".join(map(record, with_header(end=4)))
    assert read(content)[2:] == [SkippedImage("00000004", "the record holds no image")]
    # Without a header the first is no exception, and neither is one label.
    for labels in (None, [5]):
        content = record(pack(0, b"", 0, labels)) + simple(3, JPEG)
        assert read(content) == [
            SkippedImage("00000000", "the record holds no image"),
            ImageRecord("00000001", "3", JPEG),
        ]


def test_an_image_in_the_range_of_the_identities_is_read():
    content = b"".join(map(record, with_header(first=1)))
    assert [entry.key for entry in read(content)] == ["00000001", "00000002"]


def test_a_header_without_a_range_leaves_every_empty_record_to_be_dropped():
    reasons = [
        entry.reason
        for entry in read(b"".join(map(record, with_header(end=float("nan")))))
        if isinstance(entry, SkippedImage)
    ]
    assert reasons == [
        "the label is not a whole number >= 0",
        "the record holds no image",
        "the record holds no image",
    ]


@pytest.mark.parametrize("end", [2**24 - 1, 2**24 + 1, 2**25 + 2, 2**25 + 6, 2**26 - 2])
def test_the_range_of_a_large_file_is_found_in_spite_of_float32(end):
    (stored,) = struct.unpack("<f", struct.pack("<f", end))
    assert recordio._header_range(int(stored), int(stored) + 100)[0] <= end
    assert end - 1 in recordio._header_range(3, int(stored))


@pytest.mark.parametrize("where", SPLIT)
def test_a_split_record_is_joined(where):
    image = SPLIT[where]
    content = simple(1, JPEG) + simple(2, image) + simple(3, JPEG)
    assert content.count(MAGIC) > 3
    entries = list(recordio.read_recordio(io.BytesIO(content), "train.rec", ""))
    assert entries[1] == ImageRecord("00000001", "2", image)
    assert [entry.key for entry in entries] == ["00000000", "00000001", "00000002"]


def test_the_magic_at_another_place_splits_nothing():
    image = b"\xff" + MAGIC + b"\xff\xd8" + MAGIC
    (entry,) = recordio.read_recordio(io.BytesIO(simple(1, image)), "train.rec", "")
    assert entry.content == ByteRange("train.rec", 32, len(image))


def test_a_header_that_holds_the_magic_is_joined():
    (number,) = struct.unpack("<Q", MAGIC + bytes(4))
    content = record(pack(5, JPEG, number))
    assert content.count(MAGIC) == 2
    assert read(content) == [ImageRecord("00000000", "5", JPEG)]


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"short",
        struct.pack("<IfQQ", 0, 1, 0, 0)[:-1],
        struct.pack("<IfQQ", 3, 1, 0, 0) + bytes(11),
        struct.pack("<IfQQ", 2**32 - 1, 1, 0, 0) + JPEG,
    ],
)
def test_a_record_too_short_for_its_labels_is_dropped(payload):
    assert read(record(payload) + simple(3, JPEG)) == [
        SkippedImage("00000000", "the record is too short for its header and labels"),
        ImageRecord("00000001", "3", JPEG),
    ]


@pytest.mark.parametrize("image", [JPEG, *SPLIT.values()])
def test_a_file_cut_anywhere_gives_the_images_before_and_an_error(image):
    contents = [JPEG, SPLIT["middle"], image]
    records = [simple(number, content) for number, content in enumerate(contents, 1)]
    whole = b"".join(records)
    images = read(whole)
    # A record may end without its padding where the file ends.
    complete = {
        end - missing: number
        for number, end in enumerate(itertools.accumulate(map(len, records)), 1)
        for missing in range(-len(contents[number - 1]) % 4, -1, -1)
    }
    for length in range(len(whole) + 1):
        if length < len(MAGIC):
            with pytest.raises(ValueError, match="is not a RecordIO file"):
                read(whole[:length])
        elif length in complete:
            assert read(whole[:length]) == images[: complete[length]]
        else:
            with pytest.raises(ValueError, match=ENDS):
                read(whole[:length])
            whole_before = max((n for end, n in complete.items() if end < length), default=0)
            assert images_before_damage(whole[:length]) == whole_before


def images_before_damage(content):
    """The number of entries that are yielded before the file turns out to be damaged."""
    count = 0
    with contextlib.suppress(ValueError):
        for _ in recordio.read_recordio(io.BytesIO(content), "train.rec", ""):
            count += 1
    return count


BEFORE = simple(1, JPEG)
HALF = b"".join(part(flag, pack(2, JPEG, 0)) for flag in (1, 2))


@pytest.mark.parametrize(
    ("damage", "offset", "problem"),
    [
        *[(part(flag, b"later"), 0, "the record has no first part") for flag in (2, 3)],
        (HALF, len(HALF), "a later part of the record before is missing"),
        (HALF[: len(HALF) // 2], len(HALF) // 2, "a later part of the record before is missing"),
        (HALF + b"gap " * 9, len(HALF), "no record begins there"),
        *[
            (gap, 0, "no record begins there")
            for gap in (
                bytes(4),
                b"garb" * 5000,
                MAGIC,
                MAGIC * 3000,
                MAGIC[:3] + MAGIC + b"1",
                # What begins at no multiple of 4 is no record, whatever it looks like.
                b"1" + simple(9, JPEG) + b"234",
                # Flags that do not exist.
                MAGIC + struct.pack("<I", 4 << 29),
                MAGIC + struct.pack("<I", 7 << 29 | 4) + b"none",
            )
        ],
        # Lengths that the file does not have.
        (MAGIC + struct.pack("<I", 2**29 - 1) + b"long", 0, ENDS),
        (MAGIC + struct.pack("<I", 1 << 29 | 2**29 - 1) + b"long", 0, ENDS),
    ],
)
def test_damage_is_an_error_with_file_and_offset(damage, offset, problem):
    content = BEFORE + damage + simple(3, JPEG)
    message = (
        f"train.rec is damaged at byte {len(BEFORE) + offset}: {problem}. Copy or download the "
        "file again."
    )
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        read(content)
    assert images_before_damage(content) == 1


@pytest.mark.parametrize("rest", [b"\0", b"end", b"the end", bytes(20000)])
def test_bytes_behind_the_last_record_are_an_error(rest):
    with pytest.raises(ValueError, match=f"is damaged at byte {len(BEFORE)}: "):
        read(BEFORE + rest)


@pytest.mark.parametrize("flag", [0, 1, 2, 3])
def test_a_damaged_part_is_an_error_at_its_offset(flag):
    content = [simple(1, JPEG), simple(2, SPLIT["several"]), simple(3, JPEG)]
    damaged = bytearray(b"".join(content))
    # The magic of one part of the second record.
    places = [place for place in range(0, len(damaged), 4) if damaged[place : place + 4] == MAGIC]
    damaged[places[1 + flag]] ^= 1
    with pytest.raises(ValueError, match=f"byte {places[1 + flag]}: no record begins there"):
        read(bytes(damaged))


@pytest.mark.parametrize(
    "content", [b"", b"\x0a#", b"garbage", bytes(20000), bytes(4) + simple(3, JPEG)]
)
def test_a_file_of_another_kind_is_refused(content):
    with pytest.raises(ValueError, match=r"faces\.rec is not a RecordIO file.* Received: b'"):
        read(content, name="faces.rec")


def test_an_image_too_large_is_dropped_unread(tmp_path):
    payload_size = 24 + MAX_IMAGE_BYTES + 1
    file = tmp_path / "train.rec"
    with open(file, "wb") as rec:
        rec.write(MAGIC + struct.pack("<I", payload_size) + pack(1, b"", 0))
        rec.truncate(8 + payload_size + 3)
        rec.seek(0, 2)
        rec.write(simple(3, JPEG))
    with open(file, "rb") as rec:
        large, small = recordio.read_recordio(rec, str(file), "")
    assert large == SkippedImage("00000000", "the image has more than 64 MiB")
    assert small == ImageRecord(
        "00000001", "3", ByteRange(str(file), 8 + payload_size + 3 + 32, len(JPEG))
    )


def test_a_split_record_too_large_is_dropped(monkeypatch):
    monkeypatch.setattr(recordio, "MAX_IMAGE_BYTES", 100)
    for image in (MAGIC * 1000, bytes(80) + MAGIC, MAGIC + bytes(80)):
        assert read(simple(1, JPEG) + simple(2, image) + simple(3, JPEG))[1:] == [
            SkippedImage("00000001", "the image has more than 64 MiB"),
            ImageRecord("00000002", "3", JPEG),
        ]
    assert read(simple(2, MAGIC + bytes(60)))[0].content == MAGIC + bytes(60)


class LittleFile(io.BytesIO):
    """A file that is never asked for more than a little, nor for everything."""

    def read(self, size=-1):
        assert 0 <= size <= 64
        return super().read(size)


def test_nothing_is_allocated_by_a_length_that_the_file_gives():
    length = struct.pack("<I", 1 << 29 | 2**29 - 1)
    file = LittleFile(simple(1, JPEG) + MAGIC + length + b"face" * 100)
    with pytest.raises(ValueError, match=ENDS):
        list(recordio.read_recordio(file, "train.rec", ""))


def test_the_file_may_be_read_between_two_images():
    content = simple(1, JPEG) + simple(2, SPLIT["middle"]) + simple(3, JPEG)
    file, identities = io.BytesIO(content), []
    for image in recordio.read_recordio(file, "train.rec", ""):
        identities.append(image.identity)
        file.seek(5)
    assert identities == ["1", "2", "3"]


def test_reasons_can_be_counted():
    content = b"".join(simple(label, b"") + record(bytes(label)) for label in range(1, 6))
    counts = Counter(entry.reason for entry in read(content))
    assert counts == {
        "the record holds no image": 5,
        "the record is too short for its header and labels": 5,
    }


# Pieces of which many are the magic, so that limit payloads hold it, at multiples of 4 or not.
pieces = st.lists(st.one_of(st.just(MAGIC), st.binary(max_size=6)), max_size=8).map(b"".join)
labels = st.integers(0, 2**24)
entries_of_a_file = st.lists(
    st.tuples(labels, pieces.filter(len), st.none() | st.lists(labels, min_size=1, max_size=3)),
    min_size=1,
    max_size=6,
)


def packed(entries):
    return [
        pack(label, image, number, flag_labels)
        for number, (label, image, flag_labels) in enumerate(entries)
    ]


@given(entries_of_a_file)
def test_what_is_written_is_read(entries):
    assert read(b"".join(map(record, packed(entries)))) == [
        ImageRecord(f"{number:08d}", str(flag_labels[0] if flag_labels else label), image)
        for number, (label, image, flag_labels) in enumerate(entries)
    ]


def read_whatever_it_is(content):
    """Reads it, and checks what must hold for any bytes."""
    # Every entry takes 4 bytes at least; more would be a loop.
    limit = len(content) // 4 + 2
    reader = recordio.read_recordio(io.BytesIO(content), "train.rec", "")
    try:
        entries = list(itertools.islice(reader, limit))
    except ValueError as error:
        problem = "is damaged at byte" if content.startswith(MAGIC) else "is not a RecordIO"
        if problem not in str(error):
            raise
        return
    assert len(entries) < limit
    for entry in entries:
        assert isinstance(entry, ImageRecord | SkippedImage)
        if isinstance(entry, ImageRecord):
            assert entry.content
            assert entry.identity.isdecimal()
            if isinstance(entry.content, ByteRange):
                assert entry.content.offset >= 32
                assert entry.content.offset + entry.content.size <= len(content)
    keys = [entry.key for entry in entries]
    assert keys == sorted(set(keys))


words = st.one_of(
    st.just(MAGIC),
    # Flags and lengths that may fit.
    st.builds(lambda flag, size: struct.pack("<I", flag << 29 | size), *[st.integers(0, 7)] * 2),
    st.just(simple(3, JPEG)),
    st.just(part(1, bytes(24))),
    st.just(part(3, JPEG)),
    st.binary(min_size=4, max_size=4),
    st.binary(max_size=40),
)


@given(st.lists(words, max_size=30).map(b"".join))
def test_any_bytes_are_read_or_refused(content):
    read_whatever_it_is(content)


damages = st.lists(
    st.tuples(st.integers(0, 400), st.sampled_from(["over", "in", "out"]), st.binary(max_size=12)),
    min_size=1,
    max_size=4,
)


@given(entries_of_a_file, damages)
def test_damaged_files_are_read_or_refused(entries, damages):
    content = b"".join(map(record, packed(entries)))
    for place, damage, new in damages:
        removed = 0 if damage == "in" else len(new)
        inserted = b"" if damage == "out" else new
        content = content[:place] + inserted + content[place + removed :]
    read_whatever_it_is(content)


@given(entries_of_a_file, st.integers(0, 400), st.binary(min_size=1, max_size=12))
def test_records_before_the_damage_are_read(entries, place, new):
    records = [record(payload) for payload in packed(entries)]
    content = b"".join(records)
    ends = itertools.accumulate(map(len, records))
    place = place % (len(content) + 1)
    unharmed = sum(end <= place for end in ends)
    damaged = content[:place] + new + content[place + len(new) :]
    entries = recordio.read_recordio(io.BytesIO(damaged), "train.rec", "")
    if unharmed:
        before = list(itertools.islice(entries, unharmed))
        assert before == list(
            itertools.islice(recordio.read_recordio(io.BytesIO(content), "train.rec", ""), unharmed)
        )


def indexed(tmp_path, payloads):
    rec, idx = tmp_path / "train.rec", tmp_path / "train.idx"
    write_rec(rec, payloads, idx)
    return io.BytesIO(rec.read_bytes()), idx.read_text().splitlines(keepends=True)


def test_the_index_of_a_file_fits_in_any_order(tmp_path):
    payloads = [*with_header(), *(pack(1, image, 5) for image in SPLIT.values())]
    file, lines = indexed(tmp_path, payloads)
    assert len(lines) == len(payloads)
    assert recordio.check_index(file, "train.rec", lines) is None
    assert recordio.check_index(file, "train.rec", lines[::-1]) is None
    windows = [line.replace("\n", "\r\n") for line in lines]
    assert recordio.check_index(file, "train.rec", windows) is None


@pytest.mark.parametrize(
    "line", ["", "\n", "2", "2 100", "2\t", "2\t-4", "2\t1.5", "a\t44", "2\t٤", "2\t" + "9" * 5000]
)
def test_an_index_with_another_line_does_not_fit(tmp_path, line):
    file, lines = indexed(tmp_path, with_header())
    lines[2] = line
    problem = recordio.check_index(file, "train.rec", lines)
    assert problem.startswith("line 3 of the index of train.rec must be a key, a tab and an offset")
    assert f"Received: {line[:80]!r}" in problem


def test_an_index_that_points_beside_a_record_does_not_fit(tmp_path):
    file, lines = indexed(tmp_path, [pack(1, JPEG, 0), pack(1, SPLIT["start"], 1)])
    later_part = len(simple(1, JPEG)) + 32
    assert file.getvalue()[later_part : later_part + 4] == MAGIC
    for offset in (4, later_part, len(file.getvalue()), 10**17):
        problem = recordio.check_index(file, "train.rec", [lines[0], f"1\t{offset}\n"])
        assert problem == (
            "line 2 of the index of train.rec must point to a record. "
            f"Received: offset {offset}, where no whole record begins"
        )


def test_the_index_of_another_file_does_not_fit(tmp_path):
    file, lines = indexed(tmp_path, with_header())
    size = len(file.getvalue())
    for other in (lines[:-1], [], [*lines, lines[0]]):
        problem = recordio.check_index(file, "train.rec", other)
        assert problem.endswith(f" of {size} bytes")


def test_property_is_classes_height_width():
    assert recordio.read_property("85742,112,96\n") == (85742, 112, 96)


@pytest.mark.parametrize(
    "text", ["", "85742", "1,2", "1,2,3,4", "1,2,x", "1,-2,3", "1,0,3", "1,2.0,3", "1" * 5000]
)
def test_another_property_is_refused(text):
    with pytest.raises(ValueError, match=r"num_classes,height,width\. Received: "):
        recordio.read_property(text)
