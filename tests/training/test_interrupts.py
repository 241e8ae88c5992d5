import os
import signal
import threading

import pytest

from patchrec.training.interrupts import stop_on_signals


@pytest.mark.parametrize(("which", "code", "name"), [(signal.SIGINT, 130, "Ctrl-C"), (signal.SIGTERM, 143, "SIGTERM")])
def test_the_first_signal_is_a_wish(which, code, name):
    with stop_on_signals() as wish:
        assert wish.signal == 0
        os.kill(os.getpid(), which)
        assert (wish.signal, wish.exit_code, wish.name) == (which, code, name)


@pytest.fixture
def python_s_own_ctrl_c():
    """What an interactive Python does on Ctrl-C; a program started in the background ignores it instead."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("python_s_own_ctrl_c")
def test_the_second_has_its_usual_effect():
    with stop_on_signals():
        os.kill(os.getpid(), signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)


def test_handlers_are_put_back():
    before = [signal.getsignal(which) for which in (signal.SIGINT, signal.SIGTERM)]
    with stop_on_signals():
        assert signal.getsignal(signal.SIGINT) != before[0]
    assert [signal.getsignal(which) for which in (signal.SIGINT, signal.SIGTERM)] == before


def test_outside_the_main_thread_nothing_is_watched():
    before = signal.getsignal(signal.SIGINT)
    seen = []

    def work():
        with stop_on_signals() as wish:
            seen.append((signal.getsignal(signal.SIGINT), wish.signal))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [(before, 0)]
