"""The compiled kernels against the definition: images and gradients, both rules, and odd input."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from medgs_core import threads
from medgs_core.rasterize import rasterize_splats
from medgs_core.tensors import Splats2D

from ._scenes import decided_pixels, random_splats, tensors_of

RULES = ["sum", "alpha"]

IMAGE_TOLERANCE = 1e-5
"""Of the largest value: float32 sums of some 30 weights, each good to 1e-6 after chaining 16 rows."""

GRADIENT_TOLERANCE = 5e-5
"""Of the largest gradient: sums over some 300 pixels with signs, whose parts cancel."""


def compare_with_reference(splats: Splats2D, height: int, width: int, compositing: str) -> None:
    """Assert that images and all gradients agree with float64, under random cotangents."""
    random = torch.Generator().manual_seed(1)
    decided = decided_pixels(splats, height, width, compositing)
    fast, exact = tensors_of(splats), tensors_of(splats, torch.float64)
    images = rasterize_splats(Splats2D(*fast), height, width, compositing)
    truths = rasterize_splats(Splats2D(*exact), height, width, compositing, backend="reference")
    upstream = [torch.randn(truth.shape, generator=random, dtype=torch.float64) for truth in truths]
    upstream = [upstream[0] * decided[:, :, None], upstream[1] * decided]
    for image, truth, mask in zip(images, truths, (decided[:, :, None], decided), strict=True):
        limit = IMAGE_TOLERANCE * max(1e-3, truth.abs().max().item())
        assert ((image - truth) * mask).abs().max().item() <= limit
    got = torch.autograd.grad(images, fast, [gradient.float() for gradient in upstream])
    expected = torch.autograd.grad(truths, exact, upstream)
    for name, gradient, truth in zip(("means", "conics", "opacities", "features"), got, expected, strict=True):
        limit = GRADIENT_TOLERANCE * max(1e-3, truth.abs().max().item())
        assert (gradient - truth).abs().max().item() <= limit, name


@pytest.mark.parametrize("compositing", RULES)
@pytest.mark.parametrize("features", [1, 2, 3, 4, 33, 100])
def test_kernels_agree_with_the_definition(compositing, features):
    compare_with_reference(random_splats(150, 40, 56, features), 40, 56, compositing)


@pytest.mark.parametrize("compositing", RULES)
@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 33), (17, 1), (15, 16), (16, 17), (33, 31)])
def test_any_image_size_agrees_with_the_definition(compositing, height, width):
    compare_with_reference(random_splats(60, height, width, seed=2), height, width, compositing)


@pytest.mark.parametrize("compositing", RULES)
@pytest.mark.parametrize(
    "scales",
    [(0.15, 0.4), (30.0, 60.0), (500.0, 900.0), (0.5, 12.0)],
    ids=["tiny", "large", "huge", "needles"],
)
def test_any_splat_size_agrees_with_the_definition(compositing, scales):
    compare_with_reference(random_splats(60, 50, 70, scales=scales, seed=4), 50, 70, compositing)


def test_opaque_splats_end_pixels_where_the_definition_does():
    splats = random_splats(300, 40, 40, opacities=(0.5, 0.9), seed=5)
    compare_with_reference(splats, 40, 40, "alpha")
    weight = rasterize_splats(splats, 40, 40, "alpha")[1]
    assert (weight > 0.999).any()


def test_capped_opacities_take_no_gradient():
    splats = Splats2D(torch.zeros(1, 2), torch.tensor([[0.5, 0.0, 0.5]]), torch.ones(1), torch.ones(1, 1))
    opacity = splats.opacities.requires_grad_()
    rasterize_splats(splats, 1, 1, "alpha")[1].sum().backward()
    assert opacity.grad is not None
    assert opacity.grad.item() == 0.0


@pytest.mark.parametrize("compositing", RULES)
def test_no_splats_give_an_empty_image_and_empty_gradients(compositing):
    tensors = tensors_of(random_splats(0, 8, 8))
    weighted, weight = rasterize_splats(Splats2D(*tensors), 20, 30, compositing)
    assert not weighted.any()
    assert not weight.any()
    gradients = torch.autograd.grad((weighted.sum() + weight.sum()), tensors)
    assert [tuple(gradient.shape) for gradient in gradients] == [(0, 2), (0, 3), (0,), (0, 1)]


@pytest.mark.parametrize("compositing", RULES)
@pytest.mark.parametrize("shift", [-1e3, 1e3, 1e12, float("inf"), float("nan")])
def test_splats_outside_of_the_image_change_nothing(compositing, shift):
    inside, outside = random_splats(20, 20, 20), random_splats(20, 20, 20)
    outside = Splats2D(outside.means + shift, outside.conics, outside.opacities, outside.features)
    fields = ("means", "conics", "opacities", "features")
    both = [torch.cat((getattr(outside, name), getattr(inside, name))).requires_grad_() for name in fields]
    images = rasterize_splats(Splats2D(*both), 20, 20, compositing)
    for image, alone in zip(images, rasterize_splats(inside, 20, 20, compositing), strict=True):
        assert torch.equal(image, alone)
    for gradient in torch.autograd.grad([image.sum() for image in images], both):
        assert not gradient[:20].any()
        assert gradient[20:].any()


@pytest.mark.parametrize("compositing", RULES)
def test_zero_opacity_draws_nothing(compositing):
    splats = random_splats(30, 16, 16, opacities=(0.0, 0.0))
    assert not rasterize_splats(splats, 16, 16, compositing)[1].any()


def test_zero_opacity_still_has_a_gradient_in_the_sum():
    compare_with_reference(random_splats(30, 16, 16, opacities=(0.0, 0.0)), 16, 16, "sum")


@pytest.mark.parametrize("compositing", RULES)
def test_unused_weight_and_unused_features_differentiate(compositing):
    tensors = tensors_of(random_splats(30, 20, 20))
    weighted, weight = rasterize_splats(Splats2D(*tensors), 20, 20, compositing)
    one = torch.autograd.grad(weighted.sum(), tensors, retain_graph=True)
    two = torch.autograd.grad(weight.sum(), tensors, retain_graph=True)
    both = torch.autograd.grad(weighted.sum() + weight.sum(), tensors)
    for first, second, together in zip(one, two, both, strict=True):
        torch.testing.assert_close(first + second, together, rtol=1e-4, atol=1e-4)


def digest_of_a_render() -> str:
    """Return a hash of all bits of images and gradients of both rules."""
    import hashlib

    digest = hashlib.sha256()
    for compositing in RULES:
        tensors = tensors_of(random_splats(400, 100, 90, features=2, opacities=(0.1, 0.9)))
        images = rasterize_splats(Splats2D(*tensors), 100, 90, compositing)
        gradients = torch.autograd.grad([image.square().sum() for image in images], tensors)
        for tensor in (*images, *gradients):
            digest.update(tensor.detach().contiguous().numpy().tobytes())
    return digest.hexdigest()


def test_repeats_are_bit_identical():
    assert digest_of_a_render() == digest_of_a_render()


@pytest.mark.parametrize("count", [1, 3, 40])
def test_number_of_threads_does_not_change_a_bit(count, monkeypatch):
    usual = digest_of_a_render()
    monkeypatch.setattr(threads, "thread_count", lambda: count)
    assert digest_of_a_render() == usual


def test_renders_from_several_threads_are_those_of_one():
    alone = digest_of_a_render()
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda _: digest_of_a_render(), range(8)))
    assert together == [alone] * 8


def test_importing_the_rasterizers_loads_no_numba():
    code = "import sys, medgs_core.rasterize; sys.exit('numba' in sys.modules or 'gsplat' in sys.modules)"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    assert subprocess.run([sys.executable, "-c", code], env=environment, check=False).returncode == 0


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"height": 0}, "at least one row.*got 0 x 8 x 1"),
        ({"width": -3}, "at least one row.*got 8 x -3 x 1"),
        ({"backend": "cuda"}, "device cuda, got cpu"),
    ],
)
def test_what_cannot_be_drawn_is_said(change, sentence):
    arguments = {"height": 8, "width": 8, "compositing": "sum", **change}
    with pytest.raises(ValueError, match=sentence):
        rasterize_splats(random_splats(3, 8, 8), **arguments)


def test_other_dtypes_are_refused_with_the_remedy():
    splats = Splats2D(*tensors_of(random_splats(3, 8, 8), torch.float64))
    with pytest.raises(ValueError, match=r"float32, got torch.float64.*backend=\"reference\""):
        rasterize_splats(splats, 8, 8, "sum")
