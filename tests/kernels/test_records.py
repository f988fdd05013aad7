"""Records of kigraph.kernels.records next to the standard library's: each declaration is made by both."""

from __future__ import annotations

import copy
import dataclasses
import inspect
import pickle
import sys
from collections.abc import Callable
from dataclasses import FrozenInstanceError, field
from typing import Any, Generic, TypeVar, get_type_hints

import pytest

from kigraph.kernels import records

T = TypeVar("T")
Made = Callable[..., Any]


def plain(decorate: Made) -> type:
    @decorate(frozen=True, slots=True)
    class Record:
        """Three fields."""

        a: int
        b: str = "x"
        c: tuple[int, ...] = ()

        @property
        def twice(self) -> int:
            return 2 * self.a

    return Record


def undocumented(decorate: Made) -> type:
    @decorate(frozen=True, slots=True)
    class Record:
        a: int

    return Record


def empty(decorate: Made) -> type:
    @decorate(frozen=True, slots=True)
    class Record:
        """No field."""

    return Record


def derived(decorate: Made) -> type:
    @decorate(frozen=True, slots=True)
    class Base:
        """Two fields."""

        a: int
        b: int = 2

    @decorate(frozen=True, slots=True)
    class Record(Base):
        """One more, and another default."""

        b: int = 3
        c: int = 4

    return Record


def special(decorate: Made) -> type:
    @decorate(frozen=True, slots=True)
    class Record:
        """Fields with rules of their own."""

        a: int
        made: list[int] = field(default_factory=list)
        seen: int = field(default=1, compare=False, repr=False)
        after: int = field(init=False)

        def __post_init__(self) -> None:
            object.__setattr__(self, "after", self.a + 1)

    return Record


def changing(decorate: Made) -> type:
    @decorate(slots=True)
    class Record:
        """May be changed."""

        a: int
        items: dict[str, int] = field(default_factory=dict)

    return Record


def by_identity(decorate: Made) -> type:
    @decorate(frozen=True, eq=False, slots=True)
    class Record:
        """Equal to itself only."""

        a: int = 0

    return Record


def own_equality(decorate: Made) -> type:
    @decorate(frozen=True, slots=True)
    class Record:
        """Has methods of its own."""

        a: int = 0
        nothing = None

        def __eq__(self, other: object) -> bool:
            return isinstance(other, int)

        def __repr__(self) -> str:
            return "mine"

    return Record


def generic(decorate: Made) -> type:
    @decorate(frozen=True, slots=True)
    class Record(Generic[T]):
        """Of any type."""

        value: T

    return Record


def left_to_the_library(decorate: Made) -> type:
    @decorate(frozen=True, slots=True, order=True)
    class Record:
        """Ordered."""

        a: int

    return Record


MAKERS = [
    plain,
    undocumented,
    empty,
    derived,
    special,
    changing,
    by_identity,
    own_equality,
    generic,
    left_to_the_library,
]


def pair(maker: Callable[[Made], type]) -> tuple[Any, Any]:
    return maker(records.dataclass), maker(dataclasses.dataclass)


def filled(record: Any, value: int = 7) -> Any:
    needed = [f for f in dataclasses.fields(record) if f.init and f.default is f.default_factory is dataclasses.MISSING]
    return record(*[value] * len(needed))


@pytest.mark.parametrize("maker", MAKERS)
def test_a_record_is_what_the_standard_library_makes(maker: Callable[[Made], type]) -> None:
    ours, theirs = pair(maker)
    assert str(inspect.signature(ours)) == str(inspect.signature(theirs))
    for name in ("__match_args__", "__slots__", "__qualname__", "__module__"):
        assert getattr(ours, name) == getattr(theirs, name), name
    assert ours.__doc__
    assert [repr(f) for f in dataclasses.fields(ours)] == [repr(f) for f in dataclasses.fields(theirs)]
    assert (ours.__hash__ is None) == (theirs.__hash__ is None)
    ours, theirs = filled(ours), filled(theirs)
    assert repr(ours).split("at 0x")[0] == repr(theirs).split("at 0x")[0]
    assert dataclasses.asdict(ours) == dataclasses.asdict(theirs)
    assert not hasattr(ours, "__dict__")
    assert (ours == filled(type(ours))) == (theirs == filled(type(theirs)))
    assert (ours == filled(type(ours), 8)) == (theirs == filled(type(theirs), 8))
    assert (ours == 7) == (theirs == 7)
    assert ours != theirs  # another class with equal fields
    if theirs.__hash__ is not None and maker not in (by_identity, special):  # one has no equal, one has a list
        assert hash(ours) == hash(filled(type(ours))) == hash(theirs)


