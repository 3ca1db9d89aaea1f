from __future__ import annotations

import threading

from silri.core.commands import Command, CommandQueue, Request


def test_commands_are_taken_in_order_and_once() -> None:
    queue = CommandQueue()
    queue.put(Command.PAUSE)
    queue.put(Command.SUCCESS, episode=3)
    assert queue.take() == (Request(Command.PAUSE), Request(Command.SUCCESS, 3))
    assert queue.take() == ()


def test_what_is_given_back_comes_first_and_in_order() -> None:
    queue = CommandQueue()
    queue.put(Command.RESUME)
    queue.give_back([Request(Command.TAKE), Request(Command.RESET, 1)])
    commands = [request.command for request in queue.take()]
    assert commands == [Command.TAKE, Command.RESET, Command.RESUME]


def test_stop_waits_behind_nothing_and_stays() -> None:
    queue = CommandQueue()
    queue.put(Command.PAUSE)
    assert not queue.stopping
    queue.put(Command.STOP)
    assert queue.stopping
    assert queue.take() == (Request(Command.PAUSE),)
    assert queue.stopping


def test_commands_of_many_threads_all_arrive() -> None:
    queue = CommandQueue()

    def put() -> None:
        for _ in range(200):
            queue.put(Command.TAKE)

    threads = [threading.Thread(target=put) for _ in range(4)]
    for thread in threads:
        thread.start()
    taken = 0
    while any(thread.is_alive() for thread in threads):
        taken += len(queue.take())
    assert taken + len(queue.take()) == 800
