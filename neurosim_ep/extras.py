"""Packages that are not installed unless somebody asks for them."""

from __future__ import annotations

from importlib.util import find_spec

from neurosim_ep.errors import UsageError


def require_extra(wanted: str, extra: str, module: str) -> None:
    """Raise :class:`UsageError`, naming what ``wanted`` it and the ``extra`` of this package that brings it, where
    ``module`` is not installed.
    """
    if find_spec(module) is None:
        raise UsageError(
            f"{wanted}: needs the package {module.partition('.')[0]}, which is not installed; install it with "
            f"pip install 'neurosim-ep[{extra}]'"
        )
