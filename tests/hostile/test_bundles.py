"""Bundles that are meant to harm. Each is refused in one line, within bounds of memory and time, and nothing outside
of it is opened: not by what it names, not by how it is written.

Each is made from a sound bundle by one small function, with hashes that fit again unless it says otherwise, and read in
a process of its own (``probe.py``).
"""

import hashlib
import io
import json
import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from googlenet import bundle as bundles

PROBE = Path(__file__).with_name("probe.py")
MUTATIONS = 100  # of tests/soak, 20,000
SECRET = b"a secret beside the bundle" * 16

HOSTILE = {}  # name → function of a sound bundle, what is said, and by what


def hostile(says, by="predict"):
    def add(make):
        HOSTILE[make.__name__] = (make, says, by)
        return make

    return add


# Protocol buffers by hand, so that they can be written wrongly.


def varint(number, zeros=0):
    """A varint, with so many superfluous bytes."""
    parts = []
    while True:
        parts.append(number & 0x7F)
        number >>= 7
        if not number:
            break
    parts += [0] * zeros
    return bytes([part | 0x80 for part in parts[:-1]] + parts[-1:])


def sized(number, content, zeros=0):
    return varint(number << 3 | 2, zeros) + varint(len(content)) + content


def external(zeros=0, location=b"secret.bin"):
    """Weights that lie in another file, the first of the graph's kernels."""
    entry = sized(1, b"location", zeros) + sized(2, location)
    return sized(13, entry, zeros) + varint(14 << 3, zeros) + varint(1)


def with_tensor(bundle, tail, drop_data=True):
    """Replace the first kernel by one whose bytes end in ``tail``."""
    graph, tensor = bundle.model.graph, bundle.kernel
    graph.initializer.remove(tensor)
    if drop_data:
        tensor = onnx.TensorProto(dims=tensor.dims, data_type=tensor.data_type, name=tensor.name)
    return rewritten(bundle, sized(5, tensor.SerializeToString() + tail))


def rewritten(bundle, in_graph=b"", in_model=b""):
    graph = bundle.model.graph.SerializeToString() + in_graph
    bundle.model.ClearField("graph")
    bundle.files["model.onnx"] = bundle.model.SerializeToString() + sized(7, graph) + in_model


def insert(bundle, operator, *inputs, constants=(), **attributes):
    """Put a node in front of the first convolution, between it and what it took."""
    graph = bundle.model.graph
    first = next(node for node in graph.node if node.op_type == "Conv")
    at = list(graph.node).index(first)
    graph.initializer.extend(numpy_helper.from_array(np.asarray(value), name) for name, value in constants)
    domain = attributes.pop("domain", "")
    node = helper.make_node(operator, inputs or [first.input[0]], ["inserted"], "inserted", domain=domain, **attributes)
    graph.node.insert(at, node)
    graph.node[at + 1].input[0] = "inserted"


def attribute(bundle, operator, name):
    node = next(node for node in bundle.model.graph.node if node.op_type == operator)
    return next(each for each in node.attribute if each.name == name)


# A graph that is not what its writer made: how it is written.


@hostile("refers to data outside of itself")
def external_data(bundle):
    with_tensor(bundle, external())


@hostile("a number is written longer than it is")
def external_data_in_long_varints(bundle):
    with_tensor(bundle, external(zeros=1))


@hostile("a number is written longer than it is")
def external_data_in_the_longest_varints(bundle):
    with_tensor(bundle, external(zeros=8))


@hostile("refers to data outside of itself")
def external_data_above_the_folder(bundle):
    with_tensor(bundle, external(location=b"../secret.bin"))


@hostile("refers to data outside of itself")
def external_data_of_the_system(bundle):
    with_tensor(bundle, external(location=b"/etc/passwd"))


@hostile("refers to data outside of itself")
def a_place_outside_without_a_name(bundle):
    with_tensor(bundle, varint(14 << 3) + varint(1), drop_data=False)


@hostile(r"Model.graph is there twice")
def a_graph_in_two_pieces(bundle):
    rewritten(bundle, in_model=sized(7, sized(5, external())))


@hostile(r"Tensor.raw_data is there twice")
def weights_given_twice(bundle):
    with_tensor(bundle, sized(9, bytes(4)), drop_data=False)


@hostile("is written as another type")
def numbers_as_bytes(bundle):
    with_tensor(bundle, sized(1, b"\x01\x02"), drop_data=False)


@hostile("has a field 99")
def an_unknown_field(bundle):
    rewritten(bundle, in_graph=sized(99, b"?"))


@hostile("is written as another type")
def a_group(bundle):
    rewritten(bundle, in_graph=bytes([1 << 3 | 3, 1 << 3 | 4]))


