"""Several images on one grid: combined for one fit, split again, and written each as it was."""

import json
import re
from dataclasses import replace

import numpy as np
import pytest

from medgs_core.evaluate import evaluate_volume
from medgs_core.fit import fit_model
from medgs_core.formats import read_volume, write_volume
from medgs_core.formats.model_header import read_header
from medgs_core.lazy import lazy_volume
from medgs_core.members import channel_slopes, combine_volumes, split_volume
from medgs_core.model_file import load_model, model_hash, save_model
from medgs_core.render import render_uncertainty, render_volume
from medgs_core.slices import stack_slices
from medgs_core.volume import Member, Volume, content_hash, stack_affine

from ._cli import SLICES, SMALL, files_in, fit, medgs, phantom, write_scan
from ._fits import Follower, moving_voxels, scan, settings
from ._models import assert_same_gaussians, assert_same_volume, tampered

FULL_SCALE = 4000.0


def bytes_of(voxels):
    return np.rint(voxels / FULL_SCALE * 255).astype(np.uint8)


def dark():
    """Return a uint8 image with a scale of its own."""
    return scan(bytes_of(moving_voxels()), slope=0.5, intercept=-3.0)


def bright():
    """Return an int16 image on the same grid, of another content."""
    return scan((moving_voxels()[:, ::-1].astype(np.int32) - 1000).astype(np.int16), slope=2.0)


def color():
    """Return an RGB image on the same grid."""
    shades = bytes_of(moving_voxels())
    return scan(np.stack([shades, shades[:, ::-1], 255 - shades], axis=-1))


@pytest.fixture(scope="module")
def model():
    return fit_model(combine_volumes(dark(), bright()), settings()).model


class TestRoundTrip:
    @pytest.mark.parametrize(
        "volumes",
        [
            (dark(), bright()),
            (bright(), color(), dark()),
            (color(), scan(moving_voxels().astype(np.float32) / 7.0)),
            (scan(moving_voxels()[..., np.newaxis]), dark()),
            (replace(color(), series=True), dark()),
            (scan(np.full((9, 14, 18), 2**53, np.int64)), scan(moving_voxels().astype(np.float64))),
            (scan(np.full((9, 14, 18), 2**64 - 1, np.uint64)), dark()),
            (scan(moving_voxels().astype(np.float16)), scan(moving_voxels().astype(np.int32))),
        ],
        ids=lambda volumes: " ".join(f"{volume.voxels.dtype}x{volume.channels}" for volume in volumes),
    )
    def test_what_was_combined_comes_apart_exactly(self, volumes):
        parts = split_volume(combine_volumes(*volumes))
        assert len(parts) == len(volumes)
        for part, volume in zip(parts, volumes, strict=True):
            assert_same_volume(part, volume)
            assert (part.series, part.members) == (volume.series, ())

    def test_a_single_volume_is_its_own_only_member(self):
        volume = dark()
        assert combine_volumes(volume) is volume
        assert split_volume(volume) == (volume,)

    def test_combined_volumes_are_taken_as_their_members(self):
        flat, nested = (
            combine_volumes(dark(), bright(), color()),
            combine_volumes(dark(), combine_volumes(bright(), color())),
        )
        assert nested.members == flat.members
        assert np.array_equal(nested.voxels, flat.voxels)

    def test_channels_stand_in_the_order_of_the_members(self):
        both = combine_volumes(dark(), color(), bright())
        assert both.voxels.dtype == np.int16
        assert np.array_equal(both.voxels[..., 0], dark().voxels)
        assert np.array_equal(both.voxels[..., 4], bright().voxels)
        assert both.members[1] == Member(3, "uint8", 1.0, 0.0, "channels")
        assert channel_slopes(both).tolist() == [0.5, 1.0, 1.0, 1.0, 2.0]
        assert (both.slope, both.intercept) == (1.0, 0.0)

    def test_each_channel_has_the_window_that_its_image_has_alone(self):
        both = stack_slices(combine_volumes(dark(), bright()), 0).window
        alone = [stack_slices(volume, 0).window for volume in (dark(), bright())]
        assert both.low == tuple(window.low for window in alone)
        assert both.high == tuple(window.high for window in alone)

    def test_values_between_are_rounded_and_clipped_to_each_members_type(self):
        both = combine_volumes(dark(), scan(moving_voxels().astype(np.float32)))
        pushed = replace(both, voxels=both.voxels + np.array([300.6, 0.25], np.float32))
        first, second = split_volume(pushed)
        assert first.voxels.dtype == np.uint8
        assert np.unique(first.voxels).tolist() == [255]
        assert np.array_equal(second.voxels, moving_voxels().astype(np.float32) + np.float32(0.25))


