"""The reconciler: makes the venue agree with what is wanted, at most once, and says honestly what is true.

``decide.decide`` chooses, ``fold.fold`` takes in, ``engine.Reconciler`` acts; all other modules serve these three.
"""

from exchange_kernel.reconcile.proof import proves_dead
from exchange_kernel.reconcile.queue import MemoryQueue, Priority, WorkQueue
from exchange_kernel.reconcile.session import Settings

__all__ = ["MemoryQueue", "Priority", "Settings", "WorkQueue", "proves_dead"]
