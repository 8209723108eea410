"""`rlm-otel ps`: a second terminal sees what is open in every process, and that a process is gone."""

import json
import os
import pty
import re
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from rlm_otel.live.folder import sweep
from rlm_otel.live.records import OpenOperation
from rlm_otel.testing import Answer, Hang, Item, RecordedRequest, ScriptedServer, Tool
from rlm_otel.views.processes import Process
from rlm_otel.views.show_processes import age, fitted, lines
from tests.asked_processes import LIMIT_S, Asked, rising, until

pytestmark = pytest.mark.programs

WAITS = """
    import sys
    import rlm_otel
    with rlm_otel.run("{name}", callbacks=[]):
        print("ready", flush=True)
        sys.stdin.readline()
"""


@pytest.fixture
def asked() -> Iterator[Asked]:
    folder = Path(tempfile.mkdtemp(prefix="ps-"))  # short: the address of a socket has little room
    with ExitStack() as closing:
        closing.callback(shutil.rmtree, folder, ignore_errors=True)
        yield Asked(folder, closing)


# The one that hangs ------------------------------------------------------------------------------------------------

DEEP = """
    from concurrent.futures import ThreadPoolExecutor
    from rlm_otel import RLM

    def deeper(level: int, llm_query):
        if level < 3:
            return llm_query(f"level {level + 1}")
        with ThreadPoolExecutor(50) as pool:
            return str(len(list(pool.map(llm_query, [f"question {n}" for n in range(200)]))))

    rlm = RLM.from_openai("gpt-4o", tools=[deeper], max_depth=3, name="root")
    print("ready", flush=True)
    rlm.run("level 1")
"""


def deep_answer(request: RecordedRequest) -> Item:
    """Each level asks the next; at depth 3 one of 200 questions gets no answer."""
    if level := re.fullmatch(r"level (\d)", request.prompt):
        return Answer(tool_calls=[Tool("deeper", {"level": int(level[1])})])
    return Hang(600) if request.prompt == "question 137" else Answer("ok")


def test_one_hanging_sub_call_of_200_is_named_within_a_second(asked: Asked) -> None:
    """At depth 3, by a second process; after `kill -9` it says that the process is gone, once."""
    with ScriptedServer(respond=deep_answer) as server:
        program = asked.start(DEEP, OPENAI_BASE_URL=server.base_url, OPENAI_API_KEY="any")
        server.wait_for_requests(203, timeout_s=LIMIT_S)
        until(asked.look, lambda seen: len(seen[0].operations) == 8)  # the other 199 have ended
        took_s: list[float] = []
        for _ in range(3):  # other tests run beside this one, on few processors
            began = time.monotonic()
            told = asked.ps()
            took_s.append(time.monotonic() - began)
        assert [re.sub(r"  \S.*", "", line.lstrip("│├└─ ")) for line in told.splitlines()] == [
            f"python (pid {program.pid}): 8 open, first operation {_since(told)} ago",
            *["run root (gpt-4o)", "tool deeper"] * 3,
            "run root (gpt-4o)",
            "chat gpt-4o",
        ]
        assert rising(iter(told.splitlines())) == [0, 1, 2, 3, 4, 5, 6, 7, 8]
        assert told.splitlines()[-1].endswith(", no answer yet")
        assert min(took_s) < 1.0
        (call,) = (one for one in asked.look()[0].operations if one.kind == "call")
        assert (call.depth, call.model, call.attempt) == (3, "gpt-4o", 1)
        program.kill()
        program.wait(LIMIT_S)
    assert asked.ps() == f"python (pid {program.pid}): the process is gone, and did not end by itself\n"
    assert asked.ps().startswith("No process of this user has made a call with rlm-otel")


def _since(told: str) -> str:
    found = re.search(r"first operation (.*) ago", told)
    assert found is not None
    return found[1]


# Processes ---------------------------------------------------------------------------------------------------------


