"""The benchmark's script for the peers: it runs with the peers' Python and imports nothing of byzsim.

Reads one JSON request a line from stdin and answers each with one JSON line on stdout:

    {"job": {"kind": ..., ...}, "repeat": n, "limit": s a call, "out": file or null} -> {"seconds": s} or {"error": why}
    {"versions": true} -> {"torch": ..., ...}, and seconds of a little training

A job is built at its first request and kept until another job is requested, so only calls are timed. Arrays are passed
as .npy and .npz files. `limit` stops Python loops that take too long. Memory is limited too, so that a peer which
builds an m x m x d tensor fails by itself and does not exhaust the machine.
"""

import json
import platform
import resource
import signal
import sys
import time
import types
from importlib import metadata, util
from typing import Any

import numpy as np
import torch  # ty: ignore[import-not-found]


def stand_in() -> bool:
    """Make `import torchvision` work where it is not installed; byzfl imports it for unused data sets."""
    if util.find_spec("torchvision") is not None:
        return False
    names = ("datasets", "transforms")
    parts = {name: types.ModuleType(f"torchvision.{name}") for name in names}
    for made in ("Compose", "RandomHorizontalFlip", "RandomCrop", "ToTensor", "Normalize"):
        setattr(parts["transforms"], made, lambda *_, **__: None)
    whole = types.ModuleType("torchvision")
    whole.__dict__.update(parts)
    sys.modules["torchvision"] = whole
    sys.modules.update({f"torchvision.{name}": part for name, part in parts.items()})
    return True


STAND_IN = stand_in()

from byzfl import ByzantineClient, Client, Server  # noqa: E402  # ty: ignore[import-not-found]
from byzfl.aggregators import aggregators, preaggregators  # noqa: E402  # ty: ignore[import-not-found]
from byzfl.fed_framework import models  # noqa: E402  # ty: ignore[import-not-found]


