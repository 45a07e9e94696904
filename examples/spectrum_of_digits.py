"""The spectrum of scikit-learn's digits, per class, with a picture: python examples/spectrum_of_digits.py [OUT.png]."""

from __future__ import annotations

import sys
import warnings

from sklearn.datasets import load_digits

import featdiv

digits = load_digits()
with warnings.catch_warnings():
    # The classes have fewer than five rows for each pixel; they are compared with one another only.
    warnings.simplefilter("ignore", featdiv.SmallSampleWarning)
    spectrum = featdiv.spectrum(digits.data, labels=digits.target)

interval = spectrum.intervals["effective_rank"]
print(f"all digits: effective rank {spectrum.effective_rank:.1f}, 95 % interval {interval}")
for digit, part in spectrum.per_class.items():
    print(f"digit {digit}:    effective rank {part.effective_rank:.1f} from {part.n} images")

if len(sys.argv) > 1:
    spectrum.plot().savefig(sys.argv[1], dpi=150)
