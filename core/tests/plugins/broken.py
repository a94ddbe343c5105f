"""One plugin for every way of being broken, and what is said about each."""

from __future__ import annotations

from pathlib import Path

from core.tests.plugins.distributions import HEAD, publish, venues

# Name to source, and what its error must say.
SOURCES: dict[str, tuple[str, str]] = {
    "import_error": ("import nothing_of_this_name", "ModuleNotFoundError: No module named 'nothing_of_this_name'"),
    "import_name": ("from json import no_such_name", "ImportError: cannot import name 'no_such_name'"),
    "syntax": ("this is no python", "SyntaxError"),
    "exits": ("import sys\nsys.exit(3)", "SystemExit: 3"),
    "divides": ("\n\n1 / 0", "ZeroDivisionError: division by zero (broken/exk_divides.py, line 3)"),
    "words": (
        "class Mute(Exception):\n    def __str__(self):\n        raise RuntimeError\n\nraise Mute",
        "Mute: (its text cannot be shown)",
    ),
    "dies": ("import os\nos._exit(7)", "ends the process that imports it (exit code 7)"),
    "killed": (
        "import os, signal\nos.kill(os.getpid(), signal.SIGKILL)",
        "imports it (signal SIGKILL)",
    ),
    "interrupts": ("raise KeyboardInterrupt", "ends the process that imports it"),
    "sleeps": (
        "import time\n\ntime.sleep(600)",
        "after 1 s (in <module>, broken/exk_sleeps.py, line 3)",
    ),
    "spins": ("while True:\n    pass", "blocks: not done after 1 s (in <module>, broken/exk_spins.py, line"),
    "hook_raises": (
        f"{HEAD}\n@hookimpl\ndef exk_venues():\n    raise ValueError('no good')",
        "exk_venues raised ValueError: no good (",
    ),
    "hook_exits": (f"{HEAD}\n@hookimpl\ndef exk_venues():\n    raise SystemExit", "exk_venues raised SystemExit"),
    "hook_blocks": (
        f"{HEAD}import threading\n@hookimpl\ndef exk_venues():\n    threading.Event().wait()",
        "blocks: not done after 1 s (in exk_venues, broken/exk_hook_blocks.py, line 5)",
    ),
    "hook_yields": (
        f"{HEAD}\n@hookimpl\ndef exk_venues():\n    yield 1 / 0",
        "exk_venues raised ZeroDivisionError",
    ),
    "hook_endless": (
        f"{HEAD}import itertools\n@hookimpl\ndef exk_venues():\n    return itertools.repeat(1)",
        "exk_venues returned more than 100 values",
    ),
    "hook_async": (f"{HEAD}\n@hookimpl\nasync def exk_venues():\n    return []", "exk_venues is asynchronous"),
    "hook_none": (f"{HEAD}\n@hookimpl\ndef exk_venues():\n    pass", "it returned NoneType, and must return VenueSpec"),
    "hook_text": (
        f"{HEAD}\n@hookimpl\ndef exk_venues():\n    return 'acme'",
        "it returned str, and must",
    ),
    "hook_dicts": (
        f"{HEAD}\n@hookimpl\ndef exk_venues():\n    return [{{'name': 'acme'}}]",
        "exk_venues returned dict among its values: they must be VenueSpec",
    ),
    "hook_wrapper": (
        f"{HEAD}\n@hookimpl(wrapper=True)\ndef exk_venues():\n    return (yield)",
        "exk_venues is a hook wrapper",
    ),
    "unknown_hook": (
        f"{HEAD}\n@hookimpl\ndef exk_venue():\n    return []",
        "no hook: did you mean exk_venues",
    ),
    "wrong_argument": (f"{HEAD}\n@hookimpl\ndef exk_venues(config):\n    return []", "exk_venues(config)"),
    "unmarked": ("def exk_venues():\n    return []", "exk_venues is not marked: put @hookimpl above it"),
    "empty": ("x = 1", "it implements no hook: there are exk_venues"),
    "bad_name": (venues("Bad Name"), "name 'Bad Name': is no venue name"),
    "bad_target": (venues("bad-target", target="no target"), "factory 'no target': must be 'package.module:Class'"),
    "bad_kind": (
        f"{HEAD}\n@hookimpl\ndef exk_venues():\n    return [VenueSpec('odd', 'Odd', 'bank', 'a:B')]",
        "kind 'bank': must be one of cex, dex, sim",
    ),
    "twice": (venues("same", "same"), "exk_venues names venue same twice"),
    "later_contract": (
        venues("later", more=", api=(2, 0)"),
        "venue later is written for version 2.0 of",
    ),
    "newer_minor": (venues("newer", more=", api=(1, 99)"), "venue newer is written for version 1.99 of"),
    "stray_harness": (
        f"{HEAD}\n@hookimpl\ndef exk_conformance():\n    return [HarnessSpec('elsewhere', 'a:B')]",
        "exk_conformance has a harness for elsewhere, which is no venue of this plugin",
    ),
}
BLOCKING = ("sleeps", "spins", "hook_blocks")


def publish_broken(folder: Path, *names: str) -> None:
    """Install the broken plugins of these names, or all."""
    for name in names or SOURCES:
        publish(folder, name, SOURCES[name][0])
