"""The kNN evaluation of DINOv2 on features of a file: python examples/knn_like_dinov2.py [TRAIN LABELS TEST LABELS].

The protocol is k of 10, 20, 100 and 200, cosine similarity, votes weighted exp(s/0.07), and the best k. Without
arguments two thirds of scikit-learn's digits vote for the others.
"""

from __future__ import annotations

import sys

import numpy as np

import featdiv

if len(sys.argv) == 5:
    train, train_labels, test, test_labels = sys.argv[1:]
    parts = (train, np.load(train_labels), test, np.load(test_labels))
else:
    from sklearn.datasets import load_digits

    digits = load_digits()
    parts = (digits.data[:1200], digits.target[:1200], digits.data[1200:], digits.target[1200:])

train, train_labels, test, test_labels = parts
probe = featdiv.knn_probe(train, train_labels, test=test, test_labels=test_labels, protocol="dinov2-knn")
for name, accuracy in probe.scores.items():
    print(f"{name}: {100 * accuracy:.2f} %")
print(f"protocol {probe.provenance.arguments['protocol']}")
