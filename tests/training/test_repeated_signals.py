"""SIGTERM and SIGHUP count once, whatever comes after them and whenever."""

import os
import signal
import threading

import pytest

from patchrec.errors import InterruptedRunError
from patchrec.training.interrupts import Terminated, forget_signals, stop_on_signals, stoppable, stopped_by, terminable

ENDING = [signal.SIGTERM, signal.SIGHUP]


def send(number: int) -> None:
    os.kill(os.getpid(), number)


@pytest.fixture(autouse=True)
def _as_a_program_has_it():
    before = {number: signal.signal(number, signal.SIG_DFL) for number in ENDING}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)
    forget_signals()


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_the_second_and_all_others_change_nothing(number, code):
    with stop_on_signals() as wish:
        send(number)
        for other in (*ENDING, number):
            send(other)
        assert (wish.signal, wish.exit_code, wish.name) == (number, code, signal.Signals(number).name)


def test_after_a_granted_wish_the_program_ends_undisturbed():
    with terminable():
        with stop_on_signals() as wish:
            send(signal.SIGTERM)
        send(signal.SIGTERM)
        send(signal.SIGHUP)
    assert wish.signal == signal.SIGTERM


def test_work_that_may_stop_anywhere_stops_once():
    with terminable():
        with pytest.raises(Terminated) as caught:
            send(signal.SIGHUP)
        assert (caught.value.exit_code, str(caught.value)) == (129, "stopped at once by SIGHUP")
        send(signal.SIGTERM)  # while it ends
        assert stopped_by() == signal.SIGHUP


def test_it_passes_where_ctrl_c_does():
    def careless() -> None:
        try:
            send(signal.SIGTERM)
        except Exception:
            pytest.fail("swallowed")

    with terminable(), pytest.raises(KeyboardInterrupt):
        careless()


@pytest.mark.parametrize(("number", "code", "name"), [(signal.SIGTERM, 143, "SIGTERM"), (signal.SIGHUP, 129, "SIGHUP")])
def test_stoppable_work_says_what_is_kept(number, code, name):
    with (
        pytest.raises(InterruptedRunError, match=f"stopped by {name}; half of it") as caught,
        stoppable(lambda: "half of it"),
    ):
        send(number)
    assert caught.value.exit_code == code


def test_a_hang_up_that_is_to_be_ignored_is_ignored():
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # what `nohup` does
    for watching in (stop_on_signals, terminable):
        with watching():
            send(signal.SIGHUP)
    assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN


@pytest.mark.parametrize("watching", [stop_on_signals, terminable])
def test_handlers_are_put_back(watching):
    before = [signal.getsignal(number) for number in (signal.SIGINT, *ENDING)]
    with watching():
        assert signal.getsignal(signal.SIGTERM) != before[1]
        assert signal.getsignal(signal.SIGHUP) != before[2]
    assert [signal.getsignal(number) for number in (signal.SIGINT, *ENDING)] == before


def test_outside_the_main_thread_nothing_is_taken_over():
    before, seen = signal.getsignal(signal.SIGTERM), []

    def work():
        with terminable():
            seen.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [before]