@hostile("ends beyond what holds it")
def a_length_beyond_the_end(bundle):
    rewritten(bundle, in_graph=varint(1 << 3 | 2) + varint(2**40))


@hostile("a number does not end")
def a_number_without_an_end(bundle):
    bundle.files["model.onnx"] += b"\xff" * 30


@hostile("is not a graph OpenVINO can read")
def a_graph_that_is_cut(bundle):
    bundle.files["model.onnx"] = bundle.files["model.onnx"][:-100]


@hostile("has a field 25")
def functions(bundle):
    bundle.model.functions.add(name="f", domain="d")


@hostile("has a field 20")
def training_info(bundle):
    bundle.model.training_info.add()


@hostile("has a field 15")
def sparse_constants(bundle):
    bundle.model.graph.sparse_initializer.add()


@hostile("has a field 14")
def quantisation_notes(bundle):
    bundle.model.graph.quantization_annotation.add()


@hostile("has a field 3")
def a_segment_of_a_tensor(bundle):
    bundle.kernel.segment.begin = 0


@hostile("has a field 6")
def a_tensor_of_texts(bundle):
    bundle.kernel.string_data.append(b"text")


@hostile("has a field 4")
def weights_as_single_floats(bundle):
    bundle.kernel.float_data.extend([1.0] * 8)


@hostile("more than 400,000 fields")
def a_million_fields(bundle):
    rewritten(bundle, in_graph=sized(1, b"") * 1_000_000)


@hostile("not of opset 20 alone")
def another_set_of_operators(bundle):
    bundle.model.opset_import.add(domain="evil", version=1)


@hostile("is not a graph OpenVINO can read")
def xml_in_its_place(bundle):
    bundle.files["model.onnx"] = b'<?xml version="1.0"?><net name="x" version="11"><layers/></net>'


@hostile("not written by googlenet or pytorch")
def the_mark_of_tensorflow_lite(bundle):
    bundle.model.producer_name = "TFL3"


# What it would compute.


@hostile("inserted' is Loop")
def a_loop(bundle):
    body = helper.make_graph([], "body", [], [])
    insert(bundle, "Loop", "images.mean", "images.mean", "images.normalised", body=body)
    drop_subgraphs(bundle)


@hostile("Attribute has a field 6")
def a_subgraph(bundle):
    insert(bundle, "If", "images.mean", then_branch=helper.make_graph([], "then", [], []))


@hostile("inserted' is Scan")
def a_scan(bundle):
    insert(bundle, "Scan", num_scan_inputs=1)


def drop_subgraphs(bundle):
    for node in bundle.model.graph.node:
        kept = [each for each in node.attribute if not each.HasField("g")]
        del node.attribute[:]
        node.attribute.extend(kept)


def _refused(operator, **attributes):
    def make(bundle):
        insert(bundle, operator, **attributes)

    make.__name__ = f"operator_{operator}"
    hostile(rf"inserted' is {attributes.get('domain', '')}\.?{operator}")(make)


for each in ("ConstantOfShape", "Expand", "Tile", "Resize", "Range", "Constant", "Einsum", "RandomNormal", "Upsample"):
    _refused(each)
_refused("Relu", domain="evil")
_refused("Conv", domain="ai.onnx")


@hostile("whose pads is out of range")
def padding_without_bounds(bundle):
    attribute(bundle, "Conv", "pads").ints[:] = [2**40] * 4


@hostile("whose pads is out of range")
def padding_below_nothing(bundle):
    attribute(bundle, "Conv", "pads").ints[:] = [-1] * 4


@hostile("would take more for one image")
def padding_within_bounds_but_too_much(bundle):
    attribute(bundle, "Conv", "pads").ints[:] = [4096] * 4


@hostile("with whole numbers out of range")
def a_frame_of_any_width(bundle):
    insert(bundle, "Pad", "images.normalised", "frame", constants=[("frame", np.array([0, 0, 2**40, 0, 0, 0, 0, 0]))])


@hostile("would take more for one image")
def a_wide_frame(bundle):
    wide = np.array([0, 0, 2**14, 2**14, 0, 0, 2**14, 2**14])
    insert(bundle, "Pad", "images.normalised", "frame", constants=[("frame", wide)])


@hostile("would take more for one image")
def one_that_grows_by_doubling(bundle):
    graph = bundle.model.graph
    at = next(number for number, node in enumerate(graph.node) if node.op_type == "Conv")
    name = graph.node[at].input[0]
    for number in range(40):
        graph.node.insert(at + number, helper.make_node("Concat", [name, name], [f"twice{number}"], axis=2))
        name = f"twice{number}"
    graph.node[at + 40].input[0] = name


