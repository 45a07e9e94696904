"""Published evaluation protocols as versioned data files: procedure, parameters, and known defects.

A protocol never changes its numbers: a correction is a new version. Files that ``featdiv`` reads are TOML, beside this
module; their keys are the fields of `Protocol`.
"""

from __future__ import annotations

import dataclasses
import functools
import tomllib
from collections.abc import Mapping
from importlib import resources
from types import MappingProxyType
from typing import Any

from featdiv.errors import InputError
from featdiv.protocols import values

__all__ = ["Difference", "Protocol", "Resolution", "get", "names"]

SCHEMA_VERSION = 1
"""Version of the layout of the files."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Difference:
    """One parameter in which something differs from a protocol.

    Attributes:
        function: the function whose parameter it is, for example ``"linear_probe"``.
        parameter: name of the parameter.
        expected: what the protocol prescribes.
        actual: what was used.
    """

    function: str
    parameter: str
    expected: Any
    actual: Any

    def __str__(self) -> str:
        return f"{self.parameter}: {values.shown(self.actual)} instead of {values.shown(self.expected)}"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Resolution:
    """The arguments of a call that follows a protocol.

    Attributes:
        arguments: name to value, with the protocol's values where the caller left the default.
        deviations: where the caller chose otherwise.
        notes: the same in words, for the provenance of the result; empty where the protocol is followed.
    """

    arguments: Mapping[str, Any]
    deviations: tuple[Difference, ...]
    notes: tuple[str, ...]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Protocol:
    """A published way to evaluate a model.

    Attributes:
        name: for example ``"dinov2-knn"``.
        version: raised with every change of a value.
        summary: one sentence.
        source: ``paper``, ``code``, and what of them was ``read`` to write the file.
        presumes: what lies outside the parameters: which features, which images, which split, which metric.
        defects: what is known to be wrong, or surprising, in the original.
        parameters: function to its parameters, name to value; ``"finetune[scratch]"`` has those of ``finetune`` that
            are others with ``mode="scratch"``.

    Example:
        >>> import featdiv
        >>> protocol = featdiv.protocols.get("dinov2-knn")
        >>> protocol.parameters_of("knn_probe")["k"]
        (10, 20, 100, 200)
        >>> [str(found) for found in protocol.differences({"k": 20, "temperature": 0.07}, function="knn_probe")]
        ['k: 20 instead of 10, 20, 100, 200']
    """

    name: str
    version: int
    summary: str
    source: Mapping[str, str]
    presumes: Mapping[str, str]
    defects: tuple[str, ...]
    parameters: Mapping[str, Mapping[str, Any]]

    @property
    def identity(self) -> str:
        """Name and version, as provenance records them: ``"dinov2-knn@1"``."""
        return f"{self.name}@{self.version}"

    def parameters_of(self, function: str, *, mode: str | None = None) -> Mapping[str, Any]:
        """Returns the parameters that the protocol prescribes for a function, name to value.

        Args:
            function: for example ``"finetune"``.
            mode: value of its argument ``mode``, where the protocol prescribes something else for some of them.

        Raises:
            InputError: if it prescribes none; the message says for which functions it does.
        """
        if function not in self.parameters:
            raise InputError(
                f"{function}: protocol: {self.name!r} prescribes nothing for {function}; it is a protocol for "
                f"{', '.join(self.parameters)}"
            )
        special = self.parameters.get(f"{function}[{mode}]", {})
        return MappingProxyType({**self.parameters[function], **special})

    def differences(self, actual: Mapping[str, Any], *, function: str | None = None) -> tuple[Difference, ...]:
        """Returns the parameters in which ``actual`` contradicts the protocol.

        Args:
            actual: name to value; names that the protocol does not prescribe, and parameters that are missing here,
                are no contradictions. A ``mode`` among them chooses what is prescribed; see `parameters_of`.
            function: whose parameters they are; None for the protocol's one probe.

        Raises:
            InputError: if the protocol has no such function, or several probes and ``function`` is None.
        """
        function = self._probe() if function is None else function
        return tuple(
            Difference(function=function, parameter=name, expected=expected, actual=values.plain(actual[name]))
            for name, expected in self.parameters_of(function, mode=actual.get("mode")).items()
            if name in actual and not values.same(actual[name], expected)
        )

    def unrecorded(self, actual: Mapping[str, Any], *, function: str | None = None) -> tuple[str, ...]:
        """Returns the names of the parameters that the protocol prescribes and ``actual`` does not mention."""
        function = self._probe() if function is None else function
        return tuple(name for name in self.parameters_of(function, mode=actual.get("mode")) if name not in actual)

    def resolve(self, function: str, given: Mapping[str, Any], defaults: Mapping[str, Any]) -> Resolution:
        """Returns the arguments of a call that asked for this protocol.

        A parameter that is at its default takes the protocol's value. Another value stays, as a deviation that the
        result records: a part of a protocol, knowingly, is a fair thing to run, and never a silent one.

        Args:
            function: name of the function that is called.
            given: its arguments, name to value.
            defaults: what each would be, had the caller not mentioned it.

        Raises:
            InputError: if the protocol prescribes nothing for the function.
        """
        prescribed = self.parameters_of(function, mode=given.get("mode"))
        arguments = {
            name: prescribed[name]
            if name in prescribed and name in defaults and values.same(value, defaults[name])
            else value
            for name, value in given.items()
        }
        deviations = self.differences(arguments, function=function)
        notes = tuple(f"departs from protocol {self.identity}: {deviation}" for deviation in deviations)
        return Resolution(arguments=MappingProxyType(arguments), deviations=deviations, notes=notes)

    def to_dict(self) -> dict[str, Any]:
        """Returns a JSON-safe dictionary of all fields."""
        return {
            "name": self.name,
            "version": self.version,
            "summary": self.summary,
            "source": dict(self.source),
            "presumes": dict(self.presumes),
            "defects": list(self.defects),
            "parameters": {function: dict(items) for function, items in self.parameters.items()},
        }

    def _probe(self) -> str:
        probes = [function for function in self.parameters if function.endswith("_probe")]
        if len(probes) != 1:
            raise InputError(
                f"Protocol.differences: function: {self.name!r} prescribes parameters of {', '.join(self.parameters)}; "
                "say which is meant"
            )
        return probes[0]


@functools.cache
def names() -> tuple[str, ...]:
    """Returns the names of all protocols, in alphabetical order.

    Example:
        >>> import featdiv
        >>> featdiv.protocols.names()
        ('dinov2-knn', 'dinov2-logreg', 'ericsson2021', 'kornblith2019')
    """
    files = resources.files(__name__).iterdir()
    return tuple(sorted(file.name.removesuffix(".toml") for file in files if file.name.endswith(".toml")))


@functools.cache
def get(name: str) -> Protocol:
    """Returns the protocol of that name.

    Raises:
        InputError: if there is none; the message lists those that there are.

    Example:
        >>> import featdiv
        >>> featdiv.protocols.get("dinov2-logreg").parameters_of("linear_probe")["C"][0]
        1e-06
    """
    if name not in names():
        raise InputError(f"protocols.get: name: expected one of {', '.join(names())}; got {name!r}")
    content = tomllib.loads((resources.files(__name__) / f"{name}.toml").read_text(encoding="utf-8"))
    return Protocol(
        name=content["name"],
        version=content["version"],
        summary=content["summary"],
        source=MappingProxyType(content["source"]),
        presumes=MappingProxyType(content["presumes"]),
        defects=tuple(content["defects"]),
        parameters=MappingProxyType(
            {
                function: MappingProxyType({key: values.parsed(value) for key, value in items.items()})
                for function, items in content["parameters"].items()
            }
        ),
    )
