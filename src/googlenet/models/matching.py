"""Where in a file the tensors of a network lie: in which layout, under which prefix. By names and shapes alone."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from googlenet.errors import WeightsError
from googlenet.models.layouts.base import Layout
from googlenet.models.layouts.table import AS_MADE, LAYOUTS
from googlenet.models.shapes import Header, is_a_counter, state_dict_on_meta
from googlenet.models.spec import Network
from googlenet.text import first_few, printable

if TYPE_CHECKING:
    from torch import Tensor

OWN = "googlenet"  # the layout of our own weights.safetensors

# Prefixes that wrappers put into names: DataParallel, torch.compile, FSDP, activation checkpointing.
_WRAPPERS = re.compile(r"(?<![^./])(?:module|_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module)[./]")
_AVERAGED = re.compile(r"(?<![a-z])(?:ema|swa|averaged?)(?![a-z])", re.IGNORECASE)
_UPDATES = "n_averaged"  # how often torch.optim.swa_utils.AveragedModel was updated
_MAX_PARTS = 24  # of a name, from its end, that may be one of ours


@dataclass(frozen=True)
class Match:
    """Tensors of a file matched to those of a network.

    ``found`` maps our key → the name in the file, ``wanted`` our key → the layout's name. ``asked`` is the name of the
    network that was asked for, ``network`` the same as the makers of these weights had it. ``left`` are other names in
    the file, ``biases`` those to be merged into the running mean of a key.
    """

    asked: str
    layout: str
    network: Network
    prefix: str
    found: dict[str, str] = field(repr=False)
    wanted: dict[str, str] = field(repr=False)
    left: tuple[str, ...] = ()
    biases: Mapping[str, str] = field(default_factory=dict, repr=False)
    notes: tuple[str, ...] = ()

    @property
    def place(self) -> str:
        """Where in the file the weights lie."""
        return self.prefix.rstrip("./")

    def state(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the tensors found, by our keys."""
        state = {key: tensors[name] for key, name in self.found.items()}
        for key, name in self.biases.items():  # a constant added before a normalisation lowers its mean
            if key in state and state[key].shape == tensors[name].shape:
                state[key] = state[key].float() - tensors[name].float()
        return state


class UnfitError(WeightsError):
    """These are weights of another network."""


def find_match(network: Network, tensors: Mapping[str, Header | Tensor], key: str | None = None) -> Match:
    """Return the layout, and the place among ``tensors``, that has most of the network's names.

    Among equals, fitting shapes decide, then an average of weights (EMA), then the order in the file. Raises
    :class:`WeightsError` if none of the network's names is there.
    """
    names = _plain_names(tensors, key)
    options = [each for layout in layouts_of(network) for each in _options(network, layout, names)]
    if not options:
        raise no_weights_of(network, tensors)
    updates = {each.prefix: _updates(each.prefix, names, tensors) for each in options}
    shapes = {each.layout: state_dict_on_meta(each.network) for each in options}

    def rank(each: Match) -> tuple[int, int, bool]:
        fits = sum(tensors[name].shape == shapes[each.layout][ours].shape for ours, name in each.found.items())
        return len(each.found), fits, updates[each.prefix] > 0

    best = max(options, key=rank)
    alike = [each.place for each in options if each.layout == best.layout and len(each.found) == len(best.found)]
    return _completed(best, names, tensors, _choice(best, alike, names, tensors))


def no_weights_of(network: Network, tensors: Mapping[str, Header | Tensor]) -> UnfitError:
    """Return the error for tensors that are not of this network."""
    theirs = first_few(names_in(network, layouts_of(network)[-1], _keys(network)).values())
    return UnfitError(
        f"these are no weights of {network.name}: they have {first_few(tensors)}; it has {theirs} "
        f"(layouts: {', '.join(layouts_of(network))})"
    )


def _plain_names(tensors: Mapping[str, Header | Tensor], key: str | None) -> dict[str, str]:
    """Map names without prefixes of wrappers → names in the file. Batch counters are left out."""
    plain: dict[str, str] = {}
    for name in tensors:
        short = _WRAPPERS.sub("", name)
        if not is_a_counter(name):
            plain[name if short in plain else short] = name
    if key is None:
        return plain
    within = {
        short: name for short, name in plain.items() if re.match(rf"{re.escape(_WRAPPERS.sub('', key))}[./]", short)
    }
    if not within:
        places = dict.fromkeys(re.split(r"[./]", short)[0] for short in plain)
        raise WeightsError(f"--key {printable(key)}: no tensors lie under it; there are {first_few(places)}")
    return within


