"""What was shown is recorded as it was shown, and told apart from everything else."""

from akazuba.web.shown import Shown, digest_of


def test_only_the_same_case_pictures_and_unanswered_questions_are_the_same() -> None:
    asked = [
        digest_of(b"case", {}, ()),
        digest_of(b"case ", {}, ()),
        digest_of(b"case", {"a.jpg": b"1"}, ()),
        digest_of(b"case", {"b.jpg": b"1"}, ()),
        digest_of(b"case", {"a.jpg": b"2"}, ()),
        digest_of(b"case", {"a.jpg": b"", "1": b""}, ()),
        digest_of(b"case", {}, ("a.jpg", "1")),
        digest_of(b"case", {}, ("q",)),
    ]
    assert len(set(asked)) == len(asked)


def test_the_order_in_which_pictures_and_questions_came_does_not_matter() -> None:
    assert digest_of(b"case", {"a": b"1", "b": b"2"}, ("x", "y")) == digest_of(
        b"case", {"b": b"2", "a": b"1"}, ("y", "x")
    )


def test_a_few_answers_are_remembered_and_none_after_the_box_is_locked() -> None:
    shown = Shown[int](most=3)
    for number in range(5):
        shown.put(bytes([number]), number)
    assert [shown.get(bytes([number])) for number in range(5)] == [None, None, 2, 3, 4]
    shown.forget()
    assert shown.get(b"\x04") is None
