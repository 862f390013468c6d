"""Recomputes windows offline: `recompute.py READINGS WINDOWS PARTITIONS ["so far"]`.

READINGS holds a reading a line as it was sent. WINDOWS holds what is on the windows topic, a record
a line: `{"partition", "key", "value"}`, the value as text. Ends with 0 and a line of figures where
both agree to the last bit; prints the differences and ends with 1 where not. With "so far" no
window is expected that ends after the last one published; `later` says how many those are.

It shares nothing with the graph: integers of any size here, other parsers, another murmur2.
"""

import collections
import json
import math
import sys

MINUTE = 60_000
FIELDS = ("temperature", "vibration", "current")
UNIT = 1 << 64
WORD = 0xFFFFFFFF


def murmur2(data):
    """Kafka's murmur2, from its description."""
    m = 0x5BD1E995
    h = (0x9747B28C ^ len(data)) & WORD
    whole = len(data) // 4 * 4
    for at in range(0, whole, 4):
        k = int.from_bytes(data[at : at + 4], "little") * m & WORD
        k = (k ^ (k >> 24)) * m & WORD
        h = (h * m & WORD) ^ k
    rest = data[whole:]
    if rest:
        h = (h ^ int.from_bytes(rest, "little")) * m & WORD
    h = (h ^ (h >> 13)) * m & WORD
    return h ^ (h >> 15)


# What the Java client's own tests expect.
assert murmur2(b"21") == -973932308 & WORD
assert murmur2(b"a-little-bit-longer-string") == -1486304829 & WORD


def summary(values):
    """Mean, deviation, least and greatest, each rounded as few times as a float allows."""
    n = len(values)
    # A float times a power of two is exact, and so is its integer; below 2^-12 it is rounded.
    units = [round(math.ldexp(value, 64)) for value in values]
    total, squares = sum(units), sum(unit * unit for unit in units)
    mean = float(total) / UNIT / n
    if all(value == 0 or abs(value) >= 2**-12 for value in values):
        assert mean == math.fsum(values) / n, (mean, values)
    std = math.sqrt(float(n * squares - total * total) / float(n * n)) / UNIT
    # Adding zero makes -0 a 0.
    return {"mean": mean, "std": std, "min": min(values) + 0.0, "max": max(values) + 0.0}


def expected(path):
    """Every window, by device and start."""
    windows = collections.defaultdict(lambda: ([], [], []))
    with open(path) as lines:
        for line in lines:
            reading = json.loads(line)
            start = reading["ts"] // MINUTE * MINUTE
            lists = windows[reading["device"], start]
            for values, field in zip(lists, FIELDS):
                values.append(float(reading[field]))
    return windows


def record(device, start, lists):
    return {
        "device": device,
        "window_start": start,
        "window_end": start + MINUTE,
        "count": len(lists[0]),
        **{field: summary(values) for field, values in zip(FIELDS, lists)},
    }


def exact(record):
    """The record with each float as the text of its bits."""
    return {
        key: exact(value) if isinstance(value, dict) else getattr(value, "hex", lambda: value)()
        for key, value in record.items()
    }


def main(readings, published, partitions, so_far):
    windows = expected(readings)
    wrong = []
    seen = set()
    with open(published) as lines:
        for line in lines:
            sent = json.loads(line)
            found = json.loads(sent["value"])
            device, start = found["device"], found["window_start"]
            if (device, start) in seen:
                wrong.append(f"twice: {device} {start}")
                continue
            seen.add((device, start))
            if (device, start) not in windows:
                wrong.append(f"nobody sent a reading for: {device} {start}")
                continue
            right = record(device, start, windows[device, start])
            if exact(found) != exact(right):
                wrong.append(f"expected {right}, found {found}")
            if sent["key"] != device:
                wrong.append(f"expected key {device}, found {sent['key']}")
            right = (murmur2(device.encode()) & 0x7FFFFFFF) % partitions
            if sent["partition"] != right:
                wrong.append(f"{device}: expected partition {right}, found {sent['partition']}")
    missing = set(windows) - seen
    last = max((start for _, start in seen), default=0)
    later = {key for key in missing if so_far and key[1] > last}
    wrong += [f"missing: {device} {start}" for device, start in sorted(missing - later)]
    readings = sum(len(lists[0]) for lists in windows.values())
    figures = {"readings": readings, "windows": len(windows), "later": len(later)}
    print(json.dumps({**figures, "wrong": len(wrong)}))
    print(*wrong[:20], sep="\n")
    return 1 if wrong else 0


if __name__ == "__main__":
    so_far = sys.argv[4:] == ["so far"]
    sys.exit(main(sys.argv[1], sys.argv[2], int(sys.argv[3]), so_far))
