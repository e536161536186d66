"""What the peer scripts share: their arguments, the timed loop and the line of JSON that `cargo xtask bench` reads."""

import argparse
import contextlib
import json
import math
import time

import torch


def resident_mib(name):
    """A figure of this process by its name in /proc/self/status: VmRSS now, VmHWM at its highest."""
    with open("/proc/self/status") as status:
        line = next(line for line in status if line.startswith(name))
    return int(line.split()[1]) // 1024


def arguments():
    parser = argparse.ArgumentParser()
    parser.add_argument("--mode", choices=["train", "eval"], required=True)
    parser.add_argument("--precision", choices=["f32", "bf16"], required=True)
    parser.add_argument("--layout", choices=["eager", "channels-last", "compile"], required=True)
    parser.add_argument("--batch", type=int, required=True)
    parser.add_argument("--size", type=int, required=True)
    parser.add_argument("--filters", type=int, required=True)
    parser.add_argument("--steps", type=int, required=True)
    parser.add_argument("--threads", type=int, required=True)
    return parser.parse_args()


def autocast(options):
    """bf16 where PyTorch holds it to be right, or nothing."""
    if options.precision == "bf16":
        return torch.autocast("cpu", torch.bfloat16)
    return contextlib.nullcontext()


def prepared(options, module, *images):
    """A module and images in the memory layout asked for; the module compiled if asked."""
    if options.layout == "channels-last":
        module = module.to(memory_format=torch.channels_last)
        images = [image.to(memory_format=torch.channels_last) for image in images]
    if options.layout == "compile":
        module = torch.compile(module)
    return module, *images


def report(options, step, base_mib):
    """Runs `step` once to warm up (compilation, caches), then times it, and prints the fastest as JSON.

    `step` gives the loss of a training, or None.
    """
    best, early_mib, is_finite = float("inf"), None, True
    for number in range(options.steps + 1):
        start = time.perf_counter()
        loss = step()
        seconds = time.perf_counter() - start
        if number > 0:
            best = min(best, seconds)
        if number == options.steps // 10:
            early_mib = resident_mib("VmRSS")
        is_finite = is_finite and (loss is None or math.isfinite(loss))
    print(
        json.dumps(
            {
                "mode": options.mode,
                "ms_per_slice": best * 1e3 / options.batch,
                "peak_rss_mib": resident_mib("VmHWM"),
                "base_rss_mib": base_mib,
                "rss_early_mib": early_mib,
                "rss_late_mib": resident_mib("VmRSS"),
                "loss_is_finite": is_finite,
                "path": torch.backends.cpu.get_cpu_capability(),
                "precision": options.precision,
                "version": torch.__version__,
            }
        )
    )
