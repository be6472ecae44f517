"""Random calls with random writes between them: what a careless program does to its heap."""

from __future__ import annotations

import random

from calls import Call, Record, random_calls

_ALLOCATES = {Call.MALLOC, Call.CALLOC, Call.REALLOC, Call.MEMALIGN, Call.ALIGNED_ALLOC}
_OFFSETS = (-16, -8, 0, 8, 16, 24, 40, 104)
_VALUES = (0, 1, 0x21, 0x31, 0x41, 0x91, 0x101, 0x4141, 0x7FFFFFFFFFFFFFFF)
_INTO = (0, 16, 8, 32)
"""Where in another block a link may lead: offsets from what malloc returned."""


def corrupted_calls(seed: int, number: int = 60) -> list[Record]:
    """Return `number` random calls; after one in seven a word of a block or its header changes."""
    chance = random.Random(seed)
    made: list[Record] = []
    slots: list[int] = []
    for record in random_calls(seed, number, largest=3000 if seed % 3 else 300_000):
        if record.call == Call.WALK:  # would follow the corrupted sizes itself
            continue
        made.append(record)
        if record.call in _ALLOCATES and record.slot not in slots:
            slots.append(record.slot)
        if not slots or chance.random() >= 0.15:
            continue
        slot, offset = chance.choice(slots), chance.choice(_OFFSETS)
        if chance.random() < 0.5:
            value = chance.choice((*_VALUES, chance.randrange(1 << 12)))
            made.append(Record(Call.STORE, slot, offset, value))
        else:
            where = chance.choice(_INTO) << 1 | chance.randrange(2)
            made.append(Record(Call.LINK, slot, offset, chance.choice(slots), where))
    return made