@hostile("would take more for one image")
def one_that_doubles_the_batch(bundle):
    graph = bundle.model.graph
    at = next(number for number, node in enumerate(graph.node) if node.op_type == "Conv")
    name = graph.node[at].input[0]
    for number in range(40):
        graph.node.insert(at + number, helper.make_node("Concat", [name, name], [f"twice{number}"], axis=0))
        name = f"twice{number}"
    graph.node[at + 40].input[0] = name


@hostile("would take more for one image")
def sides_that_spread_over_each_other(bundle):
    long, high = np.zeros((1, 1, 1, 2**16), np.float32), np.zeros((1, 1, 2**16, 1), np.float32)
    insert(bundle, "Add", "long", "high", constants=[("long", long), ("high", high)])


@hostile("would take more for one image")
def a_product_of_two_long_sides(bundle):
    high, long = np.zeros((1, 1, 2**16, 1), np.float32), np.zeros((1, 1, 1, 2**16), np.float32)
    insert(bundle, "MatMul", "high", "long", constants=[("high", high), ("long", long)])


@hostile("whose strides is out of range")
def steps_of_nothing(bundle):
    attribute(bundle, "Conv", "strides").ints[:] = [0, 0]


@hostile("whose group is out of range")
def no_groups(bundle):
    attribute(bundle, "Conv", "group").i = 0


@hostile("whose kernel_shape is out of range")
def windows_of_three_thousand_million(bundle):
    attribute(bundle, "MaxPool", "kernel_shape").ints[:] = [3 * 10**9] * 2


@hostile("that does not fit what goes in")
def a_kernel_of_another_shape(bundle):
    attribute(bundle, "Conv", "kernel_shape").ints[:] = [5, 5]


@hostile("that it has not in graphs of ours")
def an_attribute_of_another_operator(bundle):
    insert(bundle, "Relu", to=1)


@hostile("inputs: node 'inserted'")
def too_many_inputs(bundle):
    insert(bundle, "Relu", "images.normalised", "images.mean")


@hostile("weights that are not finite")
def weights_that_are_no_numbers(bundle):
    values = numpy_helper.to_array(bundle.kernel).copy()
    values.flat[5] = np.nan
    bundle.kernel.raw_data = values.tobytes()


@hostile("weights that are not finite")
def infinite_weights(bundle):
    values = numpy_helper.to_array(bundle.kernel).copy()
    values.flat[-1] = -np.inf
    bundle.kernel.raw_data = values.tobytes()


@hostile("has no finite probabilities")
def weights_that_overflow(bundle):
    for tensor in bundle.model.graph.initializer:
        if tensor.name.endswith("weight"):
            tensor.raw_data = np.full(tuple(tensor.dims), 3e38, np.float32).tobytes()


@hostile(r"has a constant .* of shape .* in .* bytes")
def a_shape_that_promises_more(bundle):
    bundle.kernel.dims[0] = 2**40


@hostile(r"has a constant .* of shape")
def a_side_below_nothing(bundle):
    bundle.kernel.dims[0] = -bundle.kernel.dims[0]


@hostile(r"has a constant .* of shape")
def sides_whose_product_wraps_around(bundle):
    bundle.kernel.dims[:] = [2**32, 2**32, *bundle.kernel.dims]


@hostile("neither of float32 nor of int64")
def weights_of_double_precision(bundle):
    bundle.kernel.data_type = TensorProto.DOUBLE


@hostile("that does not follow from those before it")
def a_cycle(bundle):
    graph = bundle.model.graph
    graph.node[0].input[0] = graph.node[-1].output[0]


@hostile("that does not follow from those before it")
def a_name_given_twice(bundle):
    graph = bundle.model.graph
    graph.node[3].output[0] = graph.node[2].output[0]


@hostile("has two constants of one name")
def two_constants_of_one_name(bundle):
    bundle.model.graph.initializer.append(bundle.kernel)


@hostile("has not one input")
def a_second_input(bundle):
    bundle.model.graph.input.append(helper.make_tensor_value_info("more", TensorProto.FLOAT, [1]))


@hostile("has not one input and the outputs")
def an_output_more(bundle):
    bundle.model.graph.output.append(helper.make_tensor_value_info("images.float", TensorProto.FLOAT, None))


@hostile("does not take images")
def an_input_of_any_size(bundle):
    dimension = bundle.model.graph.input[0].type.tensor_type.shape.dim[1]
    dimension.dim_param = "any"


@hostile("does not fit its card")
def images_of_another_size(bundle):
    bundle.card["preprocessing"]["size"] = 48


@hostile("does not fit its card")
def maps_of_other_classes(bundle):
    graph = bundle.model.graph
    graph.node.remove(next(node for node in graph.node if node.output[0] == "maps"))
    graph.node.append(helper.make_node("Identity", ["conv1.relu"], ["maps"]))
    graph.output.remove(next(each for each in graph.output if each.name == "maps"))
    graph.output.append(helper.make_tensor_value_info("maps", TensorProto.FLOAT, None))


