"""Train SphereFace with plain A-Softmax in PyTorch, a number of steps for each line of input.

    python tools/pytorch_step.py --mode compiled --batch-size 32 --num-classes 10572 --steps 2

It needs PyTorch alone. For each line on standard input it takes the steps, forward, backward and
SGD with momentum and weight decay on one batch in memory, and prints the seconds that they took.
`tools/bench_pytorch.py` times it beside the training of this package.
"""

import argparse
import math
import sys
import time

import torch
from torch import nn

STAGES = ((64, 1), (128, 2), (256, 4), (512, 1))  # channels and residual blocks of SphereFace-20
MODES = ("eager", "channels-last", "compiled", "compiled-channels-last")
M, ANNEALING_LAMBDA = 4, 5.0
LEARNING_RATE = 0.001


class Residual(nn.Module):
    """x + f(x), where f is two 3x3 convolutions, each followed by PReLU."""

    def __init__(self, channels):
        super().__init__()
        layers = []
        for _ in range(2):
            layers.append(nn.Conv2d(channels, channels, 3, padding=1, bias=False))
            layers.append(nn.PReLU(channels))
        self.layers = nn.Sequential(*layers)

    def forward(self, x):
        return x + self.layers(x)


class Trained(nn.Module):
    """SphereFace-20 and a plain A-Softmax: images and labels -> mean loss."""

    def __init__(self, num_classes, height=112, width=96, embedding_size=512):
        super().__init__()
        layers, before = [], 3
        for channels, blocks in STAGES:
            layers += [nn.Conv2d(before, channels, 3, stride=2, padding=1), nn.PReLU(channels)]
            layers += [Residual(channels) for _ in range(blocks)]
            before = channels
        fc1 = nn.Linear(before * (height // 16) * (width // 16), embedding_size)
        self.network = nn.Sequential(*layers, nn.Flatten(), fc1)
        self.kernel = nn.Parameter(0.04 * torch.randn(embedding_size, num_classes))

    def forward(self, images, labels):
        embeddings = self.network(images)
        norms = embeddings.norm(dim=1, keepdim=True)
        cosines = embeddings @ (self.kernel / self.kernel.norm(dim=0, keepdim=True)) / norms
        target = cosines.gather(1, labels[:, None]).clamp(-1.0, 1.0)
        k = sum((target <= math.cos(j * math.pi / M)).float() for j in range(1, M))
        psi = (1 - 2 * (k % 2)) * (8 * target**4 - 8 * target**2 + 1) - 2 * k
        blended = target + (psi - target) / (1 + ANNEALING_LAMBDA)
        logits = cosines.scatter(1, labels[:, None], blended) * norms
        return nn.functional.cross_entropy(logits, labels)


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--mode", choices=MODES, default="eager")
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--num-classes", type=int, default=10_572)
    parser.add_argument("--steps", type=int, default=2, help="steps for each line of input")
    arguments = parser.parse_args()
    torch.manual_seed(0)
    model = Trained(arguments.num_classes)
    images = torch.rand(arguments.batch_size, 3, 112, 96) * 2 - 1
    labels = torch.randint(0, arguments.num_classes, (arguments.batch_size,))
    if "channels-last" in arguments.mode:
        model = model.to(memory_format=torch.channels_last)
        images = images.to(memory_format=torch.channels_last)
    losses = torch.compile(model) if "compiled" in arguments.mode else model
    optimizer = torch.optim.SGD(model.parameters(), LEARNING_RATE, momentum=0.9, weight_decay=5e-4)
    for _ in sys.stdin:
        start = time.perf_counter()
        for _ in range(arguments.steps):
            optimizer.zero_grad(set_to_none=True)
            losses(images, labels).backward()
            optimizer.step()
        print(time.perf_counter() - start, flush=True)


if __name__ == "__main__":
    main()
