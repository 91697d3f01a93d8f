"""The loop's messages: work comes before new files, and neither is ever left out."""

from __future__ import annotations

import threading

from dropscribe.supervisor.mailbox import YIELD_TO, Mailbox


def make() -> Mailbox[str]:
    """Return a mailbox in which what begins with `digest` yields."""
    return Mailbox(lambda message: message.startswith("digest"))


def take_all(mailbox: Mailbox[str]) -> list[str]:
    found = []
    while (message := mailbox.take(0)) is not None:
        found.append(message)
    return found


def test_an_urgent_message_overtakes_all_that_yield() -> None:
    mailbox = make()
    for number in range(1000):
        mailbox.post(f"digest {number}")
    mailbox.post("window")
    mailbox.post("finished")
    assert take_all(mailbox) == ["window", "finished", *(f"digest {number}" for number in range(1000))]


def test_urgent_messages_without_end_let_others_pass_now_and_then() -> None:
    mailbox = make()
    mailbox.post("digest")
    for number in range(2 * YIELD_TO):
        mailbox.post(f"window {number}")
    assert take_all(mailbox).index("digest") == YIELD_TO


def test_a_message_ends_the_wait_for_one() -> None:
    mailbox = make()
    threading.Timer(0.01, mailbox.post, ["window"]).start()
    assert mailbox.take(60) == "window"
    assert mailbox.is_empty()
    assert mailbox.take(0) is None
