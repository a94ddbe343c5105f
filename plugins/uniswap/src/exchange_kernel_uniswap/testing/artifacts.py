"""Uniswap's own compiled contracts, read from its npm packages into one cached file; nothing of it is shipped."""

from __future__ import annotations

import json
import re
import tarfile
import tempfile
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

from exchange_kernel_evm.testing.cache import cached
from exchange_kernel_evm.testing.errors import TestChainError
from exchange_kernel_evm.testing.npm import pack

__all__ = ["Artifacts", "artifacts"]

Artifacts = Mapping[str, Mapping[str, Any]]
"""By contract: `abi`, and `code`, the creation code as hex (of Permit2, the runtime code)."""

_V3_PERIPHERY: Final = "artifacts/contracts"
_PACKAGES: Final = {
    "@uniswap/v2-core@1.0.1": {"V2Factory": "build/UniswapV2Factory.json"},
    "@uniswap/v2-periphery@1.1.0-beta.0": {
        "WETH": "build/WETH9.json",
        "V2Router02": "build/UniswapV2Router02.json",
        "FeeToken": "build/DeflatingERC20.json",
    },
    "@uniswap/v3-core@1.0.1": {
        "V3Factory": "artifacts/contracts/UniswapV3Factory.sol/UniswapV3Factory.json",
        "V3Pool": "artifacts/contracts/UniswapV3Pool.sol/UniswapV3Pool.json",
    },
    "@uniswap/v3-periphery@1.4.4": {
        "PositionManagerV3": f"{_V3_PERIPHERY}/NonfungiblePositionManager.sol/NonfungiblePositionManager.json",
        "SwapRouter": f"{_V3_PERIPHERY}/SwapRouter.sol/SwapRouter.json",
        "QuoterV2": f"{_V3_PERIPHERY}/lens/QuoterV2.sol/QuoterV2.json",
        "TickLens": f"{_V3_PERIPHERY}/lens/TickLens.sol/TickLens.json",
    },
    "@uniswap/swap-router-contracts@1.3.1": {"SwapRouter02": "artifacts/contracts/SwapRouter02.sol/SwapRouter02.json"},
    "@uniswap/universal-router@2.0.0": {
        "UniversalRouter": "artifacts/contracts/UniversalRouter.sol/UniversalRouter.json"
    },
    "@uniswap/universal-router@2.1.0": {
        "UniversalRouter21": "artifacts/contracts/UniversalRouter.sol/UniversalRouter.json"
    },
    "@uniswap/v4-core@1.0.2": {
        "PoolManager": "out/PoolManager.sol/PoolManager.json",
        "Token": "out/mocks/MockERC20.sol/MockERC20.json",
    },
    "@uniswap/v4-periphery@1.0.3": {
        "PositionManagerV4": "foundry-out/PositionManager.sol/PositionManager.json",
        "V4Quoter": "foundry-out/V4Quoter.sol/V4Quoter.json",
        "StateView": "foundry-out/StateView.sol/StateView.json",
        "Permit2": "lib/permit2/test/utils/DeployPermit2.sol",
    },
    "viem@2.57.20": {"Multicall3": "constants/contracts.ts"},
}
# Where a package has no compiled file: the hex in its source.
_IN_SOURCE: Final = {
    "Permit2": re.compile(rb'hex"([0-9a-f]+)"'),
    "Multicall3": re.compile(rb"multicall3Bytecode\s*=\s*['\"]0x([0-9a-f]+)"),
}
_FILE: Final = "artifacts.json"
# Another selection is another file.
_NAME: Final = "uniswap-" + sha256(json.dumps(_PACKAGES, sort_keys=True).encode()).hexdigest()[:16]


@cache
def artifacts() -> Artifacts:
    """The contracts, fetched by npm once per user.

    :raises TestChainError: they are not in the cache and npm cannot fetch them.
    """
    found: Artifacts = json.loads((cached(_NAME, _fetch) / _FILE).read_bytes())
    return found


def _fetch(folder: Path) -> None:
    with ThreadPoolExecutor(4) as several:
        parts = list(several.map(_contracts, _PACKAGES))
    merged = {name: contract for part in parts for name, contract in part.items()}
    (folder / _FILE).write_text(json.dumps(merged))


def _contracts(package: str) -> dict[str, dict[str, Any]]:
    with tempfile.TemporaryDirectory(prefix="exk-npm-") as folder, tarfile.open(pack(package, Path(folder))) as tar:
        found = {}
        for name, path in _PACKAGES[package].items():
            source = tar.extractfile(f"package/{path}")
            assert source is not None
            found[name] = _contract(name, source.read())
        return found


def _contract(name: str, text: bytes) -> dict[str, Any]:
    if name in _IN_SOURCE:
        code = _IN_SOURCE[name].search(text)
        if code is None:
            raise TestChainError(f"the code of {name} is not where it was: was the pinned npm package changed?")
        return {"abi": [], "code": code[1].decode()}
    content = json.loads(text)
    code_field = content.get("bytecode") or content["evm"]["bytecode"]
    code_text: str = code_field["object"] if isinstance(code_field, dict) else code_field
    return {"abi": content["abi"], "code": code_text.removeprefix("0x")}