def test_every_process_is_shown_and_a_good_end_leaves_nothing(asked: Asked) -> None:
    """Two programs, one of which ends."""
    first, second = (asked.start(WAITS.format(name=name)) for name in ("один", "two"))
    seen = asked.look()
    assert sorted((one.pid, one.state, one.operations[0].name) for one in seen) == sorted(
        [(first.pid, "running", "один"), (second.pid, "running", "two")]
    )
    assert asked.finish(first) == 0
    assert [one.pid for one in asked.look()] == [second.pid]
    assert asked.finish(second) == 0
    assert asked.doors == []


def test_a_stopped_process_does_not_hold_up_the_others(asked: Asked) -> None:
    """It is said to be silent."""
    stopped, other = asked.start(WAITS.format(name="a")), asked.start(WAITS.format(name="b"))
    stopped.send_signal(signal.SIGSTOP)
    os.waitpid(stopped.pid, os.WUNTRACED)  # until it has really stopped
    states = {one.pid: one.state for one in asked.look()}
    stopped.send_signal(signal.SIGCONT)
    assert states == {stopped.pid: "silent", other.pid: "running"}


def test_a_forked_child_answers_for_itself(asked: Asked) -> None:
    """What was open when it was forked is the parent's; when the parent is gone, its door is not the child's."""
    program = asked.start("""
        import os, sys, warnings
        import rlm_otel
        warnings.simplefilter("ignore")  # newer Pythons warn of forks beside threads
        told, tell = os.pipe()
        with rlm_otel.run("parent", callbacks=[]):
            child = os.fork()
            if child == 0:
                with rlm_otel.tool("child", callbacks=[]):
                    os.write(tell, b"x")
                    sys.stdin.readline()
                os._exit(0)
            os.read(told, 1)
            print("ready", flush=True)
            os.waitpid(child, 0)
    """)
    seen = {one.operations[0].name: one for one in asked.look()}
    assert set(seen) == {"parent", "child"}
    assert (seen["parent"].pid, [one.name for one in seen["parent"].operations]) == (program.pid, ["parent"])
    assert [one.name for one in seen["child"].operations] == ["child"]
    program.kill()
    program.wait(LIMIT_S)
    assert {one.pid: one.state for one in asked.look()} == {program.pid: "gone", seen["child"].pid: "running"}


def test_workers_of_multiprocessing_leave_nothing(asked: Asked) -> None:
    """They end without `atexit`."""
    program = asked.start("""
        import multiprocessing, sys
        import rlm_otel

        def work(number):
            with rlm_otel.run("worker", callbacks=[]):
                return number

        if __name__ == "__main__":
            pool = multiprocessing.get_context("fork").Pool(2)
            pool.map(work, range(4))
            pool.close()
            pool.join()
            print("ready", flush=True)
            sys.stdin.readline()
    """)
    assert asked.finish(program) == 0
    assert asked.doors == []


@pytest.mark.parametrize("value", ["off", "0", "False", " no "])
def test_the_variable_switches_it_off(asked: Asked, value: str) -> None:
    """No socket, no thread."""
    program = asked.start(WAITS.format(name="a"), RLM_OTEL_PS=value)
    assert (asked.look(), asked.doors) == ([], [])
    assert asked.finish(program) == 0


@pytest.mark.parametrize("before", [True, False], ids=["before the first call", "after it"])
def test_the_argument_switches_it_off(asked: Asked, before: bool) -> None:
    """Whenever the callback is made."""
    program = asked.start(f"""
        import sys
        from rlm_otel import OTelCallback, run
        made = OTelCallback(ps=False) if {before} else None
        with run("a", callbacks=[]):
            made = made or OTelCallback(ps=False)
            print("ready", flush=True)
            sys.stdin.readline()
    """)
    assert (asked.look(), asked.doors) == ([], [])
    assert asked.finish(program) == 0


def test_only_the_user_can_look(asked: Asked) -> None:
    """The folder and the socket are the user's alone; in a folder that others may enter there is none."""
    asked.start(WAITS.format(name="a"))
    (door,) = asked.doors
    assert (stat.S_IMODE(door.stat().st_mode), stat.S_IMODE(door.parent.stat().st_mode)) == (0o600, 0o700)
    door.parent.chmod(0o755)
    assert asked.look() == []
    asked.start(WAITS.format(name="b"))
    elsewhere = asked.folder / f"rlm-otel-{os.getuid()}"
    assert [one.operations[0].name for one in asked.look()] == ["b"]
    assert [path.parent for path in asked.doors if path != door] == [elsewhere]


