"""A model of the time and the memory of a training step over devices, batch, classes and network.

The time of a step on n devices is the sum of the work of one device and of what it waits for:

    network      3 F B / (n R)          F operations forward for an image, R operations a second
    products     2 p D B_h K / R_h      p products of (B_h, D) embeddings and (D, K) class weights
    logits       4 q B_h K / M          q passes over the (B_h, K) logits, M bytes a second
    class weights  4 r D C_h / M        r passes over the class weights that the device holds
    gradients    2 (n - 1) / n 4 P / L  all-reduce of P weights over links of L bytes a second
    embeddings   3 (n - 1) / n 4 B D / L  all-gather of embeddings, all-reduce of their gradient
    latency      log2(n) l for each collective

Without class shards each device compares its B_h = B / n samples with all K = C_h = C classes,
and the class weights are among the P weights. With shards each compares all B_h = B samples with
its K = C_h = C / n classes. Where classes are sampled, K is that share of the classes. Nothing is
taken to overlap: gradients are sent after they are computed.
"""

import dataclasses
import math

from keras_sphereface.config.hardware import Hardware

FLOAT_BYTES = 4
# Forward pass, gradient by the inputs, gradient by the weights.
PASSES_OF_NETWORK = 3
# Weight, gradient and slots are read, slots and weight written; the decay is an operation of its
# own. Operations are not fused.
PASSES_OF_UPDATE = 15
# What a head does with its class weights beside the update: norms, products, their gradient.
PASSES_OF_KERNEL = 7
# Mask, maximum, exponential, sum, and the entries of the gradient, not fused.
PASSES_OF_LOGITS = 11
# More where the gradient goes through the norm of the class weights.
PASSES_OF_NORMS = 6
# More where blocks compute their logits twice.
PASSES_OF_BLOCKS = 5
# Gathering embeddings and labels; sums of target, negatives and gradient; the highest logit.
COLLECTIVES_OF_SHARDS = 6
# Decay and momentum, each multiplied, of the block that is updated.
ARRAYS_OF_UPDATE = 2
BYTES_PER_PACK = 32 * 2**20  # of gradients, as `distribute.strategy` packs them


@dataclasses.dataclass(frozen=True)
class NetworkSize:
    """A network, as far as the time of its step depends on it.

    Attributes:
        flops: Operations of the forward pass for one image; see `models.forward_flops`.
        parameters: Number of weights that are trained.

    Example:
        >>> NetworkSize(flops=3.5e9, parameters=22_666_944).parameters
        22666944
    """

    flops: float
    parameters: int


