"""A published linear-probe protocol on features: python examples/linear_probe_protocol.py [PROTOCOL].

PROTOCOL is dinov2-logreg (the default), kornblith2019 or ericsson2021; `featdiv protocol show NAME` prints what each
fixes. The features are scikit-learn's digits in three parts: C is chosen on the second, the third is looked at once.
"""

from __future__ import annotations

import sys

from sklearn.datasets import load_digits

import featdiv

name = sys.argv[1] if len(sys.argv) > 1 else "dinov2-logreg"
digits = load_digits()
x, y = (digits.data / 16.0).astype("float32"), digits.target
probe = featdiv.linear_probe(
    x[:900], y[:900], val=x[900:1300], val_labels=y[900:1300], test=x[1300:], test_labels=y[1300:], protocol=name
)
print(f"{probe.provenance.definition}: {len(probe.path)} values of C, the best {probe.C:.3g}")
interval, accuracy = probe.intervals["test_accuracy"], probe.read("test_accuracy")
print(f"accuracy {100 * accuracy:.1f} %, 95 %: {100 * interval.low:.1f} to {100 * interval.high:.1f}")
print(f"mean per class {100 * probe.read('test_mean_per_class'):.1f} %")
