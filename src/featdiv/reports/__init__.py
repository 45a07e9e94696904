"""Reports: results as one self-contained HTML page.

The room is called ``reports`` because the function is `featdiv.report`: a package of that name would hide it.
"""

from featdiv.reports.page import report

__all__ = ["report"]