def test_without_a_runtime_folder_it_is_below_the_temp_folder(asked: Asked) -> None:
    """As on macOS, or for a service; whoever looks from a desktop finds it there too."""
    asked.start(WAITS.format(name="a"), XDG_RUNTIME_DIR="")
    assert [path.parent.name for path in asked.doors] == [f"rlm-otel-{os.getuid()}"]
    assert [one.operations[0].name for one in asked.look()] == ["a"]


def test_a_place_that_is_too_deep_harms_nothing(asked: Asked) -> None:
    """The address of a Unix socket has little room: then the process is not seen, and works."""
    deep = asked.folder / ("d" * 100)
    deep.mkdir()
    program = asked.start(WAITS.format(name="a"), XDG_RUNTIME_DIR=str(deep), TMPDIR=str(deep))
    assert asked.finish(program) == 0
    assert asked.doors == []


def test_no_thread_and_no_socket_before_the_first_operation(asked: Asked) -> None:
    """One daemon thread from then on, whatever follows."""
    program = asked.start("""
        import os, sys, threading
        from pathlib import Path
        import rlm_otel
        rlm_otel.OTelCallback()
        def threads():
            return [one.name for one in threading.enumerate() if one.name.startswith("rlm-otel")]
        assert (threads(), list(Path(os.environ["XDG_RUNTIME_DIR"]).iterdir())) == ([], [])
        for _ in range(3):
            with rlm_otel.run("a", callbacks=[]):
                assert threads().count("rlm-otel-ps") == 1
        print("ready", flush=True)
        sys.stdin.readline()
    """)
    assert asked.look()[0].operations == ()
    assert f"python (pid {program.pid}): nothing open" in asked.ps()
    assert asked.finish(program) == 0


def test_the_program_is_named_without_its_arguments(asked: Asked) -> None:
    """They may hold secrets."""
    script = asked.folder / "worker.py"
    script.write_text("import runpy, sys; sys.argv[0] = 'dir/воркер.py'; exec(sys.stdin.readline())")
    source = "import rlm_otel, sys; rlm_otel.run('a', callbacks=[]).__enter__(); print('ready', flush=True); input()"
    program = subprocess.Popen(
        [sys.executable, str(script), "--key", "sk-secret"],
        env=asked.environ,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        encoding="utf-8",
    )
    assert program.stdin is not None
    assert program.stdout is not None
    with program:
        program.stdin.write(f"{source}\n")
        program.stdin.flush()
        assert program.stdout.readline() == "ready\n"
        assert asked.ps().startswith(f"воркер.py (pid {program.pid}): 1 open")
        assert "secret" not in asked.ps("--json")
        program.kill()
    assert asked.ps().startswith(f"______.py (pid {program.pid}): the process is gone")


@pytest.mark.parametrize("answer", [b"", b"[1]", b"{", b"\xff"])
def test_a_door_with_nonsense_behind_it_is_silent(asked: Asked, answer: bytes) -> None:
    """It answers with something else, or breaks off."""
    folder = asked.folder / "rlm-otel"
    folder.mkdir(0o700)
    with socket.socket(socket.AF_UNIX) as door:
        door.bind(str(folder / "7-abcdef-x.sock"))
        door.listen()

        def serve() -> None:
            connection, _ = door.accept()
            connection.sendall(answer)
            connection.close()

        serving = threading.Thread(target=serve)
        serving.start()
        assert asked.look() == [Process(pid=7, program="x", state="silent")]
        serving.join(LIMIT_S)


def test_what_nobody_ever_looked_at_is_swept(asked: Asked) -> None:
    """After a day, where the process is gone."""
    folder = asked.folder / "rlm-otel"
    folder.mkdir(0o700)
    gone = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, check=True)
    old, here = folder / f"{int(gone.stdout)}-abcdef-x.sock", folder / f"{os.getpid()}-abcdef-x.sock"
    for path in (old, here):
        path.touch()
    sweep(folder)
    assert sorted(folder.iterdir()) == sorted([old, here])
    for path in (old, here):
        os.utime(path, (0, 0))
    sweep(folder)
    assert list(folder.iterdir()) == [here]


