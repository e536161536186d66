"""A training step of the pix2pix-like pair of `crates/nn/examples/pix2pix_step.rs` in PyTorch on the CPU.

    python pix2pix.py BATCH SIZE STEPS [nchw|channels_last|compile]

Prints the median time of a step and the peak memory, as the example does.
"""
import statistics
import sys
import time

import torch
import torch.nn as nn
import torch.nn.functional as F

THREADS = 2


class Block(nn.Module):
    """Convolution without bias, batch normalization and perhaps ReLU."""

    def __init__(self, conv, relu=True):
        super().__init__()
        self.conv, self.norm, self.relu = conv, nn.BatchNorm2d(conv.out_channels), relu

    def forward(self, x):
        x = self.norm(self.conv(x))
        return F.relu(x) if self.relu else x


def down(inputs, outputs):
    return Block(nn.Conv2d(inputs, outputs, 4, 2, 1, bias=False))


def up(inputs, outputs):
    return Block(nn.ConvTranspose2d(inputs, outputs, 4, 2, 1, bias=False))


class Residual(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.first = Block(nn.Conv2d(channels, channels, 3, 1, 1, bias=False))
        self.second = Block(nn.Conv2d(channels, channels, 3, 1, 1, bias=False), relu=False)

    def forward(self, x):
        return x + self.second(self.first(x))


class Generator(nn.Module):
    def __init__(self):
        super().__init__()
        self.down1, self.down2, self.down3 = down(3, 64), down(64, 128), down(128, 256)
        self.middle = nn.Sequential(*(Residual(256) for _ in range(4)))
        self.up1, self.up2 = up(256, 128), up(256, 64)
        self.last = nn.ConvTranspose2d(128, 1, 4, 2, 1)

    def forward(self, x):
        x1 = self.down1(x)
        x2 = self.down2(x1)
        x3 = self.middle(self.down3(x2))
        y = torch.cat([self.up1(x3), x2], 1)
        y = torch.cat([self.up2(y), x1], 1)
        return torch.tanh(self.last(y))


class Discriminator(nn.Module):
    def __init__(self):
        super().__init__()
        widths = (4, 64, 128, 256, 512, 512)
        self.blocks = nn.Sequential(*(down(i, o) for i, o in zip(widths, widths[1:])))
        self.last = nn.Conv2d(512, 1, 4, 1, 1)

    def forward(self, x, y):
        return torch.sigmoid(self.last(self.blocks(torch.cat([x, y], 1))))


def bce(prediction, real):
    return F.binary_cross_entropy(prediction, torch.full_like(prediction, float(real)))


def main():
    batch, size, steps = (int(argument) for argument in sys.argv[1:4])
    layout = sys.argv[4] if len(sys.argv) > 4 else "nchw"
    torch.set_num_threads(THREADS)
    torch.manual_seed(1)
    format = torch.channels_last if layout == "channels_last" else torch.contiguous_format
    generator = Generator().to(memory_format=format)
    discriminator = Discriminator().to(memory_format=format)
    x = torch.rand(batch, 3, size, size).contiguous(memory_format=format)
    y = torch.rand(batch, 1, size, size).contiguous(memory_format=format)
    g, d = generator, discriminator
    if layout == "compile":
        g, d = torch.compile(generator), torch.compile(discriminator)
    adam_g = torch.optim.Adam(generator.parameters(), 2e-4, betas=(0.5, 0.999))
    adam_d = torch.optim.Adam(discriminator.parameters(), 2e-4, betas=(0.5, 0.999))

    def step():
        fake = g(x)
        discriminator.requires_grad_(True)
        adam_d.zero_grad(set_to_none=True)
        ((bce(d(x, y), True) + bce(d(x, fake.detach()), False)) * 0.5).backward()
        adam_d.step()
        discriminator.requires_grad_(False)
        adam_g.zero_grad(set_to_none=True)
        (bce(d(x, fake), True) + 100 * F.l1_loss(fake, y)).backward()
        adam_g.step()

    times = []
    for idx in range(steps + 1):
        start = time.perf_counter()
        step()
        if idx > 0:  # The first warms up.
            times.append(time.perf_counter() - start)
    with open("/proc/self/status") as status:
        peak = next(int(line.split()[1]) for line in status if line.startswith("VmHWM"))
    print(f"{1e3 * statistics.median(times):.1f} ms a step, peak {peak // 1024} MiB ({layout})")


if __name__ == "__main__":
    main()
