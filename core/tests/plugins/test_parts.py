"""What plugins bring besides venues: admission checks, sinks of events, health checks and commands."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from core.tests.plugins.distributions import HEAD, exk, loaded, publish, python, venues

RISK = """
    import time
    from exchange_kernel.orders.admission import Denial

    class Risk:
        def __init__(self, settings):
            self.most = int(settings["most"])
        def __call__(self, request):
            with open("asked.txt", "a") as file:
                print(request.action, request.account, request.order.amount, request.notional, file=file)
            if request.order.amount > self.most:
                yield Denial("amount", f"must be at most {self.most}", "order less")
            if "book" not in request.labels:
                yield Denial("labels", "must name the book")

    class Silent:
        def __init__(self, settings): pass
        def __call__(self, request): return None

    class Raises:
        def __init__(self, settings): pass
        def __call__(self, request): raise ZeroDivisionError("risk / 0")

    class Quits:
        def __init__(self, settings): pass
        def __call__(self, request): raise SystemExit(3)

    class Later:
        def __init__(self, settings): pass
        async def __call__(self, request): return []

    class Cannot:
        def __init__(self, settings): raise KeyError("most")

    class Sink:
        def __init__(self, settings, secrets):
            self.file, self.token = settings["file"], secrets.get("token", "")
        async def position(self, account):
            return len([row for row in self.rows() if row[0] == account])
        async def write(self, account, events):
            if settings_fail():
                raise ConnectionError("the wire is cut")
            with open(self.file, "a") as file:
                for event in events:
                    print(json.dumps([account, event.seq, event.kind, self.token]), file=file)
        async def close(self):
            with open(self.file + ".closed", "w"): pass
        def rows(self):
            try:
                return [json.loads(line) for line in open(self.file)]
            except FileNotFoundError:
                return []

    import json, os, click
    def settings_fail():
        return os.path.exists("cut")

    class Ahead(Sink):
        async def position(self, account): return 10**6

    class NoSink:
        def __init__(self, settings, secrets): pass

    class Well:
        async def __call__(self):
            return "" if not os.path.exists("ill") else "the node is three blocks behind"

    class Hangs:
        async def __call__(self):
            import asyncio
            if os.path.exists("ill"):
                await asyncio.Event().wait()
            return ""

    @click.command()
    @click.argument("words", nargs=-1)
    def shout(words):
        "Say it louder."
        click.echo(" ".join(words).upper())

    not_a_command = object
"""
SPECS = "from exchange_kernel.plugins import AdmissionSpec, CommandSpec, HealthSpec, SinkSpec\n"
CHECKS = ("risk", "silent", "raises", "quits", "later", "cannot")
SINKS = ("sink", "ahead", "no-sink")
PLUGIN = (
    venues("acme")
    + SPECS
    + "@hookimpl\ndef exk_admit():\n    return ["
    + ", ".join(f"AdmissionSpec('acme-{name}', 'A check', 'exk_acme_parts:{name.title()}')" for name in CHECKS)
    + ", AdmissionSpec('acme-gone', 'A check', 'exk_acme_parts:Gone')]\n"
    + "@hookimpl\ndef exk_event_sinks():\n    return ["
    + ", ".join(
        f"SinkSpec('acme-{name}', 'A sink', 'exk_acme_parts:{name.title().replace('-', '')}')" for name in SINKS
    )
    + "]\n@hookimpl\ndef exk_health_checks():\n"
    + "    return [HealthSpec('well', 'exk_acme_parts:Well'), HealthSpec('hangs', 'exk_acme_parts:Hangs')]\n"
    + "@hookimpl\ndef exk_commands():\n    return [CommandSpec('acme', 'Say it louder.', 'exk_acme_parts:shout')]\n"
)


@pytest.fixture
def desk(tmp_path: Path) -> Path:
    """A folder with a plugin that brings one of everything."""
    publish(tmp_path, "acme", PLUGIN, modules={"exk_acme_parts": RISK})
    return tmp_path


def configure(folder: Path, admission: str = "[]", sinks: str = "[]", venue: str = "acme") -> None:
    account = f"{{venue: {venue}, config: {{balances: {{USD: 100000}}}}, admission: {admission}}}"
    text = f"accounts:\n  main: {account}\n  other: {{venue: paper}}\nsinks: {sinks}\n"
    (folder / "exk.yaml").write_text(text)


def trade(folder: Path, body: str) -> Any:
    """Run the body with a started platform, and give back what it answers."""
    program = f"""
