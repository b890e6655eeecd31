"""gsplat against the definition where there is CUDA; the choice of a device everywhere."""

import importlib.util
import logging

import pytest
import torch

from medgs_core.rasterize import _cuda, choose_device, describe_devices, rasterize_splats
from medgs_core.tensors import Splats2D

from ._scenes import decided_pixels, random_splats, tensors_of

needs_gpu = pytest.mark.skipif(
    not torch.cuda.is_available() or importlib.util.find_spec("gsplat") is None,
    reason="needs CUDA and gsplat",
)

IMAGE_TOLERANCE = 1e-4
"""Of the largest value: gsplat takes the hardware's fast exponential, good to about 1e-6, thirty times a
pixel."""

GRADIENT_TOLERANCE = 1e-3
"""Of the largest gradient: atomics add some hundred pixels in any order, and transmittance is divided
back."""


@needs_gpu
@pytest.mark.parametrize("compositing", ["sum", "alpha"])
@pytest.mark.parametrize("features", [1, 3, 40])
def test_gpu_agrees_with_the_definition(compositing, features):
    height, width = 50, 70
    splats = random_splats(200, height, width, features)
    decided = decided_pixels(splats, height, width, compositing)
    fast = [tensor.detach().cuda().requires_grad_() for tensor in tensors_of(splats)]
    exact = tensors_of(splats, torch.float64)
    images = rasterize_splats(Splats2D(*fast), height, width, compositing)
    truths = rasterize_splats(Splats2D(*exact), height, width, compositing, backend="reference")
    masks = (decided[:, :, None], decided)
    upstream = [torch.randn(truth.shape, dtype=torch.float64) * mask for truth, mask in zip(truths, masks, strict=True)]
    for image, truth, mask in zip(images, truths, masks, strict=True):
        assert ((image.cpu() - truth) * mask).abs().max() <= IMAGE_TOLERANCE * truth.abs().max()
    got = torch.autograd.grad(images, fast, [gradient.float().cuda() for gradient in upstream])
    expected = torch.autograd.grad(truths, exact, upstream)
    for gradient, truth in zip(got, expected, strict=True):
        assert (gradient.cpu() - truth).abs().max() <= GRADIENT_TOLERANCE * truth.abs().max()


@needs_gpu
@pytest.mark.parametrize("count", [0, 5])
def test_gpu_draws_nothing_where_nothing_is(count):
    splats = random_splats(count, 8, 8)
    tensors = [tensor.detach().cuda().requires_grad_() for tensor in tensors_of(splats)]
    moved = Splats2D(tensors[0] + 1e4, *tensors[1:])
    weighted, weight = rasterize_splats(moved, 20, 30, "alpha")
    assert not weighted.any()
    for gradient in torch.autograd.grad(weighted.sum() + weight.sum(), tensors):
        assert not gradient.any()


def pretend_cuda(monkeypatch, available: bool, installed: bool = False, built: bool = False) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: available)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "a GPU")
    monkeypatch.setattr(_cuda, "is_installed", lambda: installed)
    monkeypatch.setattr(_cuda, "is_built", lambda: built)


def test_cpu_is_the_cpu_even_beside_cuda(monkeypatch):
    pretend_cuda(monkeypatch, available=True, installed=True, built=True)
    assert choose_device("cpu").type == "cpu"


def test_auto_without_cuda_is_the_cpu_and_says_so(monkeypatch, caplog):
    pretend_cuda(monkeypatch, available=False)
    with caplog.at_level(logging.INFO):
        assert choose_device("auto").type == "cpu"
    assert "no CUDA device" in caplog.text


@pytest.mark.parametrize(("installed", "word"), [(False, "not installed"), (True, "not compiled yet")])
def test_auto_never_compiles_and_says_what_is_missing(monkeypatch, caplog, installed, word):
    pretend_cuda(monkeypatch, available=True, installed=installed, built=False)
    monkeypatch.setattr(_cuda, "build", lambda: pytest.fail("auto must not compile"))
    assert choose_device("auto").type == "cpu"
    assert word in caplog.text
    assert "medgs doctor" in caplog.text


def test_auto_takes_cuda_where_all_is_ready(monkeypatch):
    pretend_cuda(monkeypatch, available=True, installed=True, built=True)
    loaded = []
    monkeypatch.setattr(_cuda, "build", lambda: loaded.append(True))
    assert choose_device("auto").type == "cuda"
    assert loaded


def test_cuda_without_a_gpu_is_refused_with_the_remedy(monkeypatch):
    pretend_cuda(monkeypatch, available=False)
    with pytest.raises(ValueError, match=r"needs an NVIDIA GPU, got .* sees none: .*choose the device cpu"):
        choose_device("cuda")


def test_cuda_without_gsplat_is_refused_with_the_remedy(monkeypatch):
    pretend_cuda(monkeypatch, available=True, installed=False)
    with pytest.raises(ValueError, match=r"gsplat, which is not installed: pip install 'medgs-napari\[cuda\]'"):
        choose_device("cuda")


def test_gsplat_that_cannot_compile_is_refused_with_the_remedy(monkeypatch):
    pretend_cuda(monkeypatch, available=True, installed=True)
    monkeypatch.setitem(__import__("sys").modules, "gsplat", None)  # importing it now raises ImportError
    with pytest.raises(ValueError, match=r"could not compile its kernels, got: .*install the CUDA toolkit"):
        choose_device("cuda")


def test_report_names_every_device(monkeypatch):
    pretend_cuda(monkeypatch, available=False)
    report = describe_devices()
    assert set(report) == {"cpu", "cuda", "gsplat"}
    assert "numba" in report["cpu"]
    assert report["cuda"].startswith("none")
    assert "pip install" in report["gsplat"]