@pytest.mark.parametrize("maker", MAKERS)
def test_wrong_arguments_are_refused_alike(maker: Callable[[Made], type]) -> None:
    ours, theirs = pair(maker)
    for arguments, keywords in (((), {}), ((1, 2, 3, 4, 5, 6), {}), ((), {"surely_unknown": 1})):
        said = []
        for record in (ours, theirs):
            try:
                record(*arguments, **keywords)
                said.append("made")
            except TypeError as error:
                said.append(str(error))
        assert said[0] == said[1]


@pytest.mark.parametrize("maker", MAKERS)
def test_only_records_that_may_change_do(maker: Callable[[Made], type]) -> None:
    for record in map(filled, pair(maker)):
        name = next((f.name for f in dataclasses.fields(record)), None)
        if name is None:
            continue
        if maker is changing:
            record.a = 9
            assert record.a == 9
            continue
        with pytest.raises(FrozenInstanceError, match=f"cannot assign to field '{name}'"):
            setattr(record, name, 9)
        with pytest.raises(FrozenInstanceError, match=f"cannot delete field '{name}'"):
            delattr(record, name)
        assert getattr(record, name) in (0, 7)
    with pytest.raises(FrozenInstanceError, match="cannot assign to field 'unknown'"):
        filled(plain(records.dataclass)).unknown = 1


@pytest.mark.parametrize("maker", MAKERS)
def test_copies_and_replacements(maker: Callable[[Made], type]) -> None:
    record = filled(maker(records.dataclass))
    for other in (copy.copy(record), copy.deepcopy(record), dataclasses.replace(record)):
        assert type(other) is type(record)
        assert dataclasses.asdict(other) == dataclasses.asdict(record)


@records.dataclass(frozen=True, slots=True)
class Kept:
    """For pickling: a class that can be found by its name."""

    a: int
    b: list[int] = field(default_factory=list)


def test_pickling() -> None:
    kept = Kept(1, [2, 3])
    for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1):
        assert pickle.loads(pickle.dumps(kept, protocol)) == kept
    match kept:
        case Kept(a, b):
            assert (a, b) == (1, [2, 3])


def test_a_default_is_made_for_each_record() -> None:
    ours = special(records.dataclass)
    assert ours(1).made is not ours(1).made
    given: list[int] = [5]
    assert ours(1, given).made is given
    assert ours(1, seen=2) == ours(1, seen=3)


def test_records_derive_from_each_other_whoever_made_them() -> None:
    for base_by, by in ((records.dataclass, dataclasses.dataclass), (dataclasses.dataclass, records.dataclass)):
        base = plain(base_by)

        @by(frozen=True, slots=True)
        class Derived(base):  # type: ignore[misc, valid-type]
            """One more."""

            d: int = 5

        made = Derived(1, d=6)
        assert (made.a, made.b, made.c, made.d, made.twice) == (1, "x", (), 6, 2)
        assert made == Derived(1, d=6) != Derived(1)
        assert Derived.__slots__ == ("d",)


def test_a_record_in_itself_has_a_text() -> None:
    record = changing(records.dataclass)
    one = record(1)
    one.items["self"] = one
    assert "items={'self': ...}" in repr(one)


def test_a_mistake_in_a_declaration_is_found() -> None:
    with pytest.raises(ValueError, match="mutable default"):

        @records.dataclass(frozen=True, slots=True)
        class Record:
            """A list that all records would share."""

            a: list[int] = []  # noqa: RUF012 - the mistake


def test_the_init_is_compiled_when_it_is_asked_for() -> None:
    record = plain(records.dataclass)
    assert not inspect.isfunction(vars(record)["__init__"])
    record(1)
    assert inspect.isfunction(vars(record)["__init__"])
    assert sys.getsizeof(record(1)) == sys.getsizeof(plain(dataclasses.dataclass)(1))


@records.dataclass(frozen=True, slots=True)
class _Hinted:
    other: _Hinted | None
    path: Callable[[], Any] = dict


def test_hints_of_init_are_those_of_the_module() -> None:
    assert get_type_hints(_Hinted.__init__) == {
        "other": _Hinted | None,
        "path": Callable[[], Any],
        "return": type(None),
    }


def test_what_the_standard_library_refuses_is_refused_in_its_words() -> None:
    @records.dataclass(slots=True)
    class Open:
        a: int

    with pytest.raises(TypeError, match="cannot inherit frozen dataclass from a non-frozen one"):

        @records.dataclass(frozen=True, slots=True)
        class Frozen(Open):
            b: int = 1

    with pytest.raises(TypeError, match="cannot inherit non-frozen dataclass from a frozen one"):

        @records.dataclass(slots=True)
        class Thawed(_Hinted):
            b: int = 1

    with pytest.raises(TypeError, match="Cannot overwrite attribute __setattr__"):

        @records.dataclass(frozen=True, slots=True)
        class Setting:
            a: int

            def __setattr__(self, name: str, value: Any) -> None: ...

    with pytest.raises(TypeError, match="non-default argument 'b' follows default argument"):

        @records.dataclass(slots=True)
        class Disordered:
            a: int = 1
            b: int
