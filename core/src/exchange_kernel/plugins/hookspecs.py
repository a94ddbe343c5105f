"""The hooks a plugin may implement. All are synchronous, take nothing, and return data.

.. code-block:: python

    from exchange_kernel.plugins import VenueSpec, hookimpl

    @hookimpl
    def exk_venues():
        return [VenueSpec("acme", "Acme Exchange", "cex", factory="exchange_kernel_acme.adapter:AcmeAdapter")]

The module that holds them is named by an entry point of the group ``exchange_kernel``. It is imported whenever plugins
are looked for, so it imports nothing heavy: adapters, harnesses and settings are named by dotted names.
"""

from __future__ import annotations

from collections.abc import Iterable

import pluggy

from exchange_kernel.plugins.specs import (
    AdmissionSpec,
    CommandSpec,
    Finding,
    HarnessSpec,
    HealthSpec,
    SinkSpec,
    VenueSpec,
)

__all__ = [
    "HOOKS",
    "PROJECT",
    "exk_admit",
    "exk_commands",
    "exk_conformance",
    "exk_doctor",
    "exk_event_sinks",
    "exk_health_checks",
    "exk_venues",
    "hookimpl",
]

PROJECT = "exchange_kernel"

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)
"""Marks a function as the implementation of the hook whose name it has."""


@hookspec
def exk_venues() -> Iterable[VenueSpec]:
    """The venues this plugin offers.

    Called once, when plugins are loaded. Two plugins that claim one venue are both refused, unless an account says
    which distribution it means.
    """
    raise NotImplementedError


@hookspec
def exk_conformance() -> Iterable[HarnessSpec]:
    """How this plugin's venues are put to the conformance cases, so that no test file is needed for it.

    Called once, when plugins are loaded. A harness's class is imported when its cases are run.
    """
    raise NotImplementedError


@hookspec
def exk_admit() -> Iterable[AdmissionSpec]:
    """Checks that a desk can put before its orders, by naming them under ``admission:`` of an account.

    Called once, when plugins are loaded. A check is called for every order that is placed or changed, before anything
    is written; it is synchronous and does no I/O. One that raises refuses the order: what was asked for is never left
    out. An account that names a check which cannot be made does not start.
    """
    raise NotImplementedError


@hookspec
def exk_event_sinks() -> Iterable[SinkSpec]:
    """Where events can be sent, by naming it under ``sinks:``.

    Called once, when plugins are loaded. Each sink gets every account's events in order, each at least once, from
    wherever the sink says it is; one that is slow or fails hurts no order and no other sink.
    """
    raise NotImplementedError


@hookspec
def exk_health_checks() -> Iterable[HealthSpec]:
    """What can be unwell in this plugin's surroundings, for ``health_check()`` of the accounts at its venues.

    Called once, when plugins are loaded. A check that raises or takes longer than two seconds is unwell.
    """
    raise NotImplementedError


@hookspec
def exk_commands() -> Iterable[CommandSpec]:
    """Commands for the shell, each under a name of the plugin's own: ``exk acme …``.

    Called once, when plugins are loaded, which ``exk`` does only for a name that is none of its own commands'.
    """
    raise NotImplementedError


@hookspec
def exk_doctor() -> Iterable[Finding]:
    """What this plugin finds out about its own surroundings: a missing library, a file it cannot read.

    Called by ``exk plugins doctor`` only, in a child process. It needs no account, and must not use any.
    """
    raise NotImplementedError


HOOKS = {
    hook.__name__: hook
    for hook in (
        exk_venues,
        exk_conformance,
        exk_admit,
        exk_event_sinks,
        exk_health_checks,
        exk_commands,
        exk_doctor,
    )
}
"""Every hook by name."""
