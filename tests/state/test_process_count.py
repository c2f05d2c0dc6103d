"""How many processes there are, as one of them believes."""

from __future__ import annotations

from polychat.state.process_count import ProcessCount


def test_fewer_are_believed_after_a_minute() -> None:
    """More are believed at once, also of another store; fewer when they are reported for a minute on end."""
    count, known = ProcessCount(), []
    assert count.known == 16, "no store was reached: there may be any number"
    reports = [(0, "a", 8), (1, "b", 3), (2, "a", 2), (50, "a", 9), (51, "a", 2), (111, "a", 2), (112, "a", 0)]
    for moment, source, reported in reports:
        count.learn(source, reported, float(moment))
        known.append(count.known)
    assert known == [8, 8, 8, 9, 9, 3, 3]
    count.learn("b", 0, 200.0)
    count.learn("b", 0, 260.0)
    count.learn("a", 0, 260.0)
    assert count.known == 1
