"""A file for probes: it is there, and new, while a program goes round."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from alerts.errors import RouteError


@contextmanager
def kept_new(path: Path | None) -> Iterator[Callable[[], None]]:
    """What touches the file, once in each round; the file is gone before the first, and after.

    Whoever hangs stops touching it: so a probe looks at its age, not only whether it is there.
    """
    if path is None:
        yield lambda: None
        return

    def touch() -> None:
        try:
            path.touch()
        except OSError as error:
            msg = f"--ready-file {path}: {error.strerror or error}"
            raise RouteError(msg) from None

    with suppress(OSError):  # what cannot be deleted cannot be touched either, and that is told
        path.unlink(missing_ok=True)  # that of a router that was killed
    try:
        yield touch
    finally:
        with suppress(OSError):
            path.unlink(missing_ok=True)
