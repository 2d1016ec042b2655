"""A registry: a table from a stable key to the one object that carries it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

from bitprop.errors import RegistryError

T = TypeVar("T")


class Registry(Generic[T]):
    """Map keys to objects; duplicate and unknown keys raise and list what is known.

    Example:
        >>> colours: Registry[int] = Registry("colour")
        >>> colours.add("red", 1)
        1
        >>> colours["red"], colours.names()
        (1, ('red',))
    """

    def __init__(self, family: str) -> None:
        self._family = family
        self._items: dict[str, T] = {}

    def add(self, key: str, item: T) -> T:
        """Register ``item`` under ``key`` and return it.

        Raises:
            RegistryError: ``key`` is taken.
        """
        if key in self._items:
            raise RegistryError(f"{self._family} {key!r} is registered twice; choose another key")
        self._items[key] = item
        return item

    def register(self, key: str) -> Callable[[T], T]:
        """Decorator form of :meth:`add`."""

        def decorate(item: T) -> T:
            return self.add(key, item)

        return decorate

    def __getitem__(self, key: str) -> T:
        try:
            return self._items[key]
        except (KeyError, TypeError):
            known = ", ".join(self._items) or "none"
            raise RegistryError(f"expected a known {self._family}, got {key!r}; use one of: {known}") from None

    def __contains__(self, key: object) -> bool:
        return key in self._items

    def __iter__(self) -> Iterator[str]:
        return iter(self._items)

    def __len__(self) -> int:
        return len(self._items)

    def names(self) -> tuple[str, ...]:
        """The registered keys, in order of registration."""
        return tuple(self._items)
