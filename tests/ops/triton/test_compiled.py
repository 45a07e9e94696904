"""Every Triton kernel, in every shape of the tables, compiled for Ampere and Hopper: no GPU is needed for that."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest

from featdiv.ops._triton_moments import PACKING_WARPS
from featdiv.ops._triton_shapes import GRAM_SHAPES, pair_shape
from featdiv.ops.nearest_centroid import triton_ as episodes_triton
from featdiv.ops.pair_sums import blocks
from featdiv.ops.pair_sums import triton_ as pair_sums_triton
from featdiv.ops.topk import triton_ as topk_triton

SHARED_MEMORY = {80: 163 * 1024, 90: 227 * 1024}
"""Compute capability to the bytes of shared memory that one block may have."""

ROWS = {"d": "i32", "padded": "i32", "row_stride": "i64", "column_stride": "i64"}
MOVES = {"shift": "*fp64", "powers": "*fp64", "largest": "*fp64", "inverse": "*fp64"}
SOURCES = {"source": "*i64", "first": "i64", "count": "i64", "group_of_block": "*i32"}
ELEMENTS = {"bfloat16": "bf16", "float16": "fp16", "float64": "fp64"}

pytestmark = pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="triton is not installed")


def gram_jobs() -> list[dict]:
    types = {"plane_stride": "i64", "padded": "i32", "tile_row": "*i32", "tile_column": "*i32", "tiles": "i32"}
    jobs = []
    for (major, element, products), shapes in GRAM_SHAPES.items():
        elements = [element, *(["float16"] if element == "bfloat16" and products == 1 else [])]
        for shape in dict.fromkeys(shapes):
            constants = {
                "height": shape.height,
                "width": shape.width,
                "chain": shape.chain,
                "block_rows": 64,
                "products": products,
                "upcast": False,
            }
            jobs += [
                {
                    "module": "gram",
                    "name": "gram",
                    "types": {"planes": f"*{ELEMENTS[name]}", **types, "starts": "*i64", "slab": "*fp64"},
                    "constants": constants,
                    "capability": 10 * major,
                    "warps": warps,
                    "stages": stages,
                }
                for name in elements
                for warps, stages in shape.pipelines
            ]
    return jobs


def pack_jobs() -> list[dict]:
    jobs = []
    for element, planes, terms, everything in [
        ("fp32", "bf16", 3, False),
        ("fp32", "bf16", 3, True),
        ("fp16", "fp16", 1, False),
        ("bf16", "bf16", 1, True),
        ("fp64", "fp64", 1, True),
    ]:
        flags = dict.fromkeys(("gather", "has_shift", "has_powers", "has_norms"), everything)
        constants = {"block_rows": 64, "block_columns": 64}
        types = {"x": f"*{element}", **SOURCES, **MOVES, **ROWS}
        out = {"planes": f"*{planes}", "plane_stride": "i32"} | dict.fromkeys(("totals", "squares", "rests"), "*fp64")
        wide = everything or element in ("fp64", "i64")
        jobs.append(
            {
                "name": "pack",
                "warps": PACKING_WARPS,
                "types": {**types, **out},
                "constants": {**constants, **flags, "terms": terms, "wide": wide, "has_rests": element == "bf16"},
            }
        )
        out = dict.fromkeys(("squares", "weights", "weighted", "fourth"), "*fp64") | {"width": "i32"}
        for name, more in (("squared_norms", {"squares": "*fp64"}), ("norm_sums", out)) if everything else ():
            jobs.append({"name": name, "types": {**types, **more}, "warps": 8, "stages": 1})
            jobs[-1]["constants"] = {"block_rows": 64, "block_columns": 32, **flags}
        norms = {"x": f"*{element}", "largest": "*fp64", "inverse": "*fp64", "n": "i32", "d": "i32"}
        strides = {"row_stride": "i64", "column_stride": "i64"}
        narrow = {"block_rows": 16, "block_columns": 64}
        jobs.append({"name": "row_norms", "types": {**norms, **strides}, "constants": narrow})
        means = {name: types[name] for name in ("x", "source", "largest", "inverse", *ROWS)}
        means |= {"means": "*fp64", "places": "*i64", "used": "*i64"}
        jobs.append({"name": "group_means", "types": means, "constants": {**narrow, "has_norms": everything}})
    sums = {"partial": "*fp64", "starts": "*i64", "out": "*fp64", "width": "i32"}
    jobs.append({"name": "sum_blocks", "types": sums, "constants": {"block_columns": 64, "strip": 32}})
    for job in jobs:
        job["module"] = "pack"
    slab = {"slab": "*fp64", "tile_row": "*i32", "tile_column": "*i32", "tiles": "i32", "of_group": "*i64"}
    slab |= {"out": "*fp64", "rows": "i32", "columns": "i32", "first_column": "i32"}
    constants = {"height": 128, "width": 64, "strip": 32}
    jobs.append({"module": "gram", "name": "sum_segments", "types": slab, "constants": constants})
    return [{"warps": 4, "stages": 3, **job, "capability": capability} for job in jobs for capability in (80, 90)]


def pair_jobs() -> list[dict]:
    jobs = []
    for planes, products, measure, bins, slots in [
        ("bf16", 6, 0, 0, 0),
        ("bf16", 6, 1, 200, 256),
        ("bf16", 6, 2, 5000, 0),
        ("fp64", 1, 0, 0, 0),
        ("fp64", 1, 2, 200, 256),
    ]:
        kind = "fp64" if planes == "fp64" else "fp32"
        types = {"left": f"*{planes}", "right": f"*{planes}", "left_plane": "i32", "right_plane": "i32"}
        types |= {"padded": "i32", "left_squares": "*fp64", "right_squares": "*fp64"}
        types |= dict.fromkeys(("row_start", "row_stop", "column_start", "column_stop", "panels", "capacity"), "i32")
        types |= {"rates": "*fp64", "exp_sums": "*fp64", "limits": "*fp64", "histogram": "*i64", "close_rows": "*i32"}
        types |= {"nearest_value": f"*{kind}", "nearest_column": "*i64", "unsure": "*i64", "unsure_count": "*i32"}
        constants = {
            "segment": pair_sums_triton.TILES_OF_A_PROGRAM,
            "products": products,
            "within": True,
            "distances": measure == 2,
            "near_share": blocks.NEAR_SHARE,
            "rate_count": 2,
            "rate_slots": 4,
            "measure": measure,
            "bins": bins,
            "slots": slots,
            "has_threshold": measure > 0,
            "upcast": False,
        }
        for capability in (80, 90):
            shape = pair_shape("float64" if planes == "fp64" else "bfloat16", capability // 10)
            shaped = {"height": shape.height, "width": shape.width, "chain": shape.chain, **constants}
            jobs += [
                {
                    "name": "reduce_pairs",
                    "types": types,
                    "constants": shaped,
                    "capability": capability,
                    "warps": warps,
                    "stages": stages,
                }
                for warps, stages in shape.pipelines
            ]
    squares = {"x": "*fp32", "squares": "*fp64", "first": "i32", "count": "i32", **ROWS}
    squares |= dict.fromkeys(("shift", "largest", "inverse"), "*fp64")
    constants = {"block_rows": 64, "block_columns": 32, "has_shift": True, "has_norms": True}
    for capability in (80, 90):
        jobs.append({"name": "row_squares", "types": squares, "constants": constants, "capability": capability})
    return [{"module": "pairs", "warps": 8, "stages": 1, **job} for job in jobs]


def nearest_jobs() -> list[dict]:
    types = {"left_plane": "i32", "right_plane": "i32", "padded": "i32", "half_squares": "*fp64"}
    types |= {"thresholds": "*fp32", "keys": "*i64", "counts": "*i32"}
    types |= dict.fromkeys(("wide", "capacity", "rows", "column_start", "column_stop", "panels"), "i32")
    jobs = []
    for planes, products in (("bf16", 6), ("fp64", 1)):
        for capability in (80, 90):
            shape = pair_shape("float64" if planes == "fp64" else "bfloat16", capability // 10)
            constants = {"height": shape.height, "width": shape.width, "chain": shape.chain, "products": products}
            constants |= {"segment": topk_triton.TILES_OF_A_PROGRAM, "upcast": False}
            jobs += [
                {
                    "name": "list_nearer",
                    "types": {"left": f"*{planes}", "right": f"*{planes}", **types},
                    "constants": {**constants, "l2": l2},
                    "capability": capability,
                    "warps": warps,
                    "stages": stages,
                }
                for l2 in (False, True)
                for warps, stages in shape.pipelines
            ]
    strides = dict.fromkeys(("x_row_stride", "x_column_stride", "y_row_stride", "y_column_stride"), "i64")
    types = {"columns": "*i64", "out": "*fp64", **dict.fromkeys(("count", "wide", "d"), "i32"), **strides}
    constants = {
        "block_pairs": topk_triton.PAIRS_OF_A_PROGRAM,
        "block_columns": topk_triton.COLUMNS_AT_A_TIME,
        "l2": True,
    }
    jobs += [
        {
            "name": "measure_pairs",
            "types": {"x": f"*{element}", "y": f"*{element}", **types},
            "constants": constants,
            "capability": capability,
            "warps": 4,
            "stages": 1,
        }
        for element in ("fp32", "bf16", "fp64")
        for capability in (80, 90)
    ]
    return [{"module": "nearest", **job} for job in jobs]


def episode_jobs() -> list[dict]:
    sizes = dict.fromkeys(("ways", "taken", "shots", "d"), "i32") | {"row_stride": "i64", "column_stride": "i64"}
    blocks = {"block_queries": episodes_triton.QUERIES, "block_ways": episodes_triton.WAYS}
    kernels = {
        "centroids": ({"out": "*fp32"}, {"block_columns": episodes_triton.CENTROID_COLUMNS}),
        "nearest": ({"given": "*fp32", "out": "*i64"}, {**blocks, "block_columns": episodes_triton.COLUMNS}),
    }
    return [
        {
            "module": "episodes",
            "name": name,
            "types": {"x": f"*{element}", "index": "*i64", "centre": "*fp32", **own, **sizes},
            "constants": constants,
            "capability": capability,
            "warps": 4,
            "stages": 3,
        }
        for name, (own, constants) in kernels.items()
        for element, capability in (("fp32", 80), ("bf16", 90))
    ]


def compiled(jobs: list[dict]) -> list[dict]:
    script = Path(__file__).with_name("compile_kernels.py")
    run = subprocess.run(
        [sys.executable, str(script)], input=json.dumps(jobs), capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr[-4000:]
    return json.loads(run.stdout)


def check(found: list[dict]) -> None:
    for kernel in found:
        # Triton 3.7, which goes with torch 2.13, leaves one number of a float64 kernel on the stack; 3.9 leaves none.
        assert kernel["spilled"] <= (8 if "*fp64" in kernel["types"].values() else 0), kernel
        assert kernel["overflows"] == [], kernel
        assert kernel["shared"] <= SHARED_MEMORY[kernel["capability"]], kernel


@pytest.mark.slow
def test_products_use_tensor_cores_and_spill_nothing():
    found = compiled(gram_jobs())
    check(found)
    for kernel in found:
        element = kernel["types"]["planes"][1:].replace("fp", "f")
        wgmma = kernel["capability"] == 90 and element != "f64"
        expected = "wgmma.mma_async" if wgmma else "mma.sync"
        assert kernel["instructions"], kernel
        assert all(expected in each and element in each for each in kernel["instructions"]), kernel


@pytest.mark.slow
def test_packing_spills_nothing():
    check(compiled(pack_jobs()))


@pytest.mark.slow
def test_episodes_spill_nothing():
    check(compiled(episode_jobs()))


@pytest.mark.slow
def test_products_of_pairs_use_tensor_cores_and_spill_nothing():
    found = compiled(pair_jobs())
    check(found)
    for kernel in found:
        assert kernel["kernel"] == "row_squares" or kernel["instructions"], kernel


@pytest.mark.slow
def test_listing_the_nearest_uses_tensor_cores_and_spills_nothing():
    found = compiled(nearest_jobs())
    check(found)
    for kernel in found:
        assert kernel["kernel"] == "measure_pairs" or kernel["instructions"], kernel