import asyncio, json, os, time
from exchange_kernel import Platform, Side, StandardOrder
from exchange_kernel.errors import ExchangeKernelError

ORDER = StandardOrder("BTC/USD", Side.BUY, "0.5", limit_price="40000")

async def main():
    async with Platform.from_file("exk.yaml") as platform:
        failures = {{name: str(error) for name, error in platform.failures.items()}}
{body}
    print(json.dumps(answer))

asyncio.run(main())
"""
    done = python(folder, program)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


REFUSALS = """
        kernel = platform["main"]
        answer = []
        for amount, labels in (("3", {}), ("0.5", {"book": "a"}), ("2", {"book": "a"})):
            order = ORDER.but(amount=amount)
            try:
                answer.append([await kernel.place_order(order, labels=labels) and "placed"])
            except ExchangeKernelError as error:
                answer.append([type(error).__name__, error.field, error.hint, *getattr(error, "reasons", ())])
        placed = [intent.intent_id for intent in await kernel.get_all_intents()]
        try:
            await kernel.modify_order(placed[0], ORDER.but(amount="4"))
        except ExchangeKernelError as error:
            answer.append([type(error).__name__, error.field])
        answer.append([str(each.order.amount) for each in await kernel.get_all_intents()])
        await kernel.cancel_order(placed[0])
        answer.append(open("asked.txt").read().splitlines())
"""


def test_what_a_check_speaks_against_is_not_written(desk: Path) -> None:
    """All that is said is told, of new orders and of changes; cancels are never asked about."""
    configure(desk, "[{use: acme-risk, config: {most: 1}}]")

    first, second, third, change, orders, asked = trade(desk, REFUSALS)

    assert first[:2] == ["AdmissionDenied", "amount"]
    assert [reason.partition(" (check")[0] for reason in first[3:]] == [
        "amount 3: must be at most 1",
        "labels '': must name the book",
    ]
    assert second == ["placed"]
    assert third[:3] == ["AdmissionDenied", "amount", "order less"]
    assert change == ["AdmissionDenied", "amount"]
    assert orders == ["0.5"]
    assert [line.split()[0] for line in asked] == ["place", "place", "place", "modify"]
    assert asked[0] == "place main 3 120000"


@pytest.mark.parametrize(
    ("check", "words"),
    [
        ("raises", "ZeroDivisionError: risk / 0"),
        ("quits", "SystemExit: 3"),
        ("silent", "TypeError: 'NoneType' object is not iterable"),
        ("later", "TypeError: 'coroutine' object is not iterable"),
    ],
)
def test_a_check_that_fails_refuses(desk: Path, check: str, words: str) -> None:
    """Fail closed: the desk asked for it, and it did not agree. The same order elsewhere is not touched by that."""
    configure(desk, f"[acme-{check}]")

    answer = trade(
        desk,
        """
        try:
            await platform["main"].place_order(ORDER)
            answer = ["placed"]
        except ExchangeKernelError as error:
            answer = [type(error).__name__, str(error)]
        answer += [len(await platform["main"].get_all_intents()), bool(await platform["other"].place_order(ORDER))]
