"""A worker's process ends with its exit code, whatever of the Kafka clients hangs."""

import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from detectors.engines.worker_cli import make_ready, worker

ROOT = Path(__file__).parents[3]
SCRIPT = """
import asyncio, atexit, socket, threading, time
from detectors.engines.ending import run_to_the_end
atexit.register(lambda: print("in order", flush=True))

async def deaf():
    while True:
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            pass

async def heir():
    try:
        await asyncio.sleep(3600)
    finally:
        asyncio.ensure_future(deaf())

async def begin(what):
    kept = asyncio.ensure_future(what)
    await asyncio.sleep(0)
    return kept

async def work():
    {work}

run_to_the_end(work())
"""
LEFT = {
    "a task that swallows that it is cancelled": "kept = await begin(deaf()); return 7",
    "a task that begins another when it is cancelled": "kept = await begin(heir()); return 7",
    "a thread that waits": (
        "threading.Thread(target=time.sleep, args=(3600,), daemon=False).start(); return 7"
    ),
    "a look-up that waits": (
        "asyncio.get_running_loop().run_in_executor(None, time.sleep, 3600); "
        "await asyncio.sleep(0.1); return 7"
    ),
}


def ended(work: str) -> subprocess.CompletedProcess[str]:
    """A process that did this work, and has ended within seconds."""
    return subprocess.run(
        [sys.executable, "-c", SCRIPT.format(work=work)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize("left", LEFT)
def test_nothing_that_hangs_keeps_the_process(left: str) -> None:
    """The exit code is that of the work, although something does not end."""
    done = ended(LEFT[left])
    assert (done.returncode, done.stdout) == (7, ""), done.stderr


def test_what_ends_is_waited_for() -> None:
    """Where nothing hangs the process ends in order, idle look-ups and cancelled tasks with it."""
    done = ended(
        "await asyncio.get_running_loop().getaddrinfo('localhost', 1); "
        "kept = await begin(asyncio.sleep(3600)); return 7"
    )
    assert (done.returncode, done.stdout) == (7, "in order\n"), done.stderr


@pytest.mark.parametrize("left", ["return 7", LEFT["a thread that waits"]])
def test_an_error_is_told_and_ends_the_process(left: str) -> None:
    """What nobody expected is told with its traceback, and the exit code is 1."""
    done = ended(left.replace("return 7", "raise ValueError('odd')"))
    assert done.returncode == 1
    assert done.stderr.rstrip().endswith("ValueError: odd")


@pytest.mark.parametrize("blocked", ["missing", "a file"])
def test_a_ready_file_that_cannot_be_made_is_named_before_the_start(
    tmp_path: Path, blocked: str
) -> None:
    """One line and exit code 2, before a broker is asked for anything."""
    folder = tmp_path / "folder"
    if blocked == "a file":
        folder.write_text("")
    done = CliRunner().invoke(worker, ["--ready-file", str(folder / "ready")])
    why = "No such file or directory" if blocked == "missing" else "Not a directory"
    assert done.exit_code == 2
    assert done.stderr == (
        f"Error: --ready-file {folder / 'ready'}: allowed is a path in a folder that is there and "
        f"can be written ({why})\n"
    )


def test_an_old_ready_file_is_removed_and_the_new_one_comes_later(tmp_path: Path) -> None:
    """That of a worker that was killed says nothing of this one, and looking leaves nothing."""
    file = tmp_path / "ready"
    file.touch()
    make_ready(file)
    assert list(tmp_path.iterdir()) == []
