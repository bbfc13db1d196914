"""What devices and the links between them reach, for predictions of the time of a step."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Hardware:
    """The rates of one device, and of the links between devices.

    Attributes:
        network_flops: Operations per second in forward and backward pass of a network.
        head_flops: Operations per second in the matrix products of a head, which are float32.
        memory_bytes: Bytes per second between a device and its memory.
        link_bytes: Bus bandwidth between the devices of a machine, in bytes per second; see
            https://github.com/NVIDIA/nccl-tests/blob/master/doc/PERFORMANCE.md.
        machine_link_bytes: Bus bandwidth of a collective over several machines, in bytes per
            second.
        latency: Seconds of a collective without contents, for each doubling of the devices.
        waiting: Share of its own work that a device waits for the slowest of several.
        devices_per_machine: Number of devices of a machine.
        device_bytes: Memory of a device.
        shared: True if all devices are parts of one processor, so that n of them have 1 / n of
            its rates each.
        fixed_seconds: Seconds of a step that depend on no size.

    Example:
        >>> HARDWARE["a100-tf32"].devices_per_machine
        8
    """

    network_flops: float
    head_flops: float
    memory_bytes: float
    link_bytes: float
    machine_link_bytes: float
    latency: float
    waiting: float = 0.0
    devices_per_machine: int = 8
    device_bytes: float = 80e9
    shared: bool = False
    fixed_seconds: float = 0.0


# None of these devices was at hand. Peaks are those of the data sheets, without sparsity. The rate
# in a network is what ResNet-50 v1.5 reaches with TensorFlow and XLA on one of them (909 and 2,375
# images/s on an A100, 1,270 on a V100, 24.5 GFLOP an image; NVIDIA/DeepLearningExamples). The same
# tables give `waiting`: 8 devices are 7.7 times as fast as one in float32 or TF32. Of an H100 the
# shares of the peak are taken to be those of an A100. Half of the peak in the products of a head,
# and three quarters of the bandwidth of the memory, are assumptions. Links are as nccl-tests
# measured them: A100 with four HDR cards NVIDIA/nccl#1048, latency NVIDIA/nccl#652, H100 with
# eight NDR cards NVIDIA/nccl-tests#290. The bandwidth between V100s is that of six NVLinks less
# the overhead; between machines it is one card of 100 Gbit/s.
WAITING = 0.04
HARDWARE: dict[str, Hardware] = {
    "v100-fp16": Hardware(
        0.25 * 125e12, 0.5 * 15.7e12, 0.75 * 0.9e12, 130e9, 12e9, 8e-6, WAITING, 8, 32e9
    ),
    "a100-tf32": Hardware(
        0.143 * 156e12, 0.5 * 156e12, 0.75 * 2.039e12, 232e9, 86e9, 8e-6, WAITING, 8, 80e9
    ),
    "a100-bf16": Hardware(
        0.187 * 312e12, 0.5 * 156e12, 0.75 * 2.039e12, 232e9, 86e9, 8e-6, WAITING, 8, 80e9
    ),
    "h100-tf32": Hardware(
        0.143 * 494.7e12, 0.5 * 494.7e12, 0.75 * 3.35e12, 476e9, 370e9, 8e-6, WAITING, 8, 80e9
    ),
    "h100-bf16": Hardware(
        0.187 * 989.4e12, 0.5 * 494.7e12, 0.75 * 3.35e12, 476e9, 370e9, 8e-6, WAITING, 8, 80e9
    ),
}