class TestModel:
    def test_members_come_back_through_fit_file_and_rendering(self, model, tmp_path):
        save_model(model, tmp_path / "a.medgs")
        loaded = load_model(tmp_path / "a.medgs")
        assert model_hash(loaded) == model_hash(model)
        for t, volume in zip(split_volume(render_volume(loaded, factor=4)), (dark(), bright()), strict=True):
            assert t.voxels.shape == (33, 14, 18)
            assert t.voxels.dtype == volume.voxels.dtype
            assert (t.slope, t.intercept) == (volume.slope, volume.intercept)
            assert np.array_equal(t.voxels[::4], volume.voxels)
        assert np.array_equal(lazy_volume(loaded, factor=4)[6], render_volume(loaded, factor=4).voxels[6])

    def test_members_come_back_without_their_source(self, model, tmp_path):
        save_model(model, tmp_path / "a.medgs", source=False)
        first, second = split_volume(render_volume(load_model(tmp_path / "a.medgs")))
        assert (first.voxels.dtype, second.voxels.dtype) == (np.uint8, np.int16)

    def test_slices_between_are_close_to_what_is_drawn_of_each_alone(self, model):
        for place, volume in enumerate((dark(), bright())):
            alone = render_volume(fit_model(volume, settings()).model, factor=2).voxels.astype(float)
            both = split_volume(render_volume(model, factor=2))[place].voxels.astype(float)
            assert np.abs(both - alone)[1::2].mean() < 0.05 * np.ptp(volume.voxels.astype(float))

    def test_bounds_are_in_the_measured_values_of_each(self, model):
        bounds = render_uncertainty(model, factor=2)
        first, second = split_volume(bounds)
        assert first.voxels.dtype == second.voxels.dtype == np.float32
        assert {(part.slope, part.intercept) for part in (first, second)} == {(1.0, 0.0)}
        ranges = [np.ptp(volume.voxels.astype(float)) * volume.slope for volume in (dark(), bright())]
        for part, measured in zip((first, second), ranges, strict=True):
            assert 0.0 < part.voxels[1::2].mean() < 0.3 * measured

    def test_hashes_depend_on_the_members(self, model):
        both = combine_volumes(dark(), bright())
        wider = replace(both, members=(replace(both.members[0], dtype="int8"), both.members[1]))
        assert content_hash(wider) != content_hash(both)
        assert content_hash(replace(both, members=())) != content_hash(both)
        assert model_hash(replace(model, volume=wider)) != model_hash(model)

    def test_a_fit_resumes_on_the_same_members_only(self, hear_every_step):
        both = combine_volumes(dark(), bright())
        state = fit_model(both, settings(), progress=Follower(3)).checkpoint
        unbroken = fit_model(both, settings()).model
        assert_same_gaussians(fit_model(both, settings(), resume=state).model.gaussians, unbroken.gaussians)
        with pytest.raises(ValueError, match="resumes on the volume it began with"):
            fit_model(replace(both, members=()), settings(), resume=state)

    @pytest.mark.parametrize(
        ("members", "reason"),
        [
            ([{"channels": 3, "dtype": "uint8", "slope": 1.0, "intercept": 0.0, "layout": "channels"}], "share out"),
            ([{"channels": 2, "dtype": "uint8", "slope": 1.0, "intercept": 0.0, "layout": "plain"}], "share out"),
            ([{"channels": 2, "dtype": "object", "slope": 1.0, "intercept": 0.0, "layout": "channels"}], "dtype"),
            ([{"channels": 2}], "required"),
        ],
    )
    def test_files_whose_members_do_not_fit_are_refused(self, model, tmp_path, members, reason):
        save_model(model, tmp_path / "a.medgs")
        tampered(tmp_path / "a.medgs", geometry__members=members)
        with pytest.raises(ValueError, match=rf"complete and consistent, got .*{reason}"):
            load_model(tmp_path / "a.medgs")

    def test_headers_tell_them(self, model, tmp_path):
        save_model(model, tmp_path / "a.medgs")
        first, _ = read_header(tmp_path / "a.medgs")["geometry"]["members"]
        assert first == {"channels": 1, "dtype": "uint8", "slope": 0.5, "intercept": -3.0, "layout": "plain"}