def _options(network: Network, layout: str, names: Mapping[str, str]) -> Iterable[Match]:
    """Return, for every prefix under which there are names of the layout, what lies there."""
    made = AS_MADE.get((network.name, layout), network)
    wanted = names_in(network, layout, _keys(made))
    ours = {theirs: each for each, theirs in wanted.items()}
    found: dict[str, dict[str, str]] = {}
    for name, full in names.items():
        cuts = [0, *(match.end() for match in re.finditer(r"[./]", name))]
        for cut in (cuts[0], *cuts[1:][-_MAX_PARTS:]):
            if name[cut:] in ours:
                found.setdefault(name[:cut], {})[ours[name[cut:]]] = full
    return [Match(network.name, layout, made, prefix, there, wanted) for prefix, there in found.items()]


def _completed(
    match: Match, names: Mapping[str, str], tensors: Mapping[str, Header | Tensor], notes: list[str]
) -> Match:
    """Add tensors under other names, and the names that are left."""
    found = {**match.found, **_inside_sequential(match, names)}
    moved = sorted({match.wanted[key].rpartition(".")[0] for key in found.keys() - match.found.keys()})
    notes += [f"took the one layer inside of {first_few(moved)} for it"] if moved else []
    biases = _biases(match, names)
    used = {*found.values(), *biases.values()}
    left = [name for short, name in names.items() if short.startswith(match.prefix) and name not in used]
    numbers = [name for name in left if tensors[name].ndim == 0]
    said = [name for name in numbers if not name.endswith(_UPDATES)]
    notes += [f"left out single numbers: {first_few(said)}"] if said else []
    left = [name for name in left if tensors[name].ndim]
    return replace(match, found=found, left=tuple(left), biases=biases, notes=tuple(notes))


def _inside_sequential(match: Match, names: Mapping[str, str]) -> dict[str, str]:
    """Find a classifier wrapped into a Sequential, behind a dropout: fc.1.weight for fc.weight, if it is the one."""
    last = (match.network.stages[-1].name, *(tap.name for tap in match.network.aux))
    found: dict[str, str] = {}
    for key, name in match.wanted.items():
        if key not in match.found and key.startswith(tuple(f"{stage}." for stage in last)):
            stem, _, kind = name.rpartition(".")
            pattern = re.compile(rf"{re.escape(match.prefix + stem)}\.\d+\.{kind}")
            inside = [full for short, full in names.items() if pattern.fullmatch(short)]
            found |= {key: inside[0]} if len(inside) == 1 else {}
    return found


def _biases(match: Match, names: Mapping[str, str]) -> dict[str, str]:
    """Find biases of convolutions before a normalisation that our network does not have: its mean → the bias."""
    means = [key for key in match.wanted if key.endswith(".bn.running_mean")]
    convs = {key: f"{key.removesuffix('.bn.running_mean')}.conv.bias" for key in means}
    rules = _rules(match.asked, match.layout)
    theirs = {key: match.prefix + _renamed(conv, rules) for key, conv in convs.items() if conv not in match.wanted}
    return {key: names[name] for key, name in theirs.items() if name in names}


def _updates(prefix: str, names: Mapping[str, str], tensors: Mapping[str, Header | Tensor]) -> int:
    """Return how often the weights at ``prefix`` were averaged; 0 is never, 1 at least once."""
    counter = tensors[names[prefix + _UPDATES]] if prefix + _UPDATES in names else None
    if counter is not None and counter.numel() == 1 and not counter.is_floating_point():
        return 1 if isinstance(counter, Header) else int(counter)
    return 1 if _AVERAGED.search(prefix) else 0


def _choice(
    best: Match, alike: list[str], names: Mapping[str, str], tensors: Mapping[str, Header | Tensor]
) -> list[str]:
    """Return a note on which place was taken, if there were several."""
    others = [place or "the outermost" for place in dict.fromkeys(alike) if place != best.place]
    if not others:
        return []
    count = _updates(best.prefix, names, tensors) if best.prefix + _UPDATES in names else 0
    kind = f" (EMA of {count:,} updates)" if count else ""
    return [
        f"took {printable(best.place) or 'the outermost'}{kind} rather than {first_few(others)}; --key NAME chooses"
    ]


def _keys(network: Network) -> list[str]:
    return [key for key in state_dict_on_meta(network) if not is_a_counter(key)]


def _rules(name: str, layout: str) -> Layout:
    return () if layout == OWN else LAYOUTS[name][layout]


def layouts_of(network: Network) -> tuple[str, ...]:
    """Return the layouts of a network's weights, our own first."""
    return (OWN, *LAYOUTS.get(network.name, {}))


def names_in(network: Network, layout: str, keys: Iterable[str]) -> dict[str, str]:
    """Map our keys → the layout's names."""
    rules = _rules(network.name, layout)
    return {key: _renamed(key, rules) for key in keys}


def _renamed(key: str, rules: Layout) -> str:
    for pattern, replacement in rules:
        key = re.sub(pattern, replacement, key)
    return key
