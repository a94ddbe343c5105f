"""What the test chain raises."""

from __future__ import annotations

__all__ = ["RpcError", "TestChainError"]


class TestChainError(RuntimeError):
    """The test chain cannot be had; the message says what to do. Tests that need it fail, they are not skipped."""

    __test__ = False


class RpcError(TestChainError):
    """A node answered a call with an error.

    :ivar code: the JSON-RPC error code.
    :ivar data: what came with it, for instance a revert's data as hex.
    """

    def __init__(self, method: str, code: int, message: str, data: object = None) -> None:
        super().__init__(f"{method}: {message} (code {code}, data {data!r})")
        self.method = method
        self.code = code
        self.message = message
        self.data = data
