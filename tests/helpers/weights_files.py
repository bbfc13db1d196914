"""Weights of small SphereFace networks, files of them as Caffe and PyTorch write them, and the
forward pass of such a network in NumPy, in the layout of these files."""

import struct
import zipfile

import numpy as np

CHANNELS = (3, 4, 5, 6)
BLOCKS_20 = (1, 2, 4, 1)


def random_layers(blocks=BLOCKS_20, channels=CHANNELS, size=7, places=42, residual_bias=True):
    """{layer: [arrays]}: kernels (out, in, 3, 3), slopes, and fc5 (size, C H W), all asymmetric."""
    rng = np.random.default_rng(0)

    def array(*shape, scale=1.0):
        return (scale * rng.normal(size=shape)).astype(np.float32)

    layers, taken = {}, 3
    for stage, (count, out) in enumerate(zip(blocks, channels, strict=True), start=1):
        for number in range(1, 2 * count + 2):
            bias = array(out, scale=0.3)
            if number > 1 and not residual_bias:
                bias[:] = 0
            kernel = array(out, taken, 3, 3, scale=0.5 / np.sqrt(taken))
            layers[f"conv{stage}_{number}"] = [kernel, bias]
            layers[f"relu{stage}_{number}"] = [array(out, scale=0.3)]
            taken = out
    layers["fc5"] = [array(size, taken * places, scale=0.1), array(size)]
    return layers


def forward(layers, bgr_images):
    """The embeddings of images (N, 3, H, W), BGR, scaled, in float64."""

    def convolve(x, name, stride):
        kernel, bias = (array.astype(np.float64) for array in layers[name])
        padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))
        windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(2, 3))
        y = np.einsum("nchwij,ocij->nohw", windows[:, :, ::stride, ::stride], kernel)
        y += bias[:, None, None]
        (slopes,) = layers[name.replace("conv", "relu")]
        return np.where(y > 0, y, y * slopes.reshape(-1, 1, 1))

    x = bgr_images.astype(np.float64)
    for stage in (1, 2, 3, 4):
        x = convolve(x, f"conv{stage}_1", 2)
        number = 2
        while f"conv{stage}_{number}" in layers:
            y = convolve(x, f"conv{stage}_{number}", 1)
            x = x + convolve(y, f"conv{stage}_{number + 1}", 1)
            number += 2
    weight, bias = layers["fc5"]
    return x.reshape(len(x), -1) @ weight.astype(np.float64).T + bias


def embed_as_caffe(layers, rgb_images):
    """The embeddings of images uint8 (N, H, W, 3), RGB, as the reference implementation's."""
    scaled = (rgb_images.astype(np.float64) - 127.5) / 128
    return forward(layers, scaled[..., ::-1].transpose(0, 3, 1, 2))


# Protocol buffers.


def varint(number):
    content = bytearray()
    while number >= 0x80:
        content.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*content, number])


def message(number, content):
    """A field of bytes."""
    return varint(number << 3 | 2) + varint(len(content)) + content


def blob(array, form="packed"):
    """A BlobProto: "packed", "unpacked", "old" (four axes), or "doubles"."""
    if form == "old":
        shape = (1,) * (4 - array.ndim) + array.shape
        dims = b"".join(varint(i << 3) + varint(n) for i, n in enumerate(shape, start=1))
        return dims + message(5, array.astype("<f4").tobytes())
    shape = message(7, message(1, b"".join(map(varint, array.shape))))
    if form == "unpacked":
        shape = message(7, b"".join(varint(1 << 3) + varint(n) for n in array.shape))
        values = array.astype("<f4").tobytes()
        cut = (values[i : i + 4] for i in range(0, len(values), 4))
        return b"".join(varint(5 << 3 | 5) + value for value in cut) + shape
    if form == "doubles":
        return shape + message(8, array.astype("<f8").tobytes())
    difference = message(6, np.zeros_like(array).astype("<f4").tobytes())  # of --snapshot_diff
    return message(5, array.astype("<f4").tobytes()) + difference + shape