# The card.


def card_with(says, by="predict", **changes):
    def add(name):
        def make(bundle):
            for key, value in changes.items():
                bundle.card[key] = value(bundle.card[key]) if callable(value) else value

        make.__name__ = name
        hostile(says, by)(make)

    return add


@hostile("card.json is damaged: a number of more than 63 bits")
def a_number_of_thousands_of_digits(bundle):
    bundle.text = f'{{"format": {"9" * 5000}}}'


@hostile("its sha256 is not the one of its text")
def class_names_swapped(bundle):
    bundle.text = json.dumps(bundle.sealed() | {"class_names": bundle.card["class_names"][::-1]})


@hostile("its sha256 is not the one of its text")
def a_card_without_its_hash(bundle):
    bundle.text = json.dumps(bundle.card)


card_with("class_names must be a list", class_names=[""] * 100_001)("too_many_classes")
card_with("class_names must be a list", class_names="abc")("class_names_that_are_one_text")
card_with("class_names must be a list", class_names=["a", 2, "c"])("a_class_that_is_a_number")
card_with("class_names must be a list", class_names=["a" * 1025, "b", "c"])("a_class_with_a_long_name")
card_with("temperature must be a number above 0", temperature=0)("no_temperature")
card_with("temperature must be a number above 0", temperature="1")("a_temperature_in_words")
card_with("metrics cannot be", metrics={"top1": "good"})("a_metric_in_words")
card_with("data cannot be", data={"name": ["x"]})("data_with_a_list_for_a_name")
card_with("recipe cannot be", recipe={"seed": "0"})("a_seed_in_words")
card_with("recipe cannot be", recipe={"val_fraction": 7})("a_fraction_above_one")
card_with("versions cannot be", versions={"python": {}})("a_version_that_is_a_table")
card_with("files cannot be", files=lambda files: files | {"../secret.bin": "0" * 64})("a_file_above_the_folder")
card_with("files cannot be", files=lambda files: files | {"/etc/passwd": "0" * 64})("a_file_of_the_system")
card_with("files cannot be", files=lambda files: files | {"..": "0" * 64})("a_file_that_is_the_folder_above")
card_with("files cannot be", files=lambda files: files | {"a\0b": "0" * 64})("a_file_with_a_zero_in_its_name")
card_with("files cannot be", files={f"f{n}": "0" * 64 for n in range(1000)})("a_thousand_files")
card_with("files cannot be", files=lambda files: dict.fromkeys(files, 0))("hashes_that_are_numbers")
card_with(
    "a mean and a std", preprocessing=lambda preprocessing: preprocessing | {"mean": [0] * 5000, "std": [1] * 5000}
)("channels")
card_with("size must be 1 to 4096", preprocessing=lambda preprocessing: preprocessing | {"size": 10**9})(
    "images_of_any_size"
)
card_with("size must be 1 to 4096", preprocessing=lambda preprocessing: preprocessing | {"size": 32.5})("half_a_pixel")
card_with("std must be above 0", preprocessing=lambda preprocessing: preprocessing | {"std": [0, 1, 1]})("no_deviation")
card_with("damaged: preprocessing should be a table, got \\[\\]", preprocessing=[])("preprocessing_that_is_a_list")
card_with("a text of more than", measured_on="x" * 100_000)("a_long_text")
card_with(r"damaged: \\x1b\[31m is not known", **{"\x1b[31m": 1})("an_escape_for_terminals")
card_with("holds a network that cannot be", "verify", network={"Conv": {"out": 5}})("a_network_that_is_a_layer")
card_with("not a part of a network", "verify", network={"os.system": {"command": "true"}})("a_network_that_is_a_call")


def layers(*new):
    """The network of the card, with other layers in its first stage."""

    def change(network):
        network = json.loads(json.dumps(network))
        network["Network"]["stages"][0]["Stage"]["layers"] = list(new)
        return network

    return change


card_with("out cannot be 1000000000", "verify", network=layers({"Conv": {"out": 10**9}}))("a_thousand_million_filters")
card_with("more than model.onnx has bytes for", "verify", network=layers({"Conv": {"out": 2**20}}))("a_million_filters")
card_with("kernel cannot be", "verify", network=layers({"Conv": {"out": 8, "kernel": 10**6}}))("a_kernel_of_a_million")
card_with("stride cannot be", "verify", network=layers({"Conv": {"out": 8, "stride": -1}}))("a_step_backwards")
card_with("layers cannot be", "verify", network=layers("Conv"))("a_layer_that_is_a_text")
card_with("groups", "verify", network=layers({"Conv": {"out": 8, "groups": 7}}))("groups_that_do_not_divide")
card_with("more than 20,000 parts", "verify", network=layers(*[{"ReLU": {}}] * 30_000))("thirty_thousand_layers")


