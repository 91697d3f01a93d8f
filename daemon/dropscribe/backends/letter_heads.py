"""The attention heads that follow a text letter by letter.

A model names the heads that follow its own pieces. Those of base follow letters as well; those of
tiny.en are 130 ms late with them, and others of the same model are not. Which ones these are shows
without any labels: given a text, the attention of such a head is strong along the cheapest path
through it. `_HEADS` has, for a model that names the heads on the left, as many with the strongest
attention. Other models keep their own.
"""

from __future__ import annotations

import contextlib
import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

Head = tuple[int, int]
"""A layer of the decoder and one of its heads, both from 0."""

_HEADS: dict[tuple[Head, ...], tuple[Head, ...]] = {
    # tiny.en
    ((1, 0), (2, 0), (2, 5), (3, 0), (3, 1), (3, 2), (3, 3), (3, 4)): (
        *((1, 2), (1, 5), (2, 1), (2, 4), (3, 2), (3, 3), (3, 4), (3, 5)),
    ),
}

_CONFIG, _WEIGHTS = "config.json", "model.bin"


def choose_heads(own: Iterable[Sequence[int]]) -> list[Head]:
    """Return the heads to align letters with, for a model that names `own`."""
    named = tuple(sorted((int(layer), int(head)) for layer, head in own))
    return list(_HEADS.get(named, named))


@contextlib.contextmanager
def link_model(folder: Path, weights: Path | None = None) -> Iterator[Path]:
    """Yield a CTranslate2 folder from which to load the model in `folder` with its letter heads.

    CTranslate2 reads the heads from the model's configuration. The model's own folder is not
    changed: where others are better, this is a temporary one with links to its files. Where none
    can be made, it is the model's own.

    Args:
        folder: The model.
        weights: A file that holds its weights in other numbers, to load them from.
    """
    with contextlib.ExitStack() as stack:
        linked = folder
        with contextlib.suppress(OSError):
            config = json.loads((folder / _CONFIG).read_bytes())
            own = [tuple(head) for head in config.get("alignment_heads", ())]
            heads = choose_heads(own)
            others = {} if weights is None or not weights.is_file() else {_WEIGHTS: weights}
            if heads != sorted(own) or others:
                target = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="dropscribe-")))
                for file in folder.iterdir():
                    if file.name != _CONFIG:
                        (target / file.name).symlink_to(others.get(file.name, file).resolve())
                (target / _CONFIG).write_text(json.dumps({**config, "alignment_heads": heads}), encoding="utf-8")
                linked = target
        yield linked
