"""Orders as files: read strictly, compared with what is stored, and made so."""

from __future__ import annotations

from exchange_kernel.manifests.faults import Fault, ManifestError
from exchange_kernel.manifests.plan import Action, Step, changes, fixed_faults, plan
from exchange_kernel.manifests.reading import API_VERSION, APPLIED, Declared, Source, find_files, read_manifests

__all__ = [
    "API_VERSION",
    "APPLIED",
    "Action",
    "Declared",
    "Fault",
    "ManifestError",
    "Source",
    "Step",
    "changes",
    "find_files",
    "fixed_faults",
    "plan",
    "read_manifests",
]
