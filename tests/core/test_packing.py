import zlib

import numpy as np

from medgs_core.formats.packing import CHUNK_VOXELS, memory_order, pack_voxels, unpack_voxels

from ._models import random_voxels


def test_more_voxels_than_one_chunk():
    voxels = random_voxels("int16", (3, 300, 600))
    assert voxels.size > 2 * CHUNK_VOXELS
    stream = b"".join(pack_voxels(voxels, (0, 1, 2)))
    parts = [stream[at : at + 1000] for at in range(0, len(stream), 1000)]
    unpacked = unpack_voxels(parts, len(stream), voxels.shape, voxels.dtype, (0, 1, 2))
    np.testing.assert_array_equal(unpacked, voxels)


def test_bytes_of_equal_weight_stand_together():
    voxels = np.arange(60, dtype=np.int16).reshape(3, 4, 5)
    assert zlib.decompress(b"".join(pack_voxels(voxels, (0, 1, 2)))) == bytes(range(60)) + bytes(60)


def test_smooth_voxels_take_less_room_than_zlib_alone_gives_them():
    i, j, k = np.indices((40, 40, 40), np.int32)
    smooth = (1000 + 30 * i + 7 * j + k * k // 3).astype(np.int16)
    packed = sum(len(part) for part in pack_voxels(smooth, (0, 1, 2)))
    assert packed < len(zlib.compress(smooth.tobytes(), 9))


def test_memory_order_names_the_slowest_axis_first():
    voxels = np.zeros((4, 5, 6))
    assert memory_order(voxels) == (0, 1, 2)
    assert memory_order(np.asfortranarray(voxels)) == (2, 1, 0)