@dataclasses.dataclass(frozen=True)
class HeadPlan:
    """A head with class weights, and how it is spread.

    Attributes:
        num_classes: C.
        embedding_size: D.
        block_size: Classes in a block; None: all in one block, whose logits are kept.
        sample_rate: Share of the classes that a step looks at, in (0, 1].
        projected: True if class weights are kept at unit length, so that no gradient goes
            through their norm.
        sharded: True if each device holds its share of the classes.
        slots: Variables that the optimizer keeps for each weight: 1 with momentum, 2 with Adam.

    Example:
        >>> HeadPlan(1_000_000, sharded=True).classes_held(8)
        125000
    """

    num_classes: int
    embedding_size: int = 512
    block_size: int | None = None
    sample_rate: float = 1.0
    projected: bool = False
    sharded: bool = False
    slots: int = 1

    def classes_held(self, devices: int) -> int:
        """Return the number of classes that a device holds at most."""
        return -(-self.num_classes // devices) if self.sharded else self.num_classes

    def num_blocks(self, devices: int) -> int:
        """Return the number of blocks of a device."""
        held = self.classes_held(devices)
        return 1 if self.block_size is None else max(1, -(-held // self.block_size))

    def classes_compared(self, batch_size: int, devices: int) -> int:
        """Return the number of classes that a step of a device compares embeddings with.

        Of each block at least B + 1 are, so that those of the batch always are.
        """
        held, blocks = self.classes_held(devices), self.num_blocks(devices)
        if self.sample_rate == 1:
            return held
        width = -(-held // blocks)
        least = self.samples_compared(batch_size, devices) + 1
        return blocks * min(width, max(least, math.ceil(self.sample_rate * width)))

    def samples_compared(self, batch_size: int, devices: int) -> int:
        """Return the number of samples that a device compares with its classes."""
        return batch_size if self.sharded else -(-batch_size // devices)


@dataclasses.dataclass(frozen=True)
class HeadMemory:
    """The bytes that a head takes on one device at the peak of a step.

    Attributes:
        weights: The class weights.
        gradient: Their gradient.
        slots: The variables of the optimizer.
        sampled: Copies of the sampled class weights, and the gradient by them.
        logits: Logits and what is made of them.
        temporary: What the update of a block makes on its way.

    Example:
        >>> HeadMemory(weights=8, gradient=8, slots=8, sampled=0, logits=2, temporary=4).total
        30
    """

    weights: int
    gradient: int
    slots: int
    sampled: int
    logits: int
    temporary: int

    @property
    def total(self) -> int:
        """The sum."""
        return sum(dataclasses.astuple(self))


def memory_of_head(plan: HeadPlan, batch_size: int, devices: int = 1) -> HeadMemory:
    """Return the memory of a head on each device, in bytes, float32.

    Args:
        plan: The head.
        batch_size: B, over all devices.
        devices: Number of devices.

    Raises:
        ValueError: If there is no device or no sample.

    Example:
        >>> memory = memory_of_head(HeadPlan(1_000_000, block_size=16_320), batch_size=256)
        >>> memory.weights, memory.weights + memory.gradient + memory.slots
        (2048000000, 6144000000)
    """
    _check_positive(batch_size=batch_size, devices=devices)
    held, blocks = plan.classes_held(devices), plan.num_blocks(devices)
    kernel = FLOAT_BYTES * plan.embedding_size * held
    compared = plan.classes_compared(batch_size, devices)
    samples = plan.samples_compared(batch_size, devices)
    # Of several blocks one is worked on at once. Products, exponentials and, where the gradient
    # goes through the norm, their product.
    arrays = 2 if plan.projected else 3
    logits = arrays * FLOAT_BYTES * samples * -(-compared // blocks)
    sampled = 2 * FLOAT_BYTES * plan.embedding_size * compared if plan.sample_rate < 1 else 0
    temporary = ARRAYS_OF_UPDATE * FLOAT_BYTES * plan.embedding_size * -(-held // blocks)
    return HeadMemory(kernel, kernel, plan.slots * kernel, sampled, logits, temporary)


@dataclasses.dataclass(frozen=True)
class StepTime:
    """The seconds of a training step, by what takes them.

    Attributes:
        network: Forward and backward pass of the network, and the update of its weights.
        head: Products, logits and class weights of the head, with their update.
        gradients: All-reduce of the gradients.
        shards: Exchange of embeddings and sums between class shards.
        waiting: For the slowest device.
        fixed: What depends on no size.

    Example:
        >>> StepTime(network=0.3, head=0.1).total
        0.4
    """

    network: float
    head: float
    gradients: float = 0.0
    shards: float = 0.0
    waiting: float = 0.0
    fixed: float = 0.0

    @property
    def total(self) -> float:
        """The sum."""
        return sum(dataclasses.astuple(self))

    @property
    def communication(self) -> float:
        """The seconds that a single device would not take."""
        return self.gradients + self.shards + self.waiting


def predict_step(
    hardware: Hardware, network: NetworkSize, head: HeadPlan, batch_size: int, devices: int = 1
) -> StepTime:
    """Return the time of a training step.

    Args:
        hardware: What devices and links reach.
        network: The network.
        head: The head.
        batch_size: B, over all devices.
        devices: Number of devices.

    Raises:
        ValueError: If there is no device, or fewer samples than devices.

    Example:
        >>> from keras_sphereface.config.hardware import HARDWARE
        >>> network, head = NetworkSize(3.5e9, 22_666_944), HeadPlan(10_572)
        >>> one = predict_step(HARDWARE["a100-tf32"], network, head, 64)
        >>> eight = predict_step(HARDWARE["a100-tf32"], network, head, 512, devices=8)
        >>> one.communication, round(eight.total / one.total, 2)
        (0.0, 1.09)
    """
    _check_positive(batch_size=batch_size, devices=devices)
    if batch_size < devices:
        raise ValueError(
            f"`batch_size` must be at least {devices}, one sample for each device. "
            f"Received: batch_size={batch_size}"
        )
    share = devices if hardware.shared else 1
    memory = hardware.memory_bytes / share
    passes = PASSES_OF_NETWORK * network.flops * batch_size / devices
    update = FLOAT_BYTES * network.parameters * (PASSES_OF_UPDATE + 3 * (head.slots - 1))
    network_seconds = passes * share / hardware.network_flops + update / memory
    flops, num_bytes = head_work(head, batch_size, devices)
    head_seconds = flops * share / hardware.head_flops + num_bytes / memory
    gradients, shards = _exchanged(hardware, network, head, batch_size, devices)
    waiting = hardware.waiting * (network_seconds + head_seconds) if devices > 1 else 0.0
    return StepTime(
        network_seconds, head_seconds, gradients, shards, waiting, hardware.fixed_seconds
    )


def head_work(head: HeadPlan, batch_size: int, devices: int = 1) -> tuple[float, float]:
    """Return the operations of a head on a device, and the bytes it moves to and from memory.

    Example:
        >>> head_work(HeadPlan(1000, embedding_size=4), batch_size=10)[0] == 3 * 2 * 10 * 4 * 1000
        True
    """
    compared = head.classes_compared(batch_size, devices)
    logits = head.samples_compared(batch_size, devices) * compared
    in_blocks = head.num_blocks(devices) > 1
    products = 4 if in_blocks else 3
    of_logits = PASSES_OF_LOGITS
    of_logits += 0 if head.projected else PASSES_OF_NORMS
    of_logits += PASSES_OF_BLOCKS if in_blocks else 0
    of_update = PASSES_OF_UPDATE + 3 * (head.slots - 1)
    num_bytes = FLOAT_BYTES * (
        of_logits * logits
        + PASSES_OF_KERNEL * head.embedding_size * compared
        + of_update * head.embedding_size * head.classes_held(devices)
    )
    return 2.0 * products * head.embedding_size * logits, float(num_bytes)


def all_reduce_seconds(
    hardware: Hardware, num_bytes: float, devices: int, collectives: int = 1
) -> float:
    """Return the time in which the sum of arrays of all devices reaches all of them.

    Each byte is sent and received 2 (n - 1) / n times by each device, the least that any algorithm
    takes.

    Args:
        hardware: The links.
        num_bytes: Bytes of the arrays of one device.
        devices: n.
        collectives: Into how many operations the arrays are split.

    Example:
        >>> from keras_sphereface.config.hardware import HARDWARE
        >>> all_reduce_seconds(HARDWARE["a100-tf32"], 1e9, devices=1)
        0.0
    """
    return 2 * _gather_seconds(hardware, num_bytes, devices, collectives / 2)


def _gather_seconds(
    hardware: Hardware, num_bytes: float, devices: int, collectives: float = 1
) -> float:
    """Return the time of an all-gather that leaves so many bytes on each device."""
    if devices == 1:
        return 0.0
    several_machines = devices > hardware.devices_per_machine
    link = min(hardware.link_bytes, hardware.machine_link_bytes if several_machines else math.inf)
    moved = (devices - 1) / devices * num_bytes / link
    return moved + collectives * hardware.latency * math.log2(devices)


def _exchanged(
    hardware: Hardware, network: NetworkSize, head: HeadPlan, batch_size: int, devices: int
) -> tuple[float, float]:
    """Return the seconds for gradients, and those for what class shards exchange."""
    class_weights = head.embedding_size * head.num_classes
    gradient = FLOAT_BYTES * (network.parameters + (0 if head.sharded else class_weights))
    packs = math.ceil(gradient / BYTES_PER_PACK)
    seconds = all_reduce_seconds(hardware, gradient, devices, packs)
    if not head.sharded:
        return seconds, 0.0
    embeddings = FLOAT_BYTES * batch_size * head.embedding_size
    shards = _gather_seconds(hardware, embeddings, devices)
    # Sums of vectors of B numbers are so short that only their number counts.
    shards += all_reduce_seconds(hardware, embeddings, devices, COLLECTIVES_OF_SHARDS - 1)
    return seconds, shards


def _check_positive(**numbers: int) -> None:
    for name, number in numbers.items():
        if number < 1:
            raise ValueError(f"`{name}` must be at least 1. Received: {name}={number}")
