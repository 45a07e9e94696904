"""Correlations that Ericsson, Gouk & Hospedales (2021, arXiv:2011.13377v2) print, from the numbers that they print.

Table 1: ImageNet top-1, and averages over eleven data sets, linear and fine-tuned. Table 9: calibration errors, raw
and scaled, of either; perceptual and colour errors of inverted features; attentive diffusion; its last row.
"""

from __future__ import annotations

import pytest

import featdiv

TABLE = """
model           imagenet linear finetune  ece_l ece_ls  ece_f ece_fs  alex  vgg squeeze   red green  blue diffusion
InsDis             59.50  62.29    72.62  12.68   2.72   8.15   2.18  0.58 0.71    0.48  3971  2734  3394     48.48
MoCo-v1            60.60  62.41    74.39  14.15   2.58   8.21   2.28  0.62 0.74    0.53  4073  3044  3512     47.92
PCL-v1             61.50  56.73    79.85  14.06   3.71   7.29   2.63  0.74 0.81    0.65  4598  3954  4141     41.43
PIRL               61.70  63.92    71.71  15.68   2.68   8.37   2.12  0.59 0.72    0.50  3607  3070  3435     48.12
PCL-v2             67.60  69.13    80.66  11.07   2.85   5.04   2.34  0.56 0.66    0.47  3008  2807  3101     43.91
SimCLR-v1          69.30  72.59    83.13   8.45   2.13   5.29   2.46  0.56 0.70    0.47  3224  2667  3223     46.07
MoCo-v2            71.10  72.31    77.74   9.25   2.67   6.01   2.25  0.54 0.67    0.45  3179  2514  2695     45.39
SimCLR-v2          71.70  75.07    80.54   9.71   2.19   6.06   2.45  0.55 0.68    0.46  3655  2855  3404     47.91
SeLa-v2            71.80  72.09    84.86  11.52   2.81   5.20   2.10  0.69 0.72    0.57  3962  3775  4315     47.68
InfoMin            73.00  72.21    79.62   7.05   2.99   5.32   2.23  0.49 0.60    0.39  2592  2403  2594     43.73
BYOL               74.30  77.05    84.03  10.23   1.93   5.82   1.96  0.59 0.71    0.48  3765  3268  3471     48.81
DeepCluster-v2     75.20  78.92    85.56   8.69   2.17   4.94   1.85  0.58 0.67    0.48  3527  3170  3804     48.69
SwAV               75.30  77.97    85.33   8.25   2.16   4.80   1.86  0.57 0.67    0.46  3560  3186  3565     49.47
Supervised         77.20  73.75    84.60  10.35   2.22   4.48   1.90  0.47 0.55    0.37  2788  2917  2903     43.88
printed                -      -        -  -0.77  -0.59  -0.90  -0.59  -0.51 -0.69   -0.57  -0.56  -0.11  -0.22      0.09
"""
PERCENT = ("ece_l", "ece_ls", "ece_f", "ece_fs", "diffusion")
SCALES = {
    **dict.fromkeys(PERCENT, "percent"),
    **dict.fromkeys(("alex", "vgg", "squeeze"), "fraction"),
    **dict.fromkeys(("red", "green", "blue"), "raw"),
}
HEADER, *ROWS, PRINTED = (line.split() for line in TABLE.strip().splitlines())


def column(name, without=()):
    place = HEADER.index(name)
    return {row[0]: float(row[place]) for row in ROWS if row[0] not in without}


def pearson(name, without=()):
    x, y = column("imagenet", without), column(name, without)
    found = featdiv.correlate(x, y, x_scale="percent", y_scale=SCALES[name], draws=0, permutations=0)
    assert len(found.models) == 14 - len(without)
    return found.read("pearson")


@pytest.mark.parametrize("name", SCALES)
def test_correlations_with_imagenet_are_those_of_table_9(name):
    # The perceptual errors have two decimals, which moves the correlation of one of them by 0.02.
    assert pearson(name) == pytest.approx(float(PRINTED[HEADER.index(name)]), abs=0.02 if name == "alex" else 0.01)


def test_without_the_supervised_model_the_printed_row_is_missed():
    off = [abs(pearson(name, without=("Supervised",)) - float(PRINTED[HEADER.index(name)])) for name in SCALES]
    assert max(off) > 0.1


def test_linear_and_fine_tuned_models_rank_alike():
    """0.736 over the printed averages, which others have computed."""
    found = featdiv.correlate(
        column("linear"), column("finetune"), x_scale="raw", y_scale="raw", draws=0, permutations=0
    )
    assert found.read("spearman") == pytest.approx(0.736, abs=5e-4)
