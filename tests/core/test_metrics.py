import math

import numpy as np
import pytest
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from medgs_core.metrics import psnr, ssim, to_protocol


def planes(shape=(40, 31)):
    generator = np.random.default_rng(0)
    measured = generator.random(shape, dtype=np.float32)
    return measured, np.clip(measured + 0.1 * generator.standard_normal(shape, dtype=np.float32), 0, 1)


def test_psnr_of_a_tenth_everywhere_is_20_db():
    # mean squared error 0.1**2, so 10 log10(1 / 0.01)
    assert psnr(np.zeros((4, 5), np.float32), np.full((4, 5), 0.1, np.float32)) == pytest.approx(20.0, abs=1e-6)


def test_psnr_is_scikit_images():
    measured, predicted = planes()
    assert psnr(measured, predicted) == pytest.approx(
        peak_signal_noise_ratio(measured, predicted, data_range=1.0), abs=1e-5
    )


def test_psnr_of_equal_planes_is_infinite():
    assert psnr(planes()[0], planes()[0]) == math.inf


def test_ssim_is_scikit_images_default():
    measured, predicted = planes()
    expected = structural_similarity(measured.astype(float), predicted.astype(float), data_range=1.0)
    assert ssim(measured, predicted) == pytest.approx(expected, abs=1e-12)


def test_ssim_of_equal_planes_is_one():
    assert ssim(planes()[0], planes()[0]) == pytest.approx(1.0)


@pytest.mark.parametrize("shape", [(1, 1), (2, 40), (6, 6), (7, 3)])
def test_ssim_is_defined_for_planes_narrower_than_its_window(shape):
    measured, predicted = planes(shape)
    assert ssim(measured, measured) == pytest.approx(1.0)
    assert -1.0 <= ssim(measured, predicted) < 1.0


def test_protocol_scales_and_clips():
    stored = np.array([-5, 0, 50, 200, 300], dtype=np.int16)
    np.testing.assert_array_equal(to_protocol(stored, 0.0, 200.0), np.array([0, 0, 0.25, 1, 1], np.float32))


def test_protocol_keeps_small_differences_of_large_values():
    stored = np.array([2**40, 2**40 + 1, 2**40 + 2], dtype=np.int64)
    np.testing.assert_array_equal(to_protocol(stored, 2.0**40, 2.0**40 + 2), np.array([0, 0.5, 1], np.float32))


def test_shapes_must_agree():
    with pytest.raises(Exception, match="predicted"):
        psnr(np.zeros((4, 5), np.float32), np.zeros((5, 4), np.float32))
