"""The file of `JSONLLogger`: shared by threads, processes and log rotations, and no line is lost or broken."""

import errno
import json
import logging
import os
import signal
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from rlm_otel.callbacks import JSONLLogger
from rlm_otel.callbacks.append_file import AppendFile
from rlm_otel.callbacks.lock import ForkLock
from rlm_otel.fence import failures, forget_failures
from tests.callback_rig import Rig


def entries(path: Path) -> list[dict[str, object]]:
    """The file's lines."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "журнал.jsonl"


@pytest.mark.skipif(os.name == "nt", reason="no such permissions there")
def test_file_is_the_owners_alone(path: Path) -> None:
    """Prompts are nobody else's business."""
    JSONLLogger(path).close()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_earlier_lines_stay(path: Path) -> None:
    """A second logger appends, as the tutorial's."""
    for _ in range(2):
        with JSONLLogger(path) as logger:
            Rig(logger).call(None)
    assert [e["event"] for e in entries(path)] == ["llm_start", "llm_end"] * 2


def test_lines_go_to_the_new_file_after_a_rotation(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Renamed with and without a new file in its place; also where the application changed its folder."""
    monkeypatch.chdir(path.parent)
    with JSONLLogger(path.name) as logger:
        rig = Rig(logger)
        monkeypatch.chdir(Path(__file__).parent)
        rig.call(None)
        path.rename(path.with_suffix(".1"))
        rig.call(None)
        path.rename(path.with_suffix(".2"))
        path.touch()
        rig.call(None)
        logger.flush()
    files = [path.with_suffix(".1"), path.with_suffix(".2"), path]
    assert [len(entries(file)) for file in files] == [2, 2, 2]


def test_rotation_leaks_no_file_handle(path: Path) -> None:
    """A service rotates for years."""
    with JSONLLogger(path) as logger:
        before = len(os.listdir("/dev/fd")) if os.path.isdir("/dev/fd") else 0
        for _ in range(20):
            path.unlink()
            Rig(logger).call(None)
        after = len(os.listdir("/dev/fd")) if os.path.isdir("/dev/fd") else 0
    assert after == before


def test_threads_share_a_logger_and_a_file(path: Path) -> None:
    """No line gets into another one, long ones too."""
    loggers = [JSONLLogger(path, limit=20_000), JSONLLogger(path, limit=20_000)]

    def work(number: int) -> None:
        rig = Rig(loggers[number % 2])
        for _ in range(20):
            rig.call(None, text="ю" * 10_000)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))
    for logger in loggers:
        logger.close()
    assert len(entries(path)) == 8 * 20 * 2


PROCESS = """
import os, sys
from rlm_otel.callbacks import JSONLLogger
from tests.callback_rig import Rig
logger = JSONLLogger(sys.argv[1], limit=20_000)
child = os.fork() if hasattr(os, "fork") else 0
rig = Rig(logger)
for _ in range(100):
    rig.call(None, text="ю" * 10_000)
if hasattr(os, "fork"):
    if child == 0:
        os._exit(0)
    sys.exit(os.waitpid(child, 0)[1])
"""


def test_processes_share_a_file(path: Path) -> None:
    """Two programs, each with a forked child that goes on with its parent's logger."""
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    command = [sys.executable, "-c", PROCESS, str(path)]
    programs = [subprocess.Popen(command, env=environ) for _ in range(2)]
    assert [program.wait(60) for program in programs] == [0, 0]
    assert len(entries(path)) == (4 if hasattr(os, "fork") else 2) * 100 * 2


def test_file_that_cannot_be_written_is_an_error_at_once(tmp_path: Path) -> None:
    """It says which and what to do."""
    target = tmp_path / "нет" / "a.jsonl"
    with pytest.raises(FileNotFoundError) as caught:
        JSONLLogger(target)
    assert str(caught.value) == (
        f"[Errno {errno.ENOENT}] cannot append here (No such file or directory); "
        f"make its folder, allow writing, or choose another path: {str(target)!r}"
    )


def test_later_failure_to_write_is_counted_and_harms_nothing(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The run goes on; one warning."""
    forget_failures()
    logger = JSONLLogger(path)
    logger.close()
    logger.close()
    logger.flush()
    with caplog.at_level(logging.WARNING):
        Rig(logger).call(None)
    assert failures() == {("JSONLLogger", "on_event"): 2}
    assert len(caplog.records) == 1
    forget_failures()


def test_line_torn_by_a_full_disk_does_not_spoil_the_next_one(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is written in pieces is written to the end; what breaks off stays alone."""
    write = os.write
    plan: list[int | OSError] = [3, 3, OSError(errno.ENOSPC, "No space left on device")]

    def short(descriptor: int, data: memoryview) -> int:
        step = plan.pop(0) if plan else len(data)
        if isinstance(step, OSError):
            raise step
        return write(descriptor, data[:step])

    file = AppendFile(path)
    monkeypatch.setattr(os, "write", short)
    with pytest.raises(OSError, match="No space left"):
        file.append(b'{"a": 1}')
    plan.extend([2, 2])
    file.append(b'{"b": 2}')
    file.append(b'{"c": 3}')
    file.close()
    assert path.read_bytes() == b'{"a": \n{"b": 2}\n{"c": 3}\n'


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork there")
def test_forked_child_does_not_wait_for_a_lock_of_its_parent() -> None:
    """The thread that holds it does not exist in the child."""
    lock = ForkLock()
    with lock:
        child = os.fork()
        if child == 0:
            signal.alarm(10)
            with lock:
                os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
