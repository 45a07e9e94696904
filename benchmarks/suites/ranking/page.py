"""How large the page of many models is, and how long a browser takes to open it."""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

from suites.ranking.cache import pictures

MODELS, QUICK_MODELS = 20, 3
IMAGES, QUICK_IMAGES = 300, 40
FEATURES = 512
SIDE = 64
LARGEST = 5_000_000
SLOWEST = 1.0
"""Seconds until the page is loaded."""

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
WATCH = """
addEventListener("load", () => setTimeout(() => {
  document.body.dataset.loaded = performance.getEntriesByType("navigation")[0].loadEventEnd;
}));
"""


def rows(quick: bool) -> list[dict[str, Any]]:
    """Returns one line: models, megabytes, seconds to render, seconds to open (None without a browser)."""
    ranking = _ranking(QUICK_MODELS if quick else MODELS, QUICK_IMAGES if quick else IMAGES)
    started = time.perf_counter()
    content = ranking.report()
    rendered = time.perf_counter() - started
    opened = _seconds_to_open(content)
    size = len(content.encode())
    return [
        {
            "models": len(ranking.models),
            "MB": round(size / 1e6, 2),
            "rendered in s": round(rendered, 2),
            "opened in s": None if opened is None else round(opened, 2),
            "kept": size < LARGEST and (opened is None or opened < SLOWEST),
        }
    ]


def _ranking(models: int, images: int) -> Any:
    import torch

    import featdiv

    torch.manual_seed(0)
    networks = {f"projection_{place:02d}_of_pixels": _network() for place in range(models)}
    return featdiv.rank_models(
        networks,
        pictures(images, side=SIDE, classes=5),
        probes="knn",
        folds=2,
        extraction={"transform": _to_tensor, "workers": 0},
    )


def _network() -> Any:
    """Random features of pixels, behind a layer of filters and before a classifier."""
    import torch

    filters = torch.nn.Conv2d(3, 8, 4, stride=4)
    head = torch.nn.Linear(FEATURES, 5)
    features = torch.nn.Linear(8 * (SIDE // 4) ** 2, FEATURES)
    return torch.nn.Sequential(filters, torch.nn.ReLU(), torch.nn.Flatten(), features, torch.nn.ReLU(), head)


def _to_tensor(image: Any) -> Any:
    import numpy as np
    import torch

    return torch.from_numpy(np.asarray(image).copy()).permute(2, 0, 1).float() / 255.0


def _seconds_to_open(content: str) -> float | None:
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        return None
    # The policy of the page refuses the script that watches it.
    watched = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", content)
    watched = watched.replace("</body>", f"<script>{WATCH}</script></body>")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "page.html"
        path.write_text(watched, encoding="utf-8")
        command = [browser, "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
        command += [f"--user-data-dir={folder}/profile", "--timeout=20000", "--dump-dom", path.as_uri()]
        run = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    found = re.search(r'data-loaded="([0-9.]+)"', run.stdout)
    return None if found is None else float(found[1]) / 1000.0
