"""Folded Gaussians: fit a stack of slices, render the slices that were never measured.

volume = read_volume("scan.nii.gz")                        # NIfTI, TIFF, OME-TIFF, OME-Zarr; voxels as stored
result = fit_model(volume, FitConfig(preset="balanced"))   # Gaussians that live across slices
print(result.scores)                                       # hidden slices, against the classical methods
between = render_slice(result.model, 12.5)                 # halfway between slices 12 and 13
dense = render_volume(result.model, factor=4)              # a Volume; measured slices come back exactly
write_volume(dense, "fine.nii.gz")                         # same world, dtype and intensity scale
stream_volume(result.model, "fine.ome.zarr", factor=4).fill_all()  # the same, never more than slices in memory
save_model(result.model, "scan.medgs")                     # and load_model reads it back
both = combine_volumes(t1, t2)                             # images on one grid share a model; split_volume undoes it
labeled = fit_labels(result.model, painted)                # structures marked on a few slices, for all slices
organs = render_volume(labeled, labels=True, factor=4)     # annotated slices come back as they were drawn
mesh = extract_surface(labeled, label=3)                   # or level=300.0: a closed Surface; mesh.area, mesh.volume
baseline = interpolate_slices(stack_slices(volume, 2), 12.5, "flow")  # or nearest, linear, cubic, pchip

Names are imported when they are first used, so `import medgs_core` costs nothing: no torch, no numba.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from medgs_core.annotation import Annotation, annotate
    from medgs_core.classical import interpolate_slices
    from medgs_core.classical_labels import interpolate_labels
    from medgs_core.config import FitConfig, LabelConfig, RenderConfig, SurfaceConfig
    from medgs_core.doctor import MachineReport, examine_machine
    from medgs_core.evaluate import Evaluation, evaluate_volume
    from medgs_core.example import find_example
    from medgs_core.faults import is_out_of_memory
    from medgs_core.fit import FitResult, fit_model
    from medgs_core.fold import fold_model
    from medgs_core.formats import read_volume, write_volume
    from medgs_core.formats.meshes import write_surface
    from medgs_core.formats.model_header import state_path
    from medgs_core.formats.streamed import StreamedVolume, create_volume, open_volume
    from medgs_core.gaussian_table import GaussianTable, tabulate_gaussians
    from medgs_core.label_evaluation import LabelEvaluation, evaluate_labels
    from medgs_core.label_fit import fit_labels
    from medgs_core.lazy import LazyVolume, lazy_uncertainty, lazy_volume
    from medgs_core.members import combine_volumes, split_volume
    from medgs_core.mesh import Surface
    from medgs_core.metrics import psnr, ssim
    from medgs_core.model import FitCheckpoint, FittedModel, FoldedGaussians
    from medgs_core.model_file import load_checkpoint, load_model, model_hash, save_checkpoint, save_model
    from medgs_core.overlap import dice, iou
    from medgs_core.phantom import drifting_phantom
    from medgs_core.plan import FitPlan, plan_fit
    from medgs_core.probe import FitEstimate, probe_fit
    from medgs_core.progress import FitState, Progress
    from medgs_core.rasterize import rasterize_splats
    from medgs_core.render import render_slice, render_uncertainty, render_volume
    from medgs_core.sampling import Sampling, is_measured, sample_slices
    from medgs_core.slices import SliceStack, stack_slices
    from medgs_core.streaming import VolumeStream, stream_volume
    from medgs_core.surface import extract_surface, extract_surfaces
    from medgs_core.surface_metrics import chamfer, surface_distances
    from medgs_core.threads import work_alone
    from medgs_core.volume import IntensityWindow, Volume

    __version__: str

_HOMES = {
    "Annotation": "annotation",
    "Evaluation": "evaluate",
    "FitCheckpoint": "model",
    "FitConfig": "config",
    "FitEstimate": "probe",
    "FitPlan": "plan",
    "FitResult": "fit",
    "FitState": "progress",
    "FittedModel": "model",
    "FoldedGaussians": "model",
    "GaussianTable": "gaussian_table",
    "IntensityWindow": "volume",
    "LabelConfig": "config",
    "LabelEvaluation": "label_evaluation",
    "LazyVolume": "lazy",
    "MachineReport": "doctor",
    "Progress": "progress",
    "RenderConfig": "config",
    "Sampling": "sampling",
    "SliceStack": "slices",
    "StreamedVolume": "formats.streamed",
    "Surface": "mesh",
    "SurfaceConfig": "config",
    "Volume": "volume",
    "VolumeStream": "streaming",
    "annotate": "annotation",
    "chamfer": "surface_metrics",
    "combine_volumes": "members",
    "create_volume": "formats.streamed",
    "dice": "overlap",
    "drifting_phantom": "phantom",
    "evaluate_labels": "label_evaluation",
    "evaluate_volume": "evaluate",
    "examine_machine": "doctor",
    "extract_surface": "surface",
    "extract_surfaces": "surface",
    "fit_labels": "label_fit",
    "find_example": "example",
    "fit_model": "fit",
    "fold_model": "fold",
    "interpolate_labels": "classical_labels",
    "interpolate_slices": "classical",
    "iou": "overlap",
    "is_measured": "sampling",
    "is_out_of_memory": "faults",
    "lazy_uncertainty": "lazy",
    "lazy_volume": "lazy",
    "load_checkpoint": "model_file",
    "load_model": "model_file",
    "model_hash": "model_file",
    "open_volume": "formats.streamed",
    "plan_fit": "plan",
    "probe_fit": "probe",
    "psnr": "metrics",
    "rasterize_splats": "rasterize",
    "read_volume": "formats",
    "render_slice": "render",
    "render_uncertainty": "render",
    "render_volume": "render",
    "sample_slices": "sampling",
    "save_checkpoint": "model_file",
    "save_model": "model_file",
    "split_volume": "members",
    "ssim": "metrics",
    "stack_slices": "slices",
    "state_path": "formats.model_header",
    "stream_volume": "streaming",
    "surface_distances": "surface_metrics",
    "tabulate_gaussians": "gaussian_table",
    "work_alone": "threads",
    "write_surface": "formats.meshes",
    "write_volume": "formats",
}
"""The module in which each public name is defined."""

__all__ = [
    "Annotation",
    "Evaluation",
    "FitCheckpoint",
    "FitConfig",
    "FitEstimate",
    "FitPlan",
    "FitResult",
    "FitState",
    "FittedModel",
    "FoldedGaussians",
    "GaussianTable",
    "IntensityWindow",
    "LabelConfig",
    "LabelEvaluation",
    "LazyVolume",
    "MachineReport",
    "Progress",
    "RenderConfig",
    "Sampling",
    "SliceStack",
    "StreamedVolume",
    "Surface",
    "SurfaceConfig",
    "Volume",
    "VolumeStream",
    "__version__",
    "annotate",
    "chamfer",
    "combine_volumes",
    "create_volume",
    "dice",
    "drifting_phantom",
    "evaluate_labels",
    "evaluate_volume",
    "examine_machine",
    "extract_surface",
    "extract_surfaces",
    "find_example",
    "fit_labels",
    "fit_model",
    "fold_model",
    "interpolate_labels",
    "interpolate_slices",
    "iou",
    "is_measured",
    "is_out_of_memory",
    "lazy_uncertainty",
    "lazy_volume",
    "load_checkpoint",
    "load_model",
    "model_hash",
    "open_volume",
    "plan_fit",
    "probe_fit",
    "psnr",
    "rasterize_splats",
    "read_volume",
    "render_slice",
    "render_uncertainty",
    "render_volume",
    "sample_slices",
    "save_checkpoint",
    "save_model",
    "split_volume",
    "ssim",
    "stack_slices",
    "state_path",
    "stream_volume",
    "surface_distances",
    "tabulate_gaussians",
    "work_alone",
    "write_surface",
    "write_volume",
]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        value: Any = version("medgs-napari")
    elif name in _HOMES:
        value = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value  # the next look-up does not come here
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
