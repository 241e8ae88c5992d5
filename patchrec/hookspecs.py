"""The hooks a plugin may implement. A plugin is a module behind an entry point of group `patchrec`."""

from collections.abc import Iterable

from pluggy import HookimplMarker, HookspecMarker

from patchrec.recommender import Kind
from patchrec.strategy import Strategy

hookspec = HookspecMarker("patchrec")
hookimpl = HookimplMarker("patchrec")


@hookspec
def patchrec_strategies() -> Iterable[Strategy]:  # type: ignore[empty-body]
    """Return the compression strategies this plugin brings."""


@hookspec
def patchrec_recommenders() -> Iterable[Kind]:  # type: ignore[empty-body]
    """Return the kinds of recommender this plugin brings."""