""",
    )

    assert answer[0] == "AdmissionDenied"
    assert words in answer[1]
    assert answer[2:] == [0, True]


@pytest.mark.parametrize(
    ("admission", "words"),
    [
        ("[acme-cannot]", "exk_acme_parts:Cannot of exchange-kernel-acme cannot be made: KeyError: 'most'"),
        ("[acme-gone]", "has no attribute 'Gone'"),
        ("[acme-rsik]", "no plugin brings it; there are: acme-cannot, acme-gone"),
        ("[{use: acme-risk, plugin: exchange-kernel-paper}]", "exchange-kernel-paper does not bring it"),
        ("[{use: acme-risk, secrets: {key: 'env:HOME'}}]", "takes no secrets"),
    ],
)
def test_without_its_check_an_account_does_not_start(desk: Path, admission: str, words: str) -> None:
    """It is told by name, and the other account trades."""
    configure(desk, admission)

    failures, other = trade(desk, '        answer = [failures, bool(await platform["other"].place_order(ORDER))]')

    assert list(failures) == ["main"]
    assert words in failures["main"]
    assert other is True


def test_the_shell_is_asked_too(desk: Path) -> None:
    """`exk place` writes desired state without a kernel, and passes the same checks."""
    configure(desk, "[{use: acme-risk, config: {most: 1}}]")
    trade(desk, "        answer = 0")

    refused = exk(desk, "place", "BTC/USD", "buy", "2", "--limit", "40000", "-A", "main")
    taken = exk(desk, "place", "BTC/USD", "buy", "1", "--limit", "40000", "-A", "main", "--label", "book=a")

    assert (refused.returncode, taken.returncode) == (3, 0), refused.stderr + taken.stderr
    assert "must be at most 1" in refused.stderr


def test_events_reach_a_sink_each_once_and_in_order(desk: Path) -> None:
    """Through a cut wire and a restart: the sink says where it is, and what is missing is sent."""
    configure(desk, sinks="[{use: acme-sink, config: {file: out.jsonl}, secrets: {token: 'file:token'}}]")
    (desk / "token").write_text("sesame")
    (desk / "token").chmod(0o600)
    wait = """
        async def until(done):
            while not await done():
                await asyncio.sleep(0.02)
        async def health():
            return (await platform.health_check())["main"].components["sink acme-sink"]
"""
    first = trade(
        desk,
        wait
        + """
        open("cut", "w").close()
        await platform["main"].place_order(ORDER)
        async def cut(): return not (await health()).healthy
        await until(cut)
        answer = [(await health()).reason, platform.ready, (await platform.health_check())["main"].ready]
""",
    )
    (desk / "cut").unlink()
    trade(
        desk,
        wait
        + """
        await platform["main"].place_order(ORDER)
        async def kept(): return (await platform.store.account_row("main")).event_seq <= len(
            [1 for line in open("out.jsonl") if '"main"' in line]) if os.path.exists("out.jsonl") else False
        await until(kept)
        answer = 0
""",
    )
    rows = [json.loads(line) for line in (desk / "out.jsonl").read_text().splitlines()]

    assert first == ["ConnectionError: the wire is cut", True, True]
    assert [row[1] for row in rows if row[0] == "main"] == list(range(1, 1 + sum(row[0] == "main" for row in rows)))
    assert {row[3] for row in rows} == {"sesame"}
    assert sum(row[2] == "IntentCreated" for row in rows) == 2
    assert (desk / "out.jsonl.closed").exists()


@pytest.mark.parametrize(
    ("sink", "words"),
    [
        ("{use: acme-ahead, config: {file: x}}", "it belongs to another store, or this one lost events"),
        ("{use: acme-no-sink}", "exk_acme_parts:NoSink made no sink"),
        ("{use: acme-sink}", "KeyError: 'file'"),
        ("acme-snik", "no plugin brings it"),
    ],
)
def test_a_sink_that_does_not_work_is_told_and_hurts_nobody(desk: Path, sink: str, words: str) -> None:
    """It is a component of the account's health; the account runs, and is ready."""
    configure(desk, sinks=f"[{sink}]")

    reason, running, ready = trade(
        desk,
        """
        while True:
            health = (await platform.health_check())["main"]
            found = [part for name, part in health.components.items() if name.startswith("sink ")][0]
            if not found.healthy:
                break
            await asyncio.sleep(0.02)
        answer = [found.reason, sorted(platform.running), health.ready]
""",
    )

    assert words in reason
    assert (running, ready) == (["main", "other"], True)