@hostile("deeper than 64|RecursionError")
def a_card_as_deep_as_a_well(bundle):
    bundle.text = json.dumps(bundle.card)[:-1] + ', "data": ' + "[" * 100_000 + "]" * 100_000 + "}"


@hostile("bytes, a bundle's has 8,388,608 at most")
def a_card_of_nine_megabytes(bundle):
    bundle.text = json.dumps(bundle.sealed()) + " " * 9 * 2**20


@hostile("a key is there twice")
def a_key_that_is_there_twice(bundle):
    bundle.text = json.dumps(bundle.sealed())[:-1] + ', "name": "another"}'


@hostile("is not a finite number")
def a_temperature_that_is_no_number(bundle):
    bundle.text = json.dumps(bundle.card | {"temperature": float("nan")})


@hostile("is not a finite number")
def a_metric_beyond_all_numbers(bundle):
    bundle.text = json.dumps(bundle.card | {"metrics": {"top1": 0}}).replace('"top1": 0', '"top1": 1e999')


@hostile("surrogates not allowed")
def a_class_that_utf_8_cannot_hold(bundle):
    bundle.card["class_names"][0] = "\udce9"


@hostile("card.json is damaged")
def a_card_of_bytes(bundle):
    bundle.text = b"\xff\xfe\x00{"


@hostile("digits")
def a_number_of_a_million_digits(bundle):
    bundle.text = json.dumps(bundle.card)[:-1] + ', "temperature": ' + "9" * 1_000_000 + "}"


# What lies under the names of the files.


def placed(name, says, by="predict"):
    def add(make):
        def later(bundle):
            bundle.after.append(lambda folder: ((folder / name).unlink(), make(folder / name)))

        later.__name__ = make.__name__
        hostile(says, by)(later)
        return make

    return add


@placed("card.json", "card.json is a FIFO, not a file")
def a_fifo_for_the_card(path):
    os.mkfifo(path)


@placed("model.onnx", "model.onnx is a FIFO, not a file")
def a_fifo_for_the_graph(path):
    os.mkfifo(path)


@placed("golden.npz", "golden.npz is a FIFO, not a file", "verify")
def a_fifo_for_the_golden_images(path):
    os.mkfifo(path)


@placed("weights.safetensors", "weights.safetensors is a FIFO, not a file", "verify")
def a_fifo_for_the_weights(path):
    os.mkfifo(path)


@placed("model.onnx", "leads out of the bundle")
def a_link_to_a_device(path):
    path.symlink_to("/dev/zero")


@placed("card.json", "leads out of the bundle")
def a_link_to_a_secret(path):
    path.symlink_to("../secret.bin")


@placed("model.onnx", "leads out of the bundle")
def a_link_to_the_sound_graph(path):
    path.symlink_to(path.parents[1] / "sound" / "bundle" / "model.onnx")


@placed("model.onnx", "is a folder, not a file")
def a_folder_for_the_graph(path):
    path.mkdir()


@placed("model.onnx", "cannot be read: Too many levels of symbolic links")
def a_link_to_itself(path):
    path.symlink_to(path.name)


@placed("model.onnx", "bytes, a bundle's has 2,147,483,647 at most")
def a_graph_of_three_thousand_million_bytes(path):
    with path.open("wb") as file:
        file.truncate(3 * 10**9)


@placed("golden.npz", "bytes, a bundle's has", "verify")
def golden_images_of_a_terabyte(path):
    with path.open("wb") as file:
        file.truncate(10**12)


# The golden images.


def npz(**arrays):
    content = io.BytesIO()
    np.savez_compressed(content, **arrays)
    return content.getvalue()


def golden_with(says, **changes):
    def add(name):
        def make(bundle):
            with np.load(io.BytesIO(bundle.files["golden.npz"])) as arrays:
                kept = dict(arrays)
            for key, change in changes.items():
                kept[key] = change(kept[key])
            bundle.files["golden.npz"] = npz(**kept)

        make.__name__ = name
        hostile(says, "verify")(make)

    return add


class Pickled:
    def __reduce__(self):
        return (Path.touch, (Path("/tmp/googlenet-was-run"),))


