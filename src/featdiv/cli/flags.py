"""Messages that name arguments of Python, in the words of the shell: nonfinite='drop' is --nonfinite drop there."""

from __future__ import annotations

import re
from contextvars import ContextVar
from typing import Any

from typer.core import TyperCommand

from featdiv.errors import FeatdivError

_OPEN = re.compile(r"^featdiv\.open: (?:source: )?")
_ARGUMENT = re.compile(r"\b([a-z_]+)=(?:'([^']*)'|(-?\d[\w.]*)|(True|False)|(?=[\s,;.)]|$))")

running: ContextVar[TyperCommand | None] = ContextVar("running", default=None)
"""The command that runs, whose flags its remarks name."""


class Command(TyperCommand):
    """A command whose errors name its flags."""

    def invoke(self, ctx: Any) -> Any:
        """Runs it."""
        before = running.set(self)
        try:
            return super().invoke(ctx)
        except FeatdivError as error:
            error.args = (in_shell(str(error), self), *error.args[1:])
            raise
        finally:
            running.reset(before)


def in_shell(message: str, command: Any) -> str:
    """Returns a message with Python arguments rewritten as flags, where the command has such a flag.

    Flags of one letter are left alone: ``k=5 uniform`` is the name of a score.

    Args:
        message: of an error.
        command: with ``params``.
    """
    flags = {
        param.name: param
        for param in command.params
        if param.param_type_name == "option"
        and not (param.is_flag and param.secondary_opts)
        and any(name.startswith("--") for name in param.opts)
    }

    def flag(found: re.Match[str]) -> str:
        param = flags.get(found[1])
        if param is None or param.is_flag != (found[4] is not None) or found[4] == "False":
            return found[0]
        value = found[2] if found[2] is not None else found[3]
        name = max(param.opts, key=len)
        return name if value is None else f"{name} {value}"

    # Nobody in a shell called featdiv.open; which file is meant stands in the message.
    return _ARGUMENT.sub(flag, _OPEN.sub("", message))
