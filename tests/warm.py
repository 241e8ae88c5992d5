"""Processes that begin warm: each is forked from one process that imported everything and trained nothing.

The imports of a training take a process about four seconds of processor time, a fork a hundredth of one. `run` and
`start` take what `subprocess.run` and `Popen` take. What they cannot show is what happens before imports have ended,
and what libraries read from the environment while they are imported: tests of that start Python itself, and the slow
draws of killed commands do, too.
"""

import atexit
import gc
import importlib
import json
import os
import runpy
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
_PAUSE = 0.005  # seconds between two looks at a process that may have ended


class Started:
    """A process that was started; of `subprocess.Popen` what tests need."""

    def __init__(self, arguments: Sequence[str], env: Mapping[str, str], cwd: str | os.PathLike[str]) -> None:
        self.args = list(arguments)
        self.returncode: int | None = None
        self._files = [Path(name) for name in (_new_file(), _new_file())]
        out, err = map(str, self._files)
        asked = {"arguments": self.args, "env": dict(env), "cwd": str(cwd), "out": out, "err": err}
        self.pid: int = _ask(asked)["pid"]

    def poll(self) -> int | None:
        """Its exit code, negative for the signal that ended it; None while it runs."""
        if self.returncode is None:
            self.returncode = _ask({"ended": self.pid})["code"]
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end."""
        until = None if timeout is None else time.monotonic() + timeout
        while (code := self.poll()) is None:
            if until is not None and time.monotonic() > until:
                raise subprocess.TimeoutExpired(self.args, timeout or 0.0)
            time.sleep(_PAUSE)
        return code

    def communicate(self, timeout: float | None = None) -> tuple[str, str]:
        """Wait for its end, and give what it printed."""
        self.wait(timeout)
        out, err = (path.read_text() for path in self._files)
        return out, err

    def send_signal(self, number: int) -> None:
        """Send it a signal, if it still runs."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """End it at once."""
        self.send_signal(signal.SIGKILL)

    def terminate(self) -> None:
        """Tell it to end."""
        self.send_signal(signal.SIGTERM)


def start(
    arguments: Sequence[str], *, env: Mapping[str, str] | None = None, cwd: str | os.PathLike[str] | None = None
) -> Started:
    """Start what `python ARGUMENTS` would: a file, `-m MODULE` or `-c CODE`, with arguments."""
    return Started(arguments, os.environ if env is None else env, Path.cwd() if cwd is None else cwd)


def run(
    arguments: Sequence[str],
    *,
    env: Mapping[str, str] | None = None,
    cwd: str | os.PathLike[str] | None = None,
    timeout: float | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run what `python ARGUMENTS` would to its end; what it printed is captured, and no exit code is an error."""
    process = start(arguments, env=env, cwd=cwd)
    try:
        out, err = process.communicate(timeout)
    except subprocess.TimeoutExpired:
        process.kill()
        raise
    return subprocess.CompletedProcess(process.args, process.wait(), out, err)


_server: subprocess.Popen[str] | None = None
_folder: str | None = None


def _ask(request: dict[str, Any]) -> dict[str, Any]:
    """Ask the warm process, which is there from the first question on."""
    global _server  # noqa: PLW0603 - one for all tests of this process
    if _server is None:
        paths = [str(ROOT), str(ROOT / "strategies"), *filter(None, [os.environ.get("PYTHONPATH")])]
        fixed = {"PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
        _server = subprocess.Popen(
            [sys.executable, __file__],
            env={**os.environ, **fixed},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        atexit.register(_close)
    assert _server.stdin is not None
    assert _server.stdout is not None
    _server.stdin.write(json.dumps(request) + "\n")
    _server.stdin.flush()
    return dict(json.loads(_server.stdout.readline()))


def _new_file() -> str:
    global _folder  # noqa: PLW0603
    if _folder is None:
        _folder = tempfile.mkdtemp(prefix="warm-")
    number, name = tempfile.mkstemp(dir=_folder)
    os.close(number)
    return name


def _close() -> None:
    if _server is not None:
        assert _server.stdin is not None
        _server.stdin.close()  # it ends when nobody can ask any more
        _server.wait()
    if _folder is not None:
        shutil.rmtree(_folder, ignore_errors=True)


def _serve() -> None:
    """The warm process: answer questions, a line each, until there is no one to ask."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    own = {str(Path(__file__).parent), *os.environ["PYTHONPATH"].split(os.pathsep)}
    before = [path for path in sys.path if path not in own]
    _warm_up()
    gc.freeze()  # children share these pages
    for line in sys.stdin:
        asked = json.loads(line)
        if "ended" in asked:
            child, status = os.waitpid(asked["ended"], os.WNOHANG)
            answer = {"code": os.waitstatus_to_exitcode(status) if child else None}
        else:
            child = os.fork()
            if child == 0:
                answers.close()
                _be(asked, before)
            answer = {"pid": child}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


def _warm_up() -> None:
    """Import what commands import; nothing is computed, for the threads of autograd do not survive a fork."""
    import torch
    import torch._dynamo  # the first step of an optimizer does
    import transformers  # noqa: F401

    import patchrec.operations.many.recommend_all
    import patchrec.operations.recommend
    import patchrec.operations.sweeping.sweep
    import patchrec.operations.training.seeds  # noqa: F401
    from patchrec.model.backbone import Backbone
    from patchrec.model.pull import locate
    from patchrec_cli.app import built

    torch.set_num_threads(1)
    dict(built().commands)  # which imports every command
    with tempfile.TemporaryDirectory() as folder:
        Backbone.load(locate("tiny-random", Path(folder)).folder, name="tiny-random", device="cpu").tokenizer()


def _be(asked: dict[str, Any], path: list[str]) -> None:
    """Become what was asked for, in a child, as Python would."""
    code: object = 1
    try:
        for number, (name, flags) in enumerate(
            [(os.devnull, os.O_RDONLY), *[(asked[key], os.O_WRONLY) for key in ("out", "err")]]
        ):
            opened = os.open(name, flags)
            os.dup2(opened, number)
            os.close(opened)
        sys.stdin = open(0, closefd=False)  # noqa: SIM115
        os.environ.clear()
        os.environ.update(asked["env"])
        os.chdir(asked["cwd"])
        given = [one for one in asked["env"].get("PYTHONPATH", "").split(os.pathsep) if one]
        first, *rest = asked["arguments"]
        installed = [str(ROOT), str(ROOT / "strategies")]  # as an editable install has them
        sys.path[:] = [asked["cwd"] if first.startswith("-") else str(Path(first).parent), *given, *path, *installed]
        importlib.invalidate_caches()
        if first == "-m":
            sys.argv = rest
            runpy.run_module(rest[0], run_name="__main__", alter_sys=True)
        elif first == "-c":
            sys.argv = ["-c", *rest[1:]]
            exec(compile(rest[0], "<string>", "exec"), {"__name__": "__main__"})
        else:
            sys.argv = [first, *rest]
            runpy.run_path(first, run_name="__main__")
        code = 0
    except SystemExit as error:
        code = error.code
        if isinstance(code, str):
            sys.stderr.write(code + "\n")
            code = 1
    except BaseException:
        traceback.print_exc()
    finally:
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code if isinstance(code, int) else 0)


if __name__ == "__main__":
    _serve()
