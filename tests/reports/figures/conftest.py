"""Reads the SVG that the figures give, as XML: which would refuse an unescaped label."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree

import pytest


class Drawing:
    """A parsed figure."""

    def __init__(self, svg):
        self.root = ElementTree.fromstring(svg)

    def all(self, element):
        return list(self.root.iter(element))

    def of_class(self, name):
        return [element for element in self.root.iter() if name in element.get("class", "").split()]

    @property
    def texts(self):
        return ["".join(element.itertext()) for element in self.root.iter("text")]

    @property
    def titles(self):
        return [element.text for element in self.root.iter("title")]

    @staticmethod
    def points(path):
        return [(float(x), float(y)) for x, y in re.findall(r"(-?[\d.]+) (-?[\d.]+)", path.get("d"))]


@pytest.fixture
def drawn():
    """Parses a figure."""
    return Drawing
