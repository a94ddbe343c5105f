"""The reconciler: makes the venue agree with what is wanted, at most once, and says honestly what is true.

``engine.Reconciler`` runs: ``decide.decide`` chooses, ``sending.Sender`` changes the venue, ``looking.look`` reads it,
``fold.fold`` takes in what it says; all other modules serve these.
"""

from exchange_kernel.reconcile.proof import proves_dead
from exchange_kernel.reconcile.queue import MemoryQueue, Priority, WorkQueue
from exchange_kernel.reconcile.session import Settings

__all__ = ["MemoryQueue", "Priority", "Settings", "WorkQueue", "proves_dead"]