golden_with("is not an array of numbers", images=lambda a: np.array([Pickled()], dtype=object))("a_pickle_as_images")
golden_with("golden.npz is damaged: images is of", images=lambda a: a[:, :16])("golden_images_of_another_size")
golden_with("golden.npz is damaged: images is of", images=lambda a: a.astype("f4"))("golden_images_of_floats")
golden_with("golden.npz is damaged: images is of", images=lambda a: np.repeat(a, 17, 0))("more_golden_images")
golden_with("not as many probabilities", images=lambda a: a[:1])("one_golden_image")
golden_with("probabilities is not finite", probabilities=lambda a: a * np.nan)("golden_answers_that_are_no_numbers")
golden_with("a golden probability differs", probabilities=lambda a: a[:, ::-1].copy())("golden_answers_of_others")
golden_with("probabilities is of", probabilities=lambda a: a[:, :2])("golden_answers_of_two_classes")


@hostile("images is cut", "verify")
def golden_images_that_are_cut(bundle):
    with np.load(io.BytesIO(bundle.files["golden.npz"])) as arrays:
        images = io.BytesIO()
        np.save(images, arrays["images"])
    archive(bundle, images.getvalue()[:-10])


@hostile("images is of", "verify")
def golden_images_that_unpack_to_four_gigabytes(bundle):
    header = "{'descr': '|u1', 'fortran_order': False, 'shape': (4000000000,), }".ljust(117).encode() + b"\n"
    archive(bundle, b"\x93NUMPY\x01\x00\x76\x00" + header + bytes(64 << 20))


@hostile("is not an array of numbers", "verify")
def golden_images_with_a_program_for_a_header(bundle):
    archive(bundle, b"\x93NUMPY\x01\x00\xe8\x03" + b"(" * 999 + b"\n" + bytes(1000))


def archive(bundle, images):
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("images.npy", images)
        file.writestr("probabilities.npy", b"")
    bundle.files["golden.npz"] = content.getvalue()


@hostile("golden.npz is damaged: File name in directory", "verify")
def golden_images_under_a_long_name(bundle):
    """Of which an error of Python's would quote all sixty thousand letters."""
    name = b"images.npy"
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as file:
        file.writestr("x" * 60_000, b"")
    written = content.getvalue()
    at = written.index(b"PK\x01\x02")
    directory = written[at : at + 28] + len(name).to_bytes(2, "little") + written[at + 30 : at + 46] + name
    end = b"PK\x05\x06" + bytes(4) + b"\x01\x00\x01\x00" + len(directory).to_bytes(4, "little")
    bundle.files["golden.npz"] = written[:at] + directory + end + at.to_bytes(4, "little") + bytes(2)


@hostile("more than 16 arrays", "verify")
def golden_images_among_ten_thousand_names(bundle):
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as file:
        for number in range(10_000):
            file.writestr(f"{number}.npy", b"")
    bundle.files["golden.npz"] = content.getvalue()


# The weights.


def tensors(header, body=bytes(8)):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + body


def weights_with(says, content):
    def add(name):
        def make(bundle):
            bundle.files["weights.safetensors"] = content

        make.__name__ = name
        hostile(says, "verify")(make)

    return add


def entry(start=0, end=8, dtype="F32", shape=(2,)):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": [start, end]}


weights_with("not a file of safetensors", b"\xff" * 8)("a_header_of_any_length")
weights_with("not a file of safetensors", b"")("no_weights")
weights_with("damaged header", tensors(b"[" * 50_000 + b"]" * 50_000))("a_header_as_deep_as_a_well")
weights_with("damaged header", tensors({"a": entry(shape=(2**62, 2**62))}))("a_tensor_of_any_shape")
weights_with("damaged header", tensors({"a": entry(dtype="PICKLE")}))("a_tensor_of_another_type")
weights_with("tensors that overlap", tensors({"a": entry(), "b": entry(4, 12)}))("tensors_that_overlap")
weights_with("end beyond the file", tensors({"a": entry(0, 80, shape=(20,))}))("a_tensor_beyond_the_end")
weights_with("belong to no tensor", tensors({"a": entry()}, bytes(80)))("bytes_of_no_tensor")
weights_with("not finite", tensors({"a": entry()}, b"\xff" * 8))("weights_of_ones_alone")


# The graph in 8 bits: XML and the bytes of its constants.


def int8_with(says, old, new):
    def add(name):
        def make(bundle):
            bundle.files |= bundle.quantised
            xml = bundle.files["int8.xml"].decode()
            assert old in xml
            bundle.files["int8.xml"] = xml.replace(old, new, 1).encode()

        make.__name__ = name
        hostile(says, "int8")(make)

    return add