# What is shown -----------------------------------------------------------------------------------------------------


def operation(number: int, parent: int | None = None, **more: object) -> OpenOperation:
    above = None if parent is None else str(parent)
    told = {"id": str(number), "parent_id": above, "kind": "call", "name": "chat", "model": "m", "attempt": 1}
    return OpenOperation.read({**told, "age_s": 100.0 - number, **more})


def shown(*operations: OpenOperation, **options: bool) -> list[str]:
    process = Process(pid=7, program="x.py", state="running", age_s=200.0, operations=operations)
    return list(lines([process], **options))[1:]


def test_what_each_kind_of_operation_tells() -> None:
    """Runs their tokens so far, calls what they wait for."""
    run = operation(0, kind="run", name="root", calls=1, input_tokens=1200, output_tokens=None)
    assert shown(
        run,
        operation(1, 0, kind="run", name="", model=None),
        operation(2, 0, waits_s=1.25, status=429),
        operation(3, 0, waits_s=65.0, status=500),
        operation(4, 0, waits_s=4000.0),
        operation(5, 0, attempt=2),
        operation(6, 0, pieces=1, since_chunk_s=0.25),
        operation(7, 0, pieces=1234, since_chunk_s=8.0, attempt=3),
        operation(8, 0, kind="tool", name="поиск", model=None),
        operation(9, 0, waits_s=0.0, status=429),
    ) == [
        "└─ run root (m)  1 min 40 s, 1 call done, 1,200 in + 0 out tokens so far",
        "   ├─ run  1 min 39 s",
        "   ├─ chat m  1 min 38 s, waits 1.2 s for another attempt (rate limit)",
        "   ├─ chat m  1 min 37 s, waits 1 min 05 s for another attempt (HTTP 500)",
        "   ├─ chat m  1 min 36 s, waits 1 h 06 min for another attempt (no connection)",
        "   ├─ chat m  1 min 35 s, attempt 2, no answer yet",
        "   ├─ chat m  1 min 34 s, 1 piece, the last 0.2 s ago",
        "   ├─ chat m  1 min 33 s, attempt 3, 1,234 pieces, the last 8.0 s ago",
        "   ├─ tool поиск  1 min 32 s",
        "   └─ chat m  1 min 31 s, waits for hooks, then another attempt (rate limit)",
    ]


def test_hundreds_of_siblings_are_ten_lines() -> None:
    """The oldest, and how many more; `--all` shows them."""
    many = [operation(0, kind="run", name="root")] + [operation(n, 0) for n in range(1, 100)]
    many[50] = operation(50, 0, waits_s=3.0)
    told = shown(*many)
    assert (len(told), told[1], told[-1]) == (
        11,
        "   ├─ chat m  1 min 39 s, no answer yet",
        "   └─ … 90 younger ones, 1 of them waiting",
    )
    assert len(shown(*many, everything=True)) == 100
    assert len(shown(*many[:11])) == 11


def test_an_operation_whose_parent_has_ended_stands_at_the_top() -> None:
    """A sub-call may outlive its run."""
    assert shown(operation(1, 77)) == ["└─ chat m  1 min 39 s, no answer yet"]


def test_names_have_no_power_over_the_terminal() -> None:
    """Control characters are spelled out, long names cut; without Unicode the tree is of ASCII."""
    evil = operation(1, kind="tool", name="\x1b[31m\n\u202e" + "x" * 100, model=None)
    assert shown(evil, ascii_only=True) == [r"`- tool \x1b[31m\n\u202e" + "x" * 43 + "…  1 min 39 s"]


@pytest.mark.parametrize(
    ("text", "width", "cut"),
    [
        ("abc", None, "abc"),
        ("abc", 3, "abc"),
        ("abcd", 3, "ab…"),
        ("коты", 3, "ко…"),
        ("猫猫猫", 5, "猫猫…"),
        ("猫猫", 4, "猫猫"),
    ],
)
def test_a_line_fits_the_terminal(text: str, width: int | None, cut: str) -> None:
    """Some characters are two columns wide."""
    assert fitted(text, width) == cut


