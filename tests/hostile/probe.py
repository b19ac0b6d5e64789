"""Reads bundles that are meant to harm, in a process of its own: with bounded memory, a clock, and a record of what is
opened.

    python probe.py read IMAGE BUNDLE...             each bundle predicts, is verified and exported
    python probe.py mutate IMAGE BUNDLE SEED COUNT   copies of one bundle, damaged at random

Prints a line of JSON for each bundle. A bundle that takes too long ends the process: its line is missing.
"""

import faulthandler
import hashlib
import json
import os
import random
import resource
import sys
import tempfile
from pathlib import Path

import numpy as np

import googlenet
from googlenet.errors import GoogLeNetError
from googlenet.images.resize import load_image

SECONDS = 20  # for everything that is done with one bundle; a tenth is usual
SPARE_BYTES = 1 << 30  # of address space, beside what a sound bundle took
opened = []  # what Python opened since the last bundle


def seal(card):
    """Make the hash of a card fit what it says."""
    fields = {key: value for key, value in card.items() if key != "sha256"}
    canonical = json.dumps(fields, sort_keys=True, separators=(",", ":"))
    return json.dumps(fields | {"sha256": hashlib.sha256(canonical.encode()).hexdigest()})


def refusal_or(work):
    """Do some work: what it gives, or the message of the error that this package raises."""
    try:
        return work()
    except GoogLeNetError as error:
        return f"{type(error).__name__}: {error}"
    except Exception as error:  # noqa: BLE001 - what no command would survive is said by the test
        return f"not foreseen: {type(error).__name__}: {error}"


def answers(path, image):
    """Predict, verify and export one bundle: probabilities as numbers, a refusal as text."""

    def predict():
        return googlenet.load(path).predict(image).probabilities.tolist()

    def verify():
        googlenet.verify(path)
        return "sound"

    def export():
        with tempfile.TemporaryDirectory() as folder:
            googlenet.export(path, folder)
            return hashlib.sha256(Path(folder, "model.onnx").read_bytes()).hexdigest()

    def int8():
        return googlenet.load(path, "int8").predict(image).probabilities.tolist()

    found = {"predict": refusal_or(predict), "verify": refusal_or(verify), "export": refusal_or(export)}
    if (Path(path) / "int8.xml").exists():
        found["int8"] = refusal_or(int8)
    return found


def bounded(path, image):
    faulthandler.dump_traceback_later(SECONDS, exit=True)
    opened.clear()
    found = answers(path, image)
    faulthandler.cancel_dump_traceback_later()
    return {"bundle": str(path), **found, "opened": sorted(set(opened))}


def limit_memory():
    status = Path("/proc/self/status").read_text()
    taken = next(1024 * int(line.split()[1]) for line in status.splitlines() if line.startswith("VmSize:"))
    resource.setrlimit(resource.RLIMIT_AS, (taken + SPARE_BYTES, taken + SPARE_BYTES))


def record(event, arguments):
    if event == "open" and isinstance(arguments[0], (str, bytes, os.PathLike)):
        opened.append(os.path.realpath(os.fsdecode(arguments[0])))


def mutated(files, chance):
    """Damage one file of a bundle; half of the time all hashes are made to fit again."""
    files, name = dict(files), chance.choice(sorted(files))
    content = bytearray(files[name])
    for _ in range(chance.choice((1, 1, 2, 8))):
        # Most of a graph is weights: half of the damage is done where the structure is.
        place = chance.randrange(len(content)) if chance.random() < 0.5 else chance.randrange(min(len(content), 400))
        how = chance.randrange(5)
        if how == 0:
            content[place] ^= 1 << chance.randrange(8)
        elif how == 1:
            content[place] = chance.choice((0, 1, 0x7F, 0x80, 0xFF))
        elif how == 2:
            del content[place : place + chance.choice((1, 4, 64))]
        elif how == 3:
            content[place:place] = chance.randbytes(chance.choice((1, 4, 64)))
        else:
            content[place : place + 16] = content[place // 2 : place // 2 + 16]
        if not content:
            break
    files[name] = bytes(content)
    fitted = chance.random() < 0.5
    if fitted:
        try:
            card = json.loads(files["card.json"])
            card["files"] = {each: hashlib.sha256(files[each]).hexdigest() for each in files if each != "card.json"}
            files["card.json"] = seal(card).encode()
        except (ValueError, TypeError, AttributeError, KeyError):
            fitted = False
    return files, f"{name}{' with fitting hashes' if fitted else ''}", fitted


def mutate(image, bundle, seed, count):
    sound = {file.name: file.read_bytes() for file in Path(bundle).iterdir()}
    for number in range(count):
        files, what, fitted = mutated(sound, random.Random(f"{seed} {number}"))
        with tempfile.TemporaryDirectory() as folder:
            for name, content in files.items():
                Path(folder, name).write_bytes(content)
            yield {"number": number, "what": what, "fitted": fitted, **bounded(folder, image)}


def say(found):
    sys.stdout.write(json.dumps(found) + "\n")
    sys.stdout.flush()


def main(command, image, *arguments):
    pixels = load_image(image, googlenet.load(arguments[0]).card.preprocessing)
    say(bounded(arguments[0], pixels))  # what a sound bundle says, everything imported
    limit_memory()
    if command == "mutate":
        found = mutate(pixels, arguments[0], arguments[1], int(arguments[2]))
    else:
        found = (bounded(path, pixels) for path in arguments[1:])
    for each in found:
        say(each)


if __name__ == "__main__":
    np.seterr(all="raise")
    sys.addaudithook(record)
    main(*sys.argv[1:])
