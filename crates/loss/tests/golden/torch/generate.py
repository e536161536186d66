"""Writes losses.json: values and gradients of the losses in PyTorch float64."""
import json
import pathlib

import torch

torch.manual_seed(3)
shape = (2, 1, 5, 7)


def region_mae(x, y, k):
    n = k.sum()
    return ((x - y).abs() * k).sum() / n if n > 0 else (x * 0).sum()


def weighted_mae(x, y, k):
    n, inside = k.numel(), k.sum()
    return (n - inside) / n * region_mae(x, y, k) + inside / n * region_mae(x, y, 1 - k)


def dice_loss(p, k):
    return 1 - (2 * (p * k).sum() + 1) / ((p * p).sum() + (k * k).sum() + 1)


prediction = torch.randn(shape, dtype=torch.float64)
target = torch.randn(shape, dtype=torch.float64)
prediction[0, 0, 1, 2] = target[0, 0, 1, 2]  # the gradient at equality
probability = torch.rand(shape, dtype=torch.float64)
region = (torch.rand(shape) < 0.3).double()
out = {n: t.flatten().tolist() for n, t in dict(prediction=prediction, target=target, probability=probability, region=region).items()}
for name, x, loss in [
    ("region_mae", prediction, lambda x: region_mae(x, target, region)),
    ("weighted_mae", prediction, lambda x: weighted_mae(x, target, region)),
    ("dice_loss", probability, lambda x: dice_loss(x, region)),
]:
    x = x.clone().requires_grad_()
    value = loss(x)
    value.backward()
    out[name] = {"value": value.item(), "gradient": x.grad.flatten().tolist()}

logits = torch.randn(shape, dtype=torch.float64) * 4
logits.flatten()[:6] = torch.tensor([0.0, -0.0, 40.0, -40.0, 300.0, -300.0])
out["logits"] = logits.flatten().tolist()
for name, label in [("adversarial_real", 1.0), ("adversarial_generated", 0.0)]:
    z = logits.clone().requires_grad_()
    value = torch.nn.functional.binary_cross_entropy_with_logits(z, torch.full_like(z, label))
    value.backward()
    out[name] = {"value": value.item(), "gradient": z.grad.flatten().tolist()}


def laplace(loss, s):
    # The density itself, by PyTorch, without the constant log sqrt 2.
    b = (s / 2).exp() / 2**0.5
    return -torch.distributions.Laplace(torch.zeros_like(b), b).log_prob(loss) - torch.tensor(2.0).sqrt().log()


def categorical(loss, s):
    return (-s).exp() * loss + s / 2


for name, weighted in [("laplace", laplace), ("categorical", categorical)]:
    out[name] = []
    for loss, s in [(0.3, 0.0), (0.02, -6.5), (1.7, 2.25)]:
        loss, s = (torch.tensor(v, dtype=torch.float64, requires_grad=True) for v in (loss, s))
        value = weighted(loss, s)
        value.backward()
        out[name].append([v.item() for v in (loss, s, value, loss.grad, s.grad)])
pathlib.Path(__file__).with_name("losses.json").write_text(json.dumps(out))
