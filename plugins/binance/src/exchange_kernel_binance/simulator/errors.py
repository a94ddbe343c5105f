"""Binance's errors: code, message word for word, HTTP status.

Source: binance-spot-api-docs, errors.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class ApiError(Exception):
    """What a client gets: `{"code": code, "msg": message}` with an HTTP status, and `data` where Binance has it."""

    def __init__(
        self,
        code: int,
        message: str,
        status: int = 400,
        data: Mapping[str, Any] | None = None,
        retry_after: int | None = None,
    ) -> None:
        super().__init__(f"{code} {message}")
        self.code = code
        self.message = message
        self.status = status
        self.data = data
        self.retry_after = retry_after

    def payload(self) -> dict[str, Any]:
        """The body as sent."""
        body: dict[str, Any] = {"code": self.code, "msg": self.message}
        if self.data is not None:
            body["data"] = dict(self.data)
        return body


def rejected(message: str) -> ApiError:
    """-2010: refused by the matching engine."""
    return ApiError(-2010, message)


def not_cancelled(message: str = "Unknown order sent.") -> ApiError:
    """-2011: the cancel was refused."""
    return ApiError(-2011, message)


def no_such_order() -> ApiError:
    """-2013."""
    return ApiError(-2013, "Order does not exist.")


def filter_failure(name: str) -> ApiError:
    """-1013: a filter refused the order before the matching engine saw it."""
    return ApiError(-1013, f"Filter failure: {name}")


def missing(name: str) -> ApiError:
    """-1102: a mandatory parameter."""
    return ApiError(-1102, f"Mandatory parameter '{name}' was not sent, was empty/null, or malformed.")


def either(first: str, second: str) -> ApiError:
    """-1102: one of two."""
    return ApiError(-1102, f"Param '{first}' or '{second}' must be sent, but both were empty/null!")


def not_required(name: str) -> ApiError:
    """-1106: a parameter that this order type doesn't take."""
    return ApiError(-1106, f"Parameter '{name}' sent when not required.")


def illegal(name: str, pattern: str) -> ApiError:
    """-1100: characters that the parameter doesn't allow."""
    return ApiError(-1100, f"Illegal characters found in parameter '{name}'; legal range is '{pattern}'.")


def unread(read: int, sent: int) -> ApiError:
    """-1104: a parameter this endpoint doesn't know."""
    return ApiError(-1104, f"Not all sent parameters were read; read '{read}' parameter(s) but was sent '{sent}'.")


def invalid_data(name: str) -> ApiError:
    """-1130: a value the parameter doesn't have."""
    return ApiError(-1130, f"Data sent for parameter '{name}' is not valid.")


INVALID_SYMBOL = (-1121, "Invalid symbol.")
INSUFFICIENT_BALANCE = "Account has insufficient balance for requested action."
WOULD_TRIGGER = "Order would trigger immediately."
WOULD_MATCH = "Order would immediately match and take."
DUPLICATE = "Duplicate order sent."
MARKET_CLOSED = "Market is closed."
BAD_PRICES = "The relationship of the prices for the orders is not correct."
EXECUTION_UNKNOWN = "Timeout waiting for response from backend server. Send status unknown; execution status unknown."
