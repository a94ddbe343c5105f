"""The conformance kit: does an adapter keep the venue contract, proved case by case against its venue.

An author writes a :class:`Harness` (how to reach the venue, how to see its own truth, which faults can be made) and

.. code-block:: python

    class TestMyVenue(VenueConformance):
        @pytest.fixture
        def harness(self) -> Harness:
            return MyHarness()

The cases come with the kit, so a newer kit brings new ones.
"""

from exchange_kernel.testing.conformance.harness import Fault, Harness, TruthOrder
from exchange_kernel.testing.conformance.registry import Case, all_cases
from exchange_kernel.testing.conformance.report import Report, Result
from exchange_kernel.testing.conformance.run import run_cases

__all__ = ["Case", "Fault", "Harness", "Report", "Result", "TruthOrder", "all_cases", "run_cases"]