DOCTYPE = '<!DOCTYPE net [<!ENTITY a SYSTEM "file:///etc/passwd">]>'
LAUGHS = "<!DOCTYPE net [<!ENTITY a 'ha'>" + "".join(f"<!ENTITY a{n} '&a;&a;&a;'>" for n in range(9)) + "]>"
int8_with("declares a document type", "<net", f"{DOCTYPE}<net")("an_entity_of_the_system")
int8_with("declares a document type", "<net", f"{LAUGHS}<net")("a_thousand_million_laughs")
int8_with("is not a graph OpenVINO can read", "</net>", "")("xml_that_does_not_end")
int8_with("holds a layer that no graph of ours has", 'type="ReLU"', 'type="TensorIterator"')("an_iterator")
int8_with("holds a layer that no graph of ours has", 'type="ReLU"', 'type="ReadValue"')("a_variable")
int8_with("holds a layer that no graph of ours has", 'version="opset1"', 'version="extension"')("an_extension")
int8_with("attributes that it has not", "<data ", '<data location="/etc/passwd" ')("a_constant_with_a_place")
int8_with("has an element that no graph", "<layers>", "<layers><include/>")("an_element_of_others")
int8_with("of shape .* bytes from byte", 'offset="0"', 'offset="99999999999"')("a_constant_beyond_the_bytes")
int8_with("of shape .* bytes from byte", 'shape="4"', 'shape="4000"')("a_constant_that_promises_more")
int8_with("out of range", 'strides="2, 2"', 'strides="0, 0"')("int8_steps_of_nothing")
int8_with("out of range", 'pads_begin="1, 1"', 'pads_begin="9999999, 1"')("int8_padding_without_bounds")
int8_with("would take more", 'pads_begin="1, 1"', 'pads_begin="999999, 1"')("int8_padding_too_much")
int8_with("has an edge between layers that are not there", "</edges>", '<edge from-layer="x" to-layer="y"/></edges>')(
    "an_edge_from_nowhere"
)
int8_with("has two layers", 'layer id="1"', 'layer id="0"')("two_layers_of_one_number")
int8_with("does not fit its card", 'shape="?,32,32,3"', 'shape="?,64,64,3"')("int8_images_of_another_size")


@hostile("weights that are not finite", "int8")
def int8_weights_that_are_no_numbers(bundle):
    bundle.files |= bundle.quantised
    xml, weights = bundle.files["int8.xml"].decode(), bytearray(bundle.files["int8.bin"])
    place = xml.index('element_type="f32"', xml.index('type="Const"'))
    offset = int(xml[place:].split('offset="')[1].split('"')[0])
    weights[offset : offset + 4] = b"\xff\xff\xff\x7f"
    bundle.files["int8.bin"] = bytes(weights)


@hostile("of more than the number of sides", "int8")
def int8_constants_that_spread_without_bounds(bundle):
    bundle.files |= bundle.quantised
    xml = bundle.files["int8.xml"].decode()
    name = next(part for part in xml.split("<layer ") if 'type="Subtract"' in part and "I64" in part)
    bundle.files["int8.xml"] = xml.replace(name, name.replace('type="Subtract"', 'type="Multiply"'), 1).encode()


# Reading them all.


@pytest.fixture(scope="module")
def sound(trained_run, tmp_path_factory):
    """A folder with a sound bundle in `sound/`, a secret beside it, and what the bundle holds."""
    from googlenet.exporting.quantization import in_8_bits

    root = tmp_path_factory.mktemp("hostile")
    bundle = bundles.read(trained_run)
    files = {name: bundle.read(name) for name in bundle.card.files}
    bundles.write(root / "sound" / "bundle", bundle.card, files)
    noise = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), dtype=np.uint8)
    quantised = in_8_bits(bundle, list(noise))
    (root / "secret.bin").write_bytes(SECRET)
    image = trained_run.parent / "photos" / "red" / "001.png"
    return SimpleNamespace(root=root, files=files, quantised=quantised, card=bundle.card, image=image)


def write(sound, name):
    """Write the hostile bundle of a name, as whoever made it would: with hashes that fit."""
    folder = sound.root / name
    folder.mkdir()
    card = json.loads(sound.card.to_json())
    card.pop("sha256", None)
    files = dict(sound.files)
    model = onnx.load_from_string(files["model.onnx"])
    kernel = next(tensor for tensor in model.graph.initializer if tensor.name.endswith("conv.weight"))
    bundle = SimpleNamespace(
        files=files, card=card, model=model, kernel=kernel, quantised=sound.quantised, text=None, after=[]
    )
    bundle.sealed = lambda: json.loads(seal(bundle.card))
    before = model.SerializeToString()
    HOSTILE[name][0](bundle)
    if bundle.files["model.onnx"] == sound.files["model.onnx"] and model.SerializeToString() != before:
        bundle.files["model.onnx"] = model.SerializeToString()
    hashes = {each: hashlib.sha256(content).hexdigest() for each, content in bundle.files.items()}
    if card["files"].keys() <= sound.files.keys() and 0 not in card["files"].values():
        card["files"] = hashes
    text = seal(card) if bundle.text is None else bundle.text
    for each, content in (bundle.files | {"card.json": text if isinstance(text, bytes) else text.encode()}).items():
        (folder / each).write_bytes(content)
    (folder / "secret.bin").write_bytes(SECRET)
    for change in bundle.after:
        change(folder)
    return folder