class TestEvaluation:
    def test_each_image_is_scored_as_it_is_alone(self):
        both = evaluate_volume(combine_volumes(dark(), bright()), settings(steps=2))
        assert len(both.members) == 2
        for volume, scores in zip((dark(), bright()), both.members, strict=True):
            alone = evaluate_volume(volume, settings(steps=2))
            assert alone.members == ()
            for method in ("nearest", "linear", "cubic", "pchip"):  # which look at one channel at a time
                assert scores[method].psnr == pytest.approx(alone.methods[method].psnr, abs=1e-9)
                assert scores[method].ssim == pytest.approx(alone.methods[method].ssim, abs=1e-9)

    def test_the_mean_over_all_channels_stands_beside_them(self):
        result = evaluate_volume(combine_volumes(color(), bright()), settings(steps=2))
        for method, score in result.methods.items():
            first, second = (scores[method].psnr for scores in result.members)
            assert score.psnr == pytest.approx((3 * first + second) / 4)


WRONG_GRIDS = {
    "shape": (
        scan(moving_voxels()[:, :, 1:]),
        r"got shapes \(9, 14, 18\) and \(9, 14, 17\) of volumes 1 and 2; resample",
    ),
    "unit": (replace(dark(), unit="um"), r"got the units 'mm' and 'um' of volumes 1 and 2; correct a header"),
    "spacing": (
        replace(dark(), affine=stack_affine((3.0, 1.0, 1.01))),
        r"got affines \[\[.*\]\] and \[\[.*\]\] of volumes 1 and 2, which are up to 0\.17 mm apart; resample",
    ),
    "origin": (
        replace(dark(), affine=stack_affine((3.0, 1.0, 1.0)) + np.eye(4, k=3) * 0.02),
        r"are up to 0\.02 mm apart; resample",
    ),
    "positions": (
        replace(dark(), positions=np.arange(9.0) ** 1.5),
        r"slice positions .* that are not as many; give both",
    ),
}


class TestGrid:
    @pytest.mark.parametrize("what", WRONG_GRIDS)
    def test_volumes_elsewhere_are_refused_with_both_and_how_far(self, what):
        other, said = WRONG_GRIDS[what]
        with pytest.raises(ValueError, match=rf"^Volumes that are fitted together must be on one grid, .*{said}"):
            combine_volumes(dark(), other)

    def test_other_positions_are_refused(self):
        first, second = (replace(dark(), positions=np.arange(9.0) ** power) for power in (1.5, 1.4))
        with pytest.raises(ValueError, match=r"slice positions .* that are up to 4\.25 mm apart; give both"):
            combine_volumes(first, second)
        assert combine_volumes(first, first).positions is first.positions

    def test_the_third_volume_is_named_by_its_number(self):
        with pytest.raises(ValueError, match="of volumes 1 and 3"):
            combine_volumes(dark(), bright(), scan(moving_voxels()[1:]))

    def test_what_a_header_rounds_is_no_other_grid(self):
        rounded = stack_affine((3.0, 1.0, 1.0)) * (1.0 + 1e-6)
        rounded[3, 3] = 1.0
        assert np.array_equal(combine_volumes(dark(), replace(bright(), affine=rounded)).affine, dark().affine)

    @pytest.mark.parametrize("value", [2**53 + 1, -(2**53) - 1])
    def test_values_that_no_type_holds_with_the_others_are_refused(self, value):
        wide = scan(np.full((9, 14, 18), value, np.int64))
        with pytest.raises(
            ValueError, match=rf"one type holds exactly, got {value} to .* int64, which float64 would round"
        ):
            combine_volumes(wide, scan(moving_voxels().astype(np.float32)))


class TestFiles:
    def test_a_combined_volume_is_not_written_as_one(self, tmp_path):
        with pytest.raises(
            ValueError, match=r"must hold one image, got 2 combined ones .*; take them apart with split"
        ):
            write_volume(combine_volumes(dark(), bright()), tmp_path / "a.nii")
        assert files_in(tmp_path) == []

    def test_members_must_share_out_the_channels(self):
        both = combine_volumes(dark(), bright())
        for voxels in (both.voxels[..., :1], both.voxels[..., 0]):
            with pytest.raises(ValueError, match=r"must share out its channels, got \[1, 1\] for voxels of shape"):
                replace(both, voxels=voxels)