def caffemodel(layers, form="packed"):
    """The bytes of a .caffemodel; "v1": in layers of the first version."""
    content = message(1, b"SpherefaceNet")
    data = message(1, b"data") + message(2, b"ImageData") + message(4, b"data")
    content += b"" if form == "v1" else message(100, data)
    for name, arrays in layers.items():
        if form == "v1":
            blobs = b"".join(message(6, blob(array, "old")) for array in arrays)
            kind = varint(5 << 3) + varint(4)
            content += message(2, message(2, b"data") + message(4, name.encode()) + kind + blobs)
            continue
        kind = {"conv": "Convolution", "relu": "PReLU"}.get(name[:4], "InnerProduct")
        content += message(
            100,
            message(1, name.encode())
            + message(2, kind.encode())
            + message(3, b"data")
            # loss_weight, a param with lr_mult, and the phase: none of these is read.
            + varint(5 << 3 | 5)
            + struct.pack("<f", 1)
            + message(6, varint(3 << 3 | 5) + struct.pack("<f", 2))
            + varint(10 << 3)
            + varint(1)
            + b"".join(message(7, blob(array, form)) for array in arrays),
        )
    return content


# PyTorch: the opcodes of the pickles, written without it.


def text(value):
    return b"X" + struct.pack("<I", len(value.encode())) + value.encode()


def number(value):
    return b"J" + struct.pack("<i", value)


def tuple_of(*parts):
    return b"(" + b"".join(parts) + b"t"


def name_of(module, name):
    return f"c{module}\n{name}\n".encode()


def pickled_tensor(key, array, legacy, count=None, offset=0):
    storage = tuple_of(
        text("storage"),
        name_of("torch", "FloatStorage"),
        text(key),
        text("cpu"),
        number(array.size if count is None else count),
        *([b"N"] if legacy else []),
    )
    strides = [stride // array.itemsize for stride in array.strides]
    parts = [storage + b"Q", number(offset)]
    parts += [tuple_of(*map(number, array.shape)), tuple_of(*map(number, strides))]
    rebuild = "_rebuild_tensor" if legacy else "_rebuild_tensor_v2"
    if not legacy:
        hooks = name_of("collections", "OrderedDict") + b")R"
        parts += [b"\x89", hooks]
    return name_of("torch._utils", rebuild) + tuple_of(*parts) + b"R"


def state_dict(layers):
    """{name: array} of a network of PyTorch."""
    tensors = {}
    for name, arrays in layers.items():
        for part, array in zip(("weight", "bias"), arrays, strict=False):
            tensors[f"{name}.{part}"] = array
    return tensors


def pickled_state(tensors, legacy, **changes):
    items = b"".join(
        text(name) + pickled_tensor(str(key), array, legacy, **changes)
        for key, (name, array) in enumerate(tensors.items())
    )
    metadata = b"}" + text("_metadata") + name_of("collections", "OrderedDict") + b")Rsb"
    whole = name_of("collections", "OrderedDict") + b")R(" + items + b"u" + metadata
    return b"\x80\x02" + whole + b"."


def write_torch_zip(path, tensors, pickled=None, compression=zipfile.ZIP_STORED):
    """The form of PyTorch 1.6 and later."""
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr("archive/data.pkl", pickled or pickled_state(tensors, legacy=False))
        archive.writestr("archive/byteorder", "little")
        for key, array in enumerate(tensors.values()):
            archive.writestr(f"archive/data/{key}", array.astype("<f4").tobytes(order="A"))
        archive.writestr("archive/version", "3\n")
    return path


def write_torch_legacy(path, tensors, pickled=None):
    """The form before PyTorch 1.6."""
    magic = b"\x80\x02\x8a\x0a" + 0x1950A86A20F9469CFC6C.to_bytes(10, "little") + b"."
    protocol = b"\x80\x02" + b"M" + struct.pack("<H", 1001) + b"."
    machine = b"\x80\x02}" + text("little_endian") + b"\x88s."
    keys = b"".join(text(str(key)) for key in range(len(tensors)))
    content = magic + protocol + machine + (pickled or pickled_state(tensors, legacy=True))
    content += b"\x80\x02](" + keys + b"e."
    for array in tensors.values():
        content += struct.pack("<q", array.size) + array.astype("<f4").tobytes(order="A")
    path.write_bytes(content)
    return path
