"""Viewers' own messages on their way up: which logic takes them, and that every one is answered once."""

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from gateway.upstream import ANSWER_TIMEOUT_S, PENDING_MAX, Upstream
from protocol.codes import ErrorCode
from protocol.envelope import Submit, SubmitResult


class Clock:
    """A clock that stands still until it is set."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class ScriptedLink:
    """Implements `gateway.upstream.UpLink` by keeping what it is sent."""

    def __init__(self, instance: int) -> None:
        self.instance = instance
        self.sent: list[Submit] = []

    def send_submit(self, submit: Submit) -> None:
        self.sent.append(submit)


@pytest.fixture
def clock() -> Clock:
    """Make a clock."""
    return Clock()


@pytest.fixture
def upstream(clock: Clock) -> Upstream:
    """Make an upstream without links."""
    return Upstream(clock)


def submit(upstream: Upstream, room: str = "42", data: bytes = b"1") -> list[SubmitResult]:
    """Submit a message; return the list in which its answers appear."""
    answers: list[SubmitResult] = []
    upstream.submit(room, b"{}", data, answers.append)
    return answers


def test_without_a_logic_the_answer_is_at_once(upstream: Upstream) -> None:
    """When no logic is connected the viewer hears so, and may try again."""
    (answer,) = submit(upstream)
    assert (answer.code, answer.seq) == (ErrorCode.UNAVAILABLE, 0)


def test_a_message_goes_up_and_its_answer_comes_back(upstream: Upstream) -> None:
    """The logic gets room, identity and data; its answer is handed to the one who waits, once."""
    link = ScriptedLink(1)
    upstream.add_link(link)
    answers = submit(upstream)
    (sent,) = link.sent
    assert sent == Submit(sent.ref, "42", b"{}", b"1")
    assert answers == []
    result = SubmitResult(sent.ref, 1007)
    upstream.resolve(result)
    upstream.resolve(result)
    upstream.resolve(SubmitResult(999, 1))
    assert answers == [result]
    assert repr(upstream) == "<Upstream links=1 pending=0>"


def test_a_room_has_one_logic(upstream: Upstream) -> None:
    """All messages of a room go to the same logic, whichever connected first; rooms are spread."""
    links = [ScriptedLink(number) for number in (2, 1, 3)]
    for link in links:
        upstream.add_link(link)
    for room in range(60):
        for _ in range(2):
            submit(upstream, str(room))
    for link in links:
        rooms = [sent.room for sent in link.sent]
        assert rooms[::2] == rooms[1::2]
        assert 5 < len(set(rooms)) < 40
    upstream.remove_link(links[0])
    moved = [sent.ref for link in links[1:] for sent in link.sent]
    assert sorted(moved) == list(range(1, 121)), "what was lost moved once, the rest stayed"


def test_what_a_lost_logic_did_not_answer_goes_to_another(upstream: Upstream) -> None:
    """With its ref, so that logic can tell it was seen before; what was answered is not sent again."""
    lost, other = ScriptedLink(1), ScriptedLink(2)
    upstream.add_link(lost)
    answered, waiting = submit(upstream, data=b"1"), submit(upstream, data=b"2")
    upstream.resolve(SubmitResult(lost.sent[0].ref, 7))
    upstream.add_link(other)
    upstream.remove_link(lost)
    upstream.remove_link(lost)
    assert other.sent == [lost.sent[1]]
    upstream.resolve(SubmitResult(other.sent[0].ref, 8))
    assert [answers[0].seq for answers in (answered, waiting)] == [7, 8]


def test_when_the_last_logic_goes_the_viewer_hears_it(upstream: Upstream) -> None:
    """Nothing waits for a logic that may never come."""
    link = ScriptedLink(1)
    upstream.add_link(link)
    answers = submit(upstream)
    upstream.remove_link(link)
    assert [answer.code for answer in answers] == [ErrorCode.UNAVAILABLE]


def test_an_answer_comes_in_time(upstream: Upstream, clock: Clock) -> None:
    """What a logic does not answer within the limit is answered by the gateway, the oldest first."""
    upstream.add_link(ScriptedLink(1))
    first = submit(upstream)
    clock.now += 1
    second = submit(upstream)
    clock.now += ANSWER_TIMEOUT_S - 1.5
    upstream.expire()
    assert (first, second) == ([], [])
    clock.now += 1
    upstream.expire()
    assert ([answer.code for answer in first], second) == ([ErrorCode.UNAVAILABLE], [])
    clock.now += 1
    upstream.expire()
    assert len(second) == 1


def test_what_waits_is_bounded(upstream: Upstream) -> None:
    """When a logic answers nothing, messages beyond the bound are refused at once."""
    link = ScriptedLink(1)
    upstream.add_link(link)
    for _ in range(PENDING_MAX):
        submit(upstream)
    assert [answer.code for answer in submit(upstream)] == [ErrorCode.UNAVAILABLE]
    assert len(link.sent) == PENDING_MAX


class UpstreamMachine(RuleBasedStateMachine):
    """Logics come and go, answer late, twice or never: every message gets exactly one answer."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock()
        self.upstream = Upstream(self.clock)
        self.links: list[ScriptedLink] = []
        self.all_answers: list[list[SubmitResult]] = []
        self.instances = 0

    @rule()
    def add(self) -> None:
        self.instances += 1
        self.links.append(ScriptedLink(self.instances))
        self.upstream.add_link(self.links[-1])

    @rule(choice=st.integers(0, 9))
    def lose(self, choice: int) -> None:
        if self.links:
            self.upstream.remove_link(self.links.pop(choice % len(self.links)))

    @rule(room=st.sampled_from("abcd"))
    def say(self, room: str) -> None:
        self.all_answers.append(submit(self.upstream, room))

    @rule(choice=st.integers(0, 99))
    def answer(self, choice: int) -> None:
        sent = [item for link in self.links for item in link.sent]
        if sent:
            self.upstream.resolve(SubmitResult(sent[choice % len(sent)].ref, 1))

    @rule(seconds=st.floats(0, 3))
    def wait(self, seconds: float) -> None:
        self.clock.now += seconds
        self.upstream.expire()

    @invariant()
    def nobody_is_answered_twice(self) -> None:
        assert all(len(answers) <= 1 for answers in self.all_answers)

    def teardown(self) -> None:
        self.clock.now += ANSWER_TIMEOUT_S
        self.upstream.expire()
        assert all(len(answers) == 1 for answers in self.all_answers)


TestUpstream = UpstreamMachine.TestCase
TestUpstream.settings = settings(max_examples=40, stateful_step_count=25)