class LeNet(torch.nn.Module):
    """LeNet-5 as in byzsim, with the same names of layers: zero padding of width 2, ReLU, max-pooling."""

    def __init__(self):
        super().__init__()
        self.ConvPool_0 = torch.nn.Conv2d(1, 6, 5, padding=2)
        self.ConvPool_1 = torch.nn.Conv2d(6, 16, 5)
        self.Dense_0 = torch.nn.Linear(400, 120)
        self.Dense_1 = torch.nn.Linear(120, 84)
        self.Dense_2 = torch.nn.Linear(84, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.max_pool2d(torch.relu(self.ConvPool_0(x)), 2)
        x = torch.max_pool2d(torch.relu(self.ConvPool_1(x)), 2).flatten(1)
        return self.Dense_2(torch.relu(self.Dense_1(torch.relu(self.Dense_0(x)))))


def conv3(given: int, features: int, stride: int = 1) -> torch.nn.Conv2d:
    return torch.nn.Conv2d(given, features, 3, stride, padding=1, bias=False)


def norm(features: int) -> torch.nn.GroupNorm:
    return torch.nn.GroupNorm(8, features, eps=1e-6)


class Block(torch.nn.Module):
    """Two convolutions, and a shortcut without parameters: every second pixel, zeros for the new features."""

    def __init__(self, given: int, features: int):
        super().__init__()
        self.stride, self.new = (1 if given == features else 2), features - given
        self.Conv_0, self.GroupNorm_0 = conv3(given, features, self.stride), norm(features)
        self.Conv_1, self.GroupNorm_1 = conv3(features, features), norm(features)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.GroupNorm_1(self.Conv_1(torch.relu(self.GroupNorm_0(self.Conv_0(x)))))
        x = x[:, :, :: self.stride, :: self.stride]
        return torch.relu(torch.nn.functional.pad(x, (0, 0, 0, 0, 0, self.new)) + y)


class ResNet20(torch.nn.Module):
    """ResNet-20 as in byzsim: GroupNorm with eight groups; float images (n, 3, h, w)."""

    def __init__(self):
        super().__init__()
        self.Conv_0, self.GroupNorm_0, self.Dense_0 = conv3(3, 16), norm(16), torch.nn.Linear(64, 10)
        widths = [16, 16, 16, 16, 32, 32, 32, 64, 64, 64]
        for i in range(9):
            self.add_module(f"Block_{i}", Block(widths[i], widths[i + 1]))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.relu(self.GroupNorm_0(self.Conv_0(x)))
        for i in range(9):
            x = self.get_submodule(f"Block_{i}")(x)
        return self.Dense_0(x.mean(dim=(2, 3)))


class VGG(torch.nn.Module):
    """3 x 3 convolutions with GroupNorm, max-pooling after every second, mean over pixels; images (n, 3, h, w)."""

    def __init__(self):
        super().__init__()
        self.widths = [3, 32, 32, 64, 64, 128, 128]
        for i in range(6):
            self.add_module(f"Conv_{i}", torch.nn.Conv2d(self.widths[i], self.widths[i + 1], 3, padding=1))
            self.add_module(f"GroupNorm_{i}", norm(self.widths[i + 1]))
        self.Dense_0 = torch.nn.Linear(128, 10)

    def forward(self, x):
        for i in range(6):
            x = torch.relu(self.get_submodule(f"GroupNorm_{i}")(self.get_submodule(f"Conv_{i}")(x)))
            x = torch.max_pool2d(x, 2) if i % 2 else x
        return self.Dense_0(x.mean(dim=(2, 3)))


models.LeNet, models.ResNet20, models.VGG = LeNet, ResNet20, VGG  # byzfl finds models by name in its own module


class Rule:
    """An aggregation rule or a preaggregator of byzfl, or a function of torch, applied to one matrix."""

    def __init__(self, job: dict[str, Any]):
        self.matrix = torch.from_numpy(np.load(job["matrix"]))
        zoo = preaggregators if hasattr(preaggregators, job["name"]) else aggregators
        self.rule = TORCH[job["name"]] if job["name"] in TORCH else getattr(zoo, job["name"])(**job["args"])
        self.in_place = job["name"] in ("Clipping", "ARC")  # these write into a tensor, which a list is copied to

    def call(self) -> Any:
        return self.rule(self.matrix.clone() if self.in_place else self.matrix)

    def save(self, out: str, result: Any) -> None:
        np.save(out, result.numpy())


TORCH = {"torch.median": lambda rows: torch.median(rows, dim=0).values}


class Gradients:
    """The gradients of all workers by torch.func.vmap(grad), as one (m, d) matrix."""

    def __init__(self, job: dict[str, Any]):
        arrays = np.load(job["arrays"])
        model = getattr(models, job["model"])()
        self.names = list(model.state_dict())
        self.params = {name: torch.from_numpy(arrays[name]) for name in self.names}
        self.images, self.labels = torch.from_numpy(arrays["images"]), torch.from_numpy(arrays["labels"])

        def loss(params: Any, images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
            logits = torch.func.functional_call(model, params, (images,))
            return torch.nn.functional.cross_entropy(logits, labels)

        self.each = torch.func.vmap(torch.func.grad(loss), in_dims=(None, 0, 0))

    def call(self) -> Any:
        grads = self.each(self.params, self.images, self.labels)
        return torch.cat([grads[name].flatten(1) for name in self.names], dim=1)

    def save(self, out: str, result: Any) -> None:
        sizes = [self.params[name].numel() for name in self.names]
        parts = zip(self.names, result.split(sizes, dim=1), strict=True)
        np.savez(out, **{name: part.reshape(-1, *self.params[name].shape).numpy() for name, part in parts})


class Step:
    """One step of byzfl's own training loop (`byzfl.benchmark.train`, DSGD): clients, attack, server, new parameters.

    Batches are in the device's memory, already divided and in float32. TF32 is used only on request.
    """

    def __init__(self, job: dict[str, Any]):
        device, arrays = job["device"], np.load(job["arrays"])
        torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = job["tf32"]
        images, labels = (torch.from_numpy(arrays[name]).to(device) for name in ("images", "labels"))
        common = {"model_name": job["model"], "device": device, "learning_rate": job["lr"], "weight_decay": 0.0}
        common |= {"milestones": [], "learning_rate_decay": 1.0, "optimizer_name": "SGD"}
        own = {"loss_name": "CrossEntropyLoss", "LabelFlipping": False, "nb_labels": 10, "momentum": 0.0}
        own["store_per_client_metrics"] = False
        loaders = [_loader(x, y) for x, y in zip(images, labels, strict=True)]
        self.clients = [Client({**common, **own, "training_dataloader": loader}) for loader in loaders]
        rules = {"aggregator_info": job["rule"], "pre_agg_list": []}
        self.server = Server({**common, **rules, "test_loader": loaders[0]})
        self.byzantine, self.on_gpu = ByzantineClient(job["attack"]), device != "cpu"
        state = self.server.get_dict_parameters()
        self.server.set_model_state({name: torch.from_numpy(arrays[name]) for name in state})
        self._broadcast()

    def _broadcast(self) -> None:
        state = self.server.get_dict_parameters()
        for client in self.clients:
            client.set_model_state(state)

    def call(self) -> Any:
        for client in self.clients:
            client.compute_gradients()
        honest = [client.get_flat_gradients_with_momentum() for client in self.clients]
        self.server.update_model_with_gradients(honest + self.byzantine.apply_attack(honest))
        self._broadcast()
        if self.on_gpu:
            torch.cuda.synchronize()
        return self.server.get_dict_parameters()

    def save(self, out: str, result: Any) -> None:
        np.savez(out, **{name: value.cpu().numpy() for name, value in result.items()})


def _loader(images: torch.Tensor, labels: torch.Tensor) -> torch.utils.data.DataLoader:
    """A loader that returns a worker's batches (steps, b, ...) unchanged."""
    return torch.utils.data.DataLoader(torch.utils.data.TensorDataset(images, labels), batch_size=None)


KINDS = {"rule": Rule, "gradients": Gradients, "step": Step}


class TooLong(Exception):
    """A call takes more than its limit."""


def _alarm(*_: object) -> None:
    raise TooLong


def measured(job: Any, request: dict[str, Any]) -> dict[str, float]:
    """Seconds of `repeat` calls; the last result is saved if the request names a file."""
    signal.setitimer(signal.ITIMER_REAL, request["limit"] * request["repeat"])
    start = time.perf_counter()
    try:
        for _ in range(request["repeat"]):
            result = job.call()
        seconds = time.perf_counter() - start
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
    if request["out"]:
        job.save(request["out"], result)
    return {"seconds": seconds}


def probe() -> float:
    """Seconds of a forward and backward pass, which include the cost of waiting for other threads."""
    model, images = LeNet(), torch.zeros(160, 1, 28, 28)
    model(images).sum().backward()
    start = time.perf_counter()
    for _ in range(10):
        model(images).sum().backward()
    return (time.perf_counter() - start) / 10


def answer(request: dict[str, Any], kept: dict[str, Any]) -> dict[str, Any]:
    if "versions" in request:
        named = {name: metadata.version(name) for name in ("torch", "byzfl", "numpy")}
        here = {"python": platform.python_version(), "stand_in": STAND_IN, "threads": torch.get_num_threads()}
        return {**named, **here, "seconds": probe()}
    key = json.dumps(request["job"], sort_keys=True)
    try:
        if key not in kept:
            kept.clear()
            kept[key] = KINDS[request["job"]["kind"]](request["job"])
        return measured(kept[key], request)
    except TooLong:
        return {"error": f"more than {request['limit']:g} s a call"}
    except (RuntimeError, MemoryError, ValueError, AssertionError) as error:  # AssertionError: torch without CUDA
        kept.clear()
        lines = str(error).strip().splitlines() or [type(error).__name__]
        return {"error": "out of memory" if "allocate" in lines[0] else lines[0]}


def main() -> None:
    threads, memory = int(sys.argv[1]), int(sys.argv[2])
    torch.set_num_threads(threads)
    resource.setrlimit(resource.RLIMIT_DATA, (memory, memory))
    signal.signal(signal.SIGALRM, _alarm)
    out, sys.stdout, kept = sys.stdout, sys.stderr, {}  # a peer may print to stdout
    for line in sys.stdin:
        print(json.dumps(answer(json.loads(line), kept)), file=out, flush=True)


if __name__ == "__main__":
    main()