def seal(card):
    fields = {key: value for key, value in card.items() if key != "sha256"}
    canonical = json.dumps(fields, sort_keys=True, separators=(",", ":"))
    return json.dumps(fields | {"sha256": hashlib.sha256(canonical.encode()).hexdigest()})


def probe(sound, command, *arguments):
    """Run the probe; give its lines as tables, and what it said on stderr."""
    result = subprocess.run(
        [sys.executable, PROBE, command, sound.image, *arguments],
        cwd=sound.root, capture_output=True, text=True, timeout=600, check=False,
    )  # fmt: skip
    return [json.loads(line) for line in result.stdout.splitlines()], result.stderr


@pytest.fixture(scope="module")
def answers(sound):
    """What is answered to each hostile bundle, all of them read by one process; and to the sound one."""
    folders = {name: write(sound, name) for name in HOSTILE}
    first, *found = probe(sound, "read", sound.root / "sound" / "bundle", *folders.values())[0]
    return {"sound": first} | {Path(each["bundle"]).name: each for each in found}


def test_the_sound_bundle_is_answered(answers):
    assert answers["sound"]["verify"] == "sound"
    assert len(answers["sound"]["predict"]) == 3


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_bundle_is_refused_in_one_line(answers, sound, name):
    _, says, by = HOSTILE[name]
    assert name in answers, "the process that read it ended: it hung, or took too much memory"
    found = answers[name]
    assert_refused(found[by], says)
    for stage in ("predict", "verify", "export"):
        if found[stage] != answers["sound"][stage]:
            assert_refused(found[stage], ".")


def assert_refused(answer, says):
    assert isinstance(answer, str)
    assert answer.startswith(("BundleError: ", "DeviceError: ")), answer
    assert re.search(says, answer), answer
    assert answer.isprintable()
    assert len(answer) < 1000
    assert "a secret" not in answer


@pytest.mark.parametrize("name", HOSTILE)
def test_nothing_outside_of_a_hostile_bundle_is_opened(answers, sound, name):
    folder = (sound.root / name).resolve()
    ours = {str(each) for each in folder.iterdir()}
    for path in answers[name]["opened"]:
        if path.startswith(str(sound.root.resolve())):
            assert path in ours
            assert not path.endswith("secret.bin")
        else:
            assert "passwd" not in path


def test_a_hundred_hostile_bundles_and_more():
    assert len(HOSTILE) > 100


def test_a_linked_folder_is_a_bundle_like_any(sound, tmp_path):
    (tmp_path / "link").symlink_to(sound.root / "sound" / "bundle")
    assert bundles.read(tmp_path / "link").read("model.onnx") == sound.files["model.onnx"]


def test_the_cache_of_the_hub_is_read_though_it_holds_links(sound, tmp_path):
    snapshot, blobs = tmp_path / "models--a--b" / "snapshots" / "0123", tmp_path / "models--a--b" / "blobs"
    snapshot.mkdir(parents=True)
    blobs.mkdir()
    for path in (sound.root / "sound" / "bundle").iterdir():
        (blobs / path.name).write_bytes(path.read_bytes())
        (snapshot / path.name).symlink_to(f"../../blobs/{path.name}")
    assert bundles.read(snapshot).read("model.onnx") == sound.files["model.onnx"]
    (snapshot / "model.onnx").unlink()
    (snapshot / "model.onnx").symlink_to(sound.root / "sound" / "bundle" / "model.onnx")
    with pytest.raises(bundles.BundleError, match="leads out of the bundle"):
        bundles.read(snapshot).read("model.onnx")


def test_bundles_damaged_at_random_are_refused_or_answer_as_before(sound):
    check_mutations(sound, seed=0, count=MUTATIONS)


def check_mutations(sound, seed, count):
    (first, *found), said = probe(sound, "mutate", sound.root / "sound" / "bundle", str(seed), str(count))
    assert len(found) == count, f"number {len(found)} of seed {seed} ended the process: {said[-500:]}"
    for each in found:
        for stage in ("predict", "verify", "export"):
            answer = each[stage]
            if isinstance(answer, str) and answer.startswith(("BundleError: ", "DeviceError: ")):
                assert answer.isprintable(), each
                assert len(answer) < 1000, each
            elif not each["fitted"]:
                assert answer == first[stage], each
            elif stage == "predict":  # another graph may answer otherwise: but with numbers
                assert not isinstance(answer, str), each
                assert np.isfinite(answer).all(), each
        assert not [path for path in each["opened"] if "secret" in path or path.startswith("/etc/")], each