def test_a_plugin_tells_how_it_is(desk: Path) -> None:
    """A component of the accounts at its venues only; one that does not answer is unwell after two seconds."""
    configure(desk)

    well, ill, hangs, other = trade(
        desk,
        """
        first = await platform.health_check()
        open("ill", "w").close()
        second = await platform.health_check()
        answer = [first["main"].components["check well"].healthy, second["main"].components["check well"].reason,
                  second["main"].components["check hangs"].reason,
                  [name for name in second["other"].components if name.startswith("check ")]]
""",
    )

    assert well is True
    assert ill == "the node is three blocks behind"
    assert hangs == "no answer in 2 s"
    assert other == []


def test_a_plugin_has_commands_under_its_own_name(desk: Path) -> None:
    """`exk acme`, with its own help; a name that nobody has is told as before."""
    said, help_text, unknown = exk(desk, "acme", "buy", "low"), exk(desk, "acme", "--help"), exk(desk, "acne")

    assert (said.stdout, said.returncode) == ("BUY LOW\n", 0)
    assert "Say it louder." in help_text.stdout
    assert unknown.returncode == 2
    assert "no command 'acne'" in unknown.stderr


def test_a_command_that_is_not_allowed_is_not_there(desk: Path) -> None:
    """The allow-list holds for commands, wherever the configuration is; one that cannot be read allows none."""
    configure(desk)
    text = (desk / "exk.yaml").read_text()
    (desk / "other.yaml").write_text(f"plugins: {{allow: [exchange-kernel-paper]}}\n{text}")

    blocked = exk(desk, "acme", "x", EXK_CONFIG="other.yaml")
    (desk / "exk.yaml").write_text("accounts: [")
    unreadable = exk(desk, "acme", "x")

    assert (blocked.returncode, unreadable.returncode) == (2, 2)


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("CommandSpec('place', 'x', 'a:b')", "has a command place, and may only have acme"),
        ("CommandSpec('paper', 'x', 'a:b')", "has a command paper, and may only have acme"),
        ("CommandSpec('acme', 'x', 'a:b'), CommandSpec('acme', 'y', 'a:c')", "exk_commands names acme twice"),
        ("CommandSpec('acme', 'two\\nlines', 'a:b')", "must be a line of text"),
        ("AdmissionSpec('acme', 'x', 'a:b')", "returned AdmissionSpec among its values"),
    ],
)
def test_no_plugin_takes_another_s_command(tmp_path: Path, source: str, words: str) -> None:
    """A command has its plugin's name or one of its venues': nothing of the core or of others can be shadowed."""
    hook = f"@hookimpl\ndef exk_commands():\n    return [{source}]\n"
    publish(tmp_path, "acme", HEAD + SPECS + hook)

    found = loaded(tmp_path)["acme"]

    assert found["status"] == "broken"
    assert words in found["error"]


def test_two_plugins_may_bring_parts_of_one_name(desk: Path) -> None:
    """The configuration says which is meant; without a word nothing is guessed."""
    publish(
        desk,
        "rival",
        HEAD
        + SPECS
        + "@hookimpl\ndef exk_admit():\n    return [AdmissionSpec('acme-risk', 'x', 'exk_acme_parts:Silent')]\n",
    )
    configure(desk, "[{use: acme-risk, config: {most: 1}}]")
    unclear = trade(desk, "        answer = failures")
    configure(desk, "[{use: acme-risk, plugin: exchange-kernel-acme, config: {most: 1}}]")
    clear = trade(desk, "        answer = failures")

    assert "exchange-kernel-acme and exchange-kernel-rival both bring it" in unclear["main"]
    assert clear == {}


def test_the_doctor_looks_at_all_of_it(desk: Path) -> None:
    """Each part is imported; what is not there is a failure."""
    done = exk(desk, "plugins", "doctor", "acme")

    assert done.returncode == 1
    assert "admission check acme-risk: exk_acme_parts:Risk" in done.stdout
    assert "sink acme-sink: exk_acme_parts:Sink" in done.stdout
    assert "health check well: exk_acme_parts:Well" in done.stdout
    assert "command acme: exk_acme_parts:shout" in done.stdout
    assert "admission check acme-gone: exk_acme_parts:Gone cannot be imported" in done.stdout
