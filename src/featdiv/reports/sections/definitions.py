"""What each name on the page computes, and where it comes from."""

from __future__ import annotations

from collections.abc import Sequence

from featdiv.metrics.entry import Metric
from featdiv.reports import parts
from featdiv.reports.entries import Entry
from featdiv.reports.markup import Markup, tag
from featdiv.reports.section import Palette, Section
from featdiv.reports.sections import metric_lookup


def build(entries: Sequence[Entry], palette: Palette) -> Section | None:
    """Returns the section, or None where the catalogue knows none of the names."""
    found: dict[str, tuple[Metric, str | None]] = {}
    for entry in entries:
        names = [str(entry.content["metric"])] if "metric" in entry.content else list(entry.scores)
        for name in names:
            metric = metric_lookup.metric_of(name)
            if metric is not None:
                found.setdefault(metric.name, (metric, _chosen(entry, name)))
    if not found:
        return None
    terms = [_definition(metric, definition) for metric, definition in found.values()]
    references = sorted({source.full for metric, chosen in found.values() for source in metric.references(chosen)})
    body = parts.stacked(
        parts.paragraph(
            "X is rows by features; λ are the eigenvalues of the covariance in descending order, σ the singular "
            "values; logarithms are natural."
        ),
        tag("dl", *terms, class_="definitions"),
        tag("h3", "Sources"),
        tag("ul", *(tag("li", reference) for reference in references), class_="sources"),
    )
    return Section(name="definitions", title="Definitions", body=body)


def _chosen(entry: Entry, score: str) -> str | None:
    """Returns the named formula behind a score: its own in a table of scores, else that of the whole result."""
    lines = {line["name"]: line.get("definition") for line in entry.content.get("lines") or ()}
    named = entry.content.get("definitions") or {}
    found: str | None = lines.get(score) or named.get(score) or entry.provenance.get("definition")
    return found


def _definition(metric: Metric, chosen: str | None) -> Markup:
    named = {definition.name: definition for definition in metric.definitions}
    definition = named.get(chosen or "", metric.definitions[0])
    label = "" if definition.name == "default" else f" ({definition.name})"
    facts = [f"{metric.direction[:1].upper()}{metric.direction[1:]}"]
    for score, bounds in metric.bounds.items():
        name = f"{score}: " if len(metric.bounds) > 1 else ""
        facts.append(f"{name}{bounds.text}, unit: {metric.units[score]}")
    return parts.stacked(
        tag("dt", parts.code(metric.name), label),
        tag(
            "dd",
            metric.summary,
            tag("code", definition.formula, class_="formula"),
            tag("span", "; ".join(facts), ". ", tag("cite", definition.source.short), ".", class_="reading"),
            tag("span", f"Known defect: {definition.defect.rstrip('.')}.", class_="reading")
            if definition.defect
            else None,
        ),
    )
