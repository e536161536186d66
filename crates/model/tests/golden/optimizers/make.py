"""Twenty steps of PyTorch's optimizers on given gradients; writes steps.json beside this script."""

import json
import pathlib

import torch

torch.manual_seed(1)
N_STEPS, N_PARAMETERS = 20, 7
# Scales from 1e-4 to 10: the step must not depend on a gradient's size, except through epsilon.
scale = torch.tensor([1e-4, 1e-3, 1e-2, 0.1, 1.0, 3.0, 10.0])
gradients = torch.randn(N_STEPS, N_PARAMETERS) * scale
gradients[3, 2] = 0.0
start = torch.randn(N_PARAMETERS)
# The name in our configuration, the optimizer, and what is set in both.
CASES = [
    ("nadam", torch.optim.NAdam, {"learning_rate": 1e-2}),
    ("nadam", torch.optim.NAdam, {"learning_rate": 1e-2, "weight_decay": 0.1}),
    ("adam", torch.optim.Adam, {"learning_rate": 1e-2}),
    ("adam", torch.optim.Adam, {"learning_rate": 1e-2, "weight_decay": 0.1}),
    ("adam", torch.optim.Adam, {"learning_rate": 2e-4, "beta1": 0.5}),
    ("adamw", torch.optim.AdamW, {"learning_rate": 1e-2}),
    ("adamw", torch.optim.AdamW, {"learning_rate": 1e-2, "weight_decay": 0.3, "beta1": 0.8}),
]
runs = []
for name, make, settings in CASES:
    parameter = torch.nn.Parameter(start.clone())
    options = {"betas": (settings.get("beta1", 0.9), 0.999)}
    if "weight_decay" in settings:
        options["weight_decay"] = settings["weight_decay"]
    optimizer = make([parameter], lr=settings["learning_rate"], foreach=False, **options)
    after = []
    for gradient in gradients:
        parameter.grad = gradient.clone()
        optimizer.step()
        after.append(parameter.detach().clone().tolist())
    runs.append({"optimizer": name, **settings, "after": after})
golden = {"start": start.tolist(), "gradients": gradients.tolist(), "runs": runs}
path = pathlib.Path(__file__).with_name("steps.json")
path.write_text(json.dumps(golden) + "\n")