@pytest.mark.parametrize(
    ("seconds", "told"),
    [(0.0, "0.0 s"), (9.94, "9.9 s"), (59.9, "59 s"), (60, "1 min 00 s"), (3599, "59 min 59 s"), (7260, "2 h 01 min")],
)
def test_ages_are_short(seconds: float, told: str) -> None:
    """Two units at most."""
    assert age(seconds) == told


def test_json_has_everything(asked: Asked) -> None:
    """Also what a tree leaves out; ids and trace ids to go on with."""
    program = asked.start("""
        import sys
        from rlm_otel import OTelCallback, llm_call, run
        from rlm_otel.testing import Capture
        with Capture() as capture, run("root", callbacks=[capture.callback]):
            with llm_call(provider="acme", model="m\\x1b", stream=True) as call:
                call.chunk("тайна")
                print("ready", flush=True)
                sys.stdin.readline()
                call.finish()
    """)
    text = asked.ps("--json")
    assert "тайна" not in text
    assert "\x1b" not in text
    ((told,), (run, call)) = (found := json.loads(text)), found[0]["operations"]
    assert (told["pid"], told["program"], told["state"]) == (program.pid, "python", "running")
    assert (run["kind"], run["name"], run["parent_id"], call["parent_id"]) == ("run", "root", None, run["id"])
    assert len(run["trace_id"]) == 32
    assert (call["kind"], call["model"], call["streamed"], call["pieces"]) == ("call", "m\x1b", True, 1)
    assert 0 <= call["since_chunk_s"] <= call["age_s"] <= told["age_s"] + 1
    assert asked.finish(program) == 0


def test_what_another_version_says_besides_is_left_out() -> None:
    """And what it does not say has its default."""
    told = OpenOperation.read({"id": "1", "parent_id": None, "kind": "run", "name": "a", "mood": "good"})
    assert told == OpenOperation(id="1", parent_id=None, kind="run", name="a")


# Watching ----------------------------------------------------------------------------------------------------------

WATCH = [sys.executable, "-c", "from rlm_otel.cli import main; main()", "ps", "--watch"]


def test_in_a_pipe_watching_prints_one_look_below_the_other(asked: Asked) -> None:
    """One that is gone stays in sight; Ctrl-C ends it well."""
    program = asked.start(WAITS.format(name="a"))
    with subprocess.Popen(WATCH, env=asked.environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as watch:
        assert watch.stdout is not None
        assert f"(pid {program.pid}): 1 open" in watch.stdout.readline()
        program.kill()
        program.wait(LIMIT_S)
        gone = f"python (pid {program.pid}): the process is gone, and did not end by itself\n"
        looks = iter(watch.stdout.readline, "")
        assert next(line for line in looks if "is gone" in line) == gone
        assert next(line for line in looks if line != "\n") == gone
        watch.send_signal(signal.SIGINT)
        _, err = watch.communicate(timeout=LIMIT_S)
    assert (watch.returncode, err) == (0, "")


def test_on_a_terminal_watching_redraws_and_gives_the_screen_back(asked: Asked) -> None:
    """It uses the terminal's other screen, and leaves it on Ctrl-C."""
    program = asked.start(WAITS.format(name="root"))
    screen, end = pty.openpty()
    with subprocess.Popen(WATCH, env={**asked.environ, "TERM": "xterm"}, stdout=end, stderr=end) as watch:
        os.close(end)
        seen = b""
        while seen.count(b"run root") < 2:
            seen += os.read(screen, 65536)
        watch.send_signal(signal.SIGINT)
        while True:
            try:
                seen += os.read(screen, 65536)
            except OSError:  # nobody holds the other end any more
                break
    os.close(screen)
    assert watch.returncode == 0
    assert (b"\x1b[?1049h" in seen, b"\x1b[?1049l" in seen, b"Traceback" in seen) == (True, True, False)
    assert asked.finish(program) == 0
