"""A module that ends the interpreter, or never returns, does that to a child: `check` and `up` say so, with the place."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from nodes import until
from sovereign.runtime import limits
from sovereign.runtime.errors import PluginError
from sovereign.topology import Mistake, examine, registry
from sovereign.topology.cpus import Machine
from sovereign.topology.importing import own_folder, trials
from sovereign.topology.mistake import render

HOST = Machine(4, frozenset(range(4)))
HEAD = 'node.name = "demo"\nnode.audit = false\n'
FEED = '[actors.feed]\nkind = "topology_kinds:Feed"\n'
STRATEGY = """
import numpy as np
from sovereign.actors.strategy import Strategy
from sovereign.messages.orders import NewOrder
from sovereign.runtime.message import Message
from topology_kinds import Price

class Mine(Strategy):
    @staticmethod
    def on_price(event: Price, state: Message, params: Message, out: NewOrder) -> int:
        return 0
"""


def module(folder: Path, text: str) -> str:
    """A module of that text, which writes down each import of it in a file `times`; its name, used nowhere else."""
    name = f"tried{os.getpid()}x{time.monotonic_ns()}"
    count = f"open({str(folder / 'times')!r}, 'a').write('once\\n')\n"
    (folder / f"{name}.py").write_text(count + text)
    return name


def imports(folder: Path) -> int:
    """How often modules of the folder were imported, in whatever process."""
    times = folder / "times"
    return len(times.read_text().splitlines()) if times.exists() else 0


def topology(folder: Path, name: str) -> Path:
    """A topology whose strategy is `name:Mine`."""
    taker = f'[actors.taker]\nkind = "strategy"\nplugin = "{name}:Mine"\ninputs = ["feed"]\n'
    file = folder / "t.toml"
    file.write_text(HEAD + FEED + taker)
    return file


def only(folder: Path, name: str) -> Mistake:
    """The one mistake of that topology, which stands under the value of `plugin`."""
    file = topology(folder, name)
    found = examine(file, (), HOST).mistakes
    assert len(found) == 1, "\n\n".join(map(render, found))
    place = found[0].place
    assert place is not None
    assert (place.line, place.column) == (7, 10)
    return found[0]


ENDINGS = [
    ("sys.exit", "import sys\nsys.exit(3)\n", "it calls sys.exit(3)", 3),
    ("SystemExit of its own", "class Gone(SystemExit): pass\nraise Gone()\n", "sys.exit(None)", 3),
    ("Ctrl-C of its own", "raise KeyboardInterrupt\n", "KeyboardInterrupt", 2),
    ("any other", "class Odd(BaseException): pass\nraise Odd('x')\n", "Odd: x", 3),
    ("a segfault", "import ctypes\nctypes.string_at(0)\n", "SIGSEGV ends the process", 3),
    ("abort", "import os\nos.abort()\n", "SIGABRT ends the process", 3),
    ("a kill", "import os\nos.kill(os.getpid(), 9)\n", "SIGKILL ends the process", 0),
    ("an exit past Python", "import os\nos._exit(4)\n", "with exit code 4", 0),
    ("an exit that looks well", "import os\nos._exit(0)\n", "with exit code 0", 0),
    ("a syntax error", "def f(:\n", "SyntaxError: invalid syntax", 2),
    ("what it needs is not there", "import nothing_there\n", 'no module "nothing_there"', 2),
    ("an error", "x = 1\ny = x // 0\n", "ZeroDivisionError", 3),
]


@pytest.mark.parametrize(
    ("text", "said", "line"), [one[1:] for one in ENDINGS], ids=[one[0] for one in ENDINGS]
)
def test_an_import_that_ends_badly_is_one_mistake(
    tmp_path: Path, text: str, said: str, line: int
) -> None:
    name = module(tmp_path, text)
    found = only(tmp_path, name)
    assert f'"{name}:Mine" does not import: ' in found.what
    assert said in found.what
    assert imports(tmp_path) <= 1, "what failed is not tried again, and not in this process"
    if line:
        assert f"{name}.py:{line}" in found.got


@pytest.mark.parametrize("wait", ["while True: pass\n", "import time\ntime.sleep(600)\n"])
def test_an_import_that_never_returns_is_told_of_and_ended(
    tmp_path: Path, wait: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(limits, "PLUGIN_IMPORT_LIMIT_S", 1.5)
    monkeypatch.setattr(limits, "PLUGIN_IMPORT_NOTICE_S", 0.2)
    name = module(
        tmp_path, f"import os\nopen({str(tmp_path / 'pid')!r}, 'w').write(str(os.getpid()))\n{wait}"
    )
    found = only(tmp_path, name)
    assert "it was not done after 1.5 s" in found.what
    assert f"{name}.py:" in found.got
    assert capfd.readouterr().err == f"importing {name}…\n"
    assert not Path(f"/proc/{(tmp_path / 'pid').read_text()}").exists()


def test_what_a_trial_starts_ends_with_it(tmp_path: Path) -> None:
    said = tmp_path / "pid"
    text = f"import subprocess\np = subprocess.Popen(['sleep', '600'])\nopen({str(said)!r}, 'w').write(str(p.pid))\nraise ValueError\n"
    only(tmp_path, module(tmp_path, text))
    stat = Path(f"/proc/{said.read_text()}/stat")
    until(lambda: not stat.exists() or stat.read_text().rpartition(")")[2].split()[0] == "Z")


def test_a_good_module_is_tried_once_and_imported_once(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    name = module(tmp_path, "print('hello')\n" + STRATEGY)
    assert examine(topology(tmp_path, name), (), HOST).mistakes == ()
    assert imports(tmp_path) == 2
    assert capfd.readouterr().out == "hello\n", "what it prints is seen once"
    assert examine(topology(tmp_path, name), (), HOST).mistakes == ()
    assert imports(tmp_path) == 2, "what is imported needs no trial"


def test_an_actors_process_makes_no_trial(tmp_path: Path) -> None:
    name = module(tmp_path, "import sys\nsys.exit(3)\n")
    own_folder(str(tmp_path))
    for _ in range(2):
        with pytest.raises(PluginError, match=r"sys\.exit\(3\)"):
            registry.actor_class(f"{name}:Mine")
    assert imports(tmp_path) == 2
    with trials():
        for _ in range(2):
            with pytest.raises(PluginError, match=r"sys\.exit\(3\)"):
                registry.actor_class(f"{name}:Mine")
    assert imports(tmp_path) == 3


@pytest.mark.parametrize("verb", ["check", "up", "graph"])
def test_no_verb_ends_without_a_word(tmp_path: Path, verb: str) -> None:
    file = topology(tmp_path, module(tmp_path, "import sys\nsys.exit(3)\n"))
    done = _cli(verb, str(file))
    assert done.returncode == 2
    assert "it calls sys.exit(3)" in done.stdout + done.stderr
    assert "1 mistake" in done.stdout + done.stderr


@pytest.mark.parametrize("verb", ["check", "up"])
def test_ctrl_c_ends_the_trial_too(tmp_path: Path, verb: str) -> None:
    """`up` ends at once then, without unwinding: the kernel ends the child with it."""
    said = tmp_path / "pid"
    text = f"import os\nopen({str(said)!r}, 'w').write(str(os.getpid()))\nwhile True: pass\n"
    file = topology(tmp_path, module(tmp_path, text))
    with subprocess.Popen(
        [*_COMMAND, verb, str(file)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=_env()
    ) as process:
        until(lambda: said.exists() and said.read_text(), seconds=60)
        assert process.stderr is not None
        assert process.stderr.readline().startswith(b"importing tried")
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 130
    stat = Path(f"/proc/{said.read_text()}/stat")
    until(lambda: not stat.exists() or stat.read_text().rpartition(")")[2].split()[0] == "Z")


_COMMAND = [sys.executable, "-P", "-m", "sovereign.cli.main"]


def _env() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(Path(__file__).parent / "plugins")}


def _cli(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*_COMMAND, *words], capture_output=True, text=True, timeout=120, env=_env(), check=False
    )


def test_plugins_check_gives_a_verdict() -> None:
    done = _cli("plugins", "--check")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1].endswith(" plugins: all import")