class TestCommand:
    @pytest.fixture
    def scans(self, tmp_path):
        """Two scans of other types and scales on one grid."""
        (tmp_path / "in").mkdir()
        one = phantom()
        first = replace(one, voxels=bytes_of(one.voxels), slope=0.5)
        second = Volume(
            (one.voxels[:, ::-1].astype(np.int32) - 9).astype(np.int16), one.affine, slope=2.0, intercept=1.0
        )
        return [
            write_scan(tmp_path / "in", volume, f"{name}.nii.gz") for name, volume in (("t1", first), ("t2", second))
        ]

    @pytest.fixture
    def fitted(self, scans, tmp_path, capsys):
        assert fit(scans[0], tmp_path / "both.medgs", "--with", scans[1]) == 0
        assert f"{SLICES} x 24 x 28 (2 images: uint8, int16), 3 x 0.8 x 0.8 mm" in capsys.readouterr().out
        return tmp_path / "both.medgs"

    def test_every_image_is_rendered_into_a_file_of_its_own(self, scans, fitted, tmp_path, capsys):
        outs = [tmp_path / f"{name}.nii.gz" for name in ("a", "b")]
        bounds = tmp_path / "bounds.nii.gz"
        command = ["render", fitted, "-o", outs[0], "--with", outs[1], "--factor", "2", "--uncertainty", bounds]
        assert medgs(*command) == 0
        assert "more of its" not in capsys.readouterr().out
        for number, (source, out) in enumerate(zip(scans, outs, strict=True)):
            measured, fine = read_volume(source), read_volume(out)
            assert fine.voxels.dtype == measured.voxels.dtype
            assert (fine.slope, fine.intercept) == (measured.slope, measured.intercept)
            assert np.array_equal(fine.voxels[::2], measured.voxels)
            assert json.loads((tmp_path / f"{out.name}.json").read_text())["image"] == number
        assert read_volume(bounds).voxels.shape == (2 * SLICES - 1, 24, 28)

    def test_the_first_alone_is_written_with_word_of_the_others(self, scans, fitted, tmp_path, capsys):
        assert medgs("render", fitted, "-o", tmp_path / "a.nii") == 0
        assert np.array_equal(read_volume(tmp_path / "a.nii").voxels, read_volume(scans[0]).voxels)
        assert "the model holds 1 more of its 2 images: name files for them after --with" in capsys.readouterr().out
        assert medgs("render", fitted, "-o", tmp_path / "a.nii", "--quiet") == 0
        assert capsys.readouterr().out == ""

    @pytest.mark.parametrize(
        ("words", "said"),
        [
            (("b.nii", "c.nii"), r"must be an image in the model for every file, got 3 files for 2; leave out"),
            (("a.nii",), r"--with must name another file .*, got '.*a\.nii' again; change it"),
            (("b.png",), r"must end in .*, got '.*b\.png'; change its ending"),
            (("b.tif",), r"cannot hold an intensity scale, got slope 2 and intercept 1; write NIfTI"),
            (("no/b.nii",), r"folder must exist, got '.*no'; create it"),
        ],
    )
    def test_files_that_cannot_be_written_are_refused_before_the_work(
        self, fitted, tmp_path, capsys, monkeypatch, words, said
    ):
        monkeypatch.setattr("medgs_core.render.render_volume", lambda *_, **__: pytest.fail("the work began"))
        before = files_in(tmp_path)
        assert medgs("render", fitted, "-o", tmp_path / "a.nii", "--with", *(tmp_path / word for word in words)) == 2
        told = capsys.readouterr().err
        assert told.count("\n") == 1
        assert re.search(said, told)
        assert files_in(tmp_path) == before

    def test_other_grids_are_a_sentence(self, scans, tmp_path, capsys):
        other = write_scan(tmp_path, phantom(width=29), "other.nii.gz")
        for command in (("fit", scans[0], "-o", tmp_path / "a.medgs"), ("evaluate", scans[0])):
            assert medgs(*command, "--with", scans[1], "--with", other, *SMALL) == 2
            told = capsys.readouterr().err
            assert re.search(r"one grid, got shapes \(9, 24, 28\) and \(9, 24, 29\) of volumes 1 and 3; resample", told)
        assert files_in(tmp_path) == ["in", "other.nii.gz"]

    def test_evaluation_shows_every_image(self, scans, capsys):
        assert medgs("evaluate", scans[0], "--with", scans[1], *SMALL) == 0
        said = capsys.readouterr().out
        assert [line for line in said.splitlines() if line.endswith(".nii.gz")] == [str(path) for path in scans]
        assert said.count("  medgs ") == 2
        assert medgs("evaluate", scans[0], "--with", scans[1], *SMALL, "--json") == 0
        found = json.loads(capsys.readouterr().out)
        assert [image["file"] for image in found["images"]] == [str(path) for path in scans]
        assert set(found["images"][0]["methods"]) == set(found["methods"])

    def test_evaluation_of_one_image_says_nothing_of_images(self, scans, capsys):
        assert medgs("evaluate", scans[0], *SMALL, "--json") == 0
        assert set(json.loads(capsys.readouterr().out)) == {"axis", "stride", "kept", "held_out", "methods"}

    def test_info_lists_the_images(self, fitted, capsys):
        assert medgs("info", fitted) == 0
        assert f"{SLICES} x 24 x 28 (2 images: uint8, int16), slices along axis 0" in capsys.readouterr().out
