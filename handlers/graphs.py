"""What a program of torch.export computes, checked and written anew: names and operations, and nothing that could run.

torch trusts the JSON of such a file: it evaluates sizes as Python (sympy), finds operations by any path below `torch`
(`torch.ops.load_library` too), runs guards, and writes names into source that it executes. So nothing is passed on
that isn't one of the forms that are known here.
"""

from __future__ import annotations

import ast
import keyword
import re
from collections.abc import Mapping
from typing import Any, Final

import torch

from sluice.images import WeightsError

SCHEMA_MAJOR: Final = 8
"""Of torch.export's JSON: what is known here is known of this one."""
WORD: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_.]{0,299}", re.ASCII)
OPERATION: Final = re.compile(r"torch\.ops\.aten\.([A-Za-z0-9_]+)\.([A-Za-z0-9_]+)", re.ASCII)
SYMBOL: Final = re.compile(r"[su][0-9]{1,6}")
TEXT_MAX: Final = 200
SIZE_MAX: Final = 2000
"""Characters of a size's formula."""

PLAIN: Final = frozenset(
    [f"_operator.{name}" for name in "getitem add sub mul floordiv truediv mod neg eq ne lt le gt ge".split()]  # noqa: SIM905
    + [f"math.{name}" for name in ("ceil", "floor", "trunc")]
    + [f"torch.sym_{name}" for name in ("int", "float", "max", "min", "not")]
)
"""Operations on numbers."""
INNER: Final = frozenset(
    "_softmax _log_softmax _to_copy _unsafe_view _unsafe_index _assert_tensor_metadata _adaptive_avg_pool2d "  # noqa: SIM905
    "_native_batch_norm_legit_no_training _scaled_dot_product_flash_attention_for_cpu _weight_norm_interface".split()
)
"""Of torch's own inner operations, those that exported networks are made of."""
TEXTS: Final = frozenset(
    {"rounding_mode", "equation", "approximate", "mode", "padding", "padding_mode", "reduce", "indexing", "side", "ord"}
)
"""The arguments that are words. No other operation takes one: `save` and `from_file` would, for the name of a file."""
SIZES: Final = frozenset(
    "Symbol Integer Add Mul Min Max Mod PythonMod FloorDiv CeilDiv CleanDiv Eq Ne Le Lt Ge Gt".split()  # noqa: SIM905
)
ASSUMED: Final = frozenset({"positive", "nonnegative", "integer", "real"})
FORBIDDEN: Final = frozenset({"as_graph", "as_custom_obj", "as_operator", "as_string_to_argument"})
ONE_TENSOR_IN: Final = (
    '[1, {"type": "builtins.tuple", "context": "null", "children_spec": [{"type": "builtins.tuple", "context": "null", '
    '"children_spec": [{"type": null, "context": null, "children_spec": []}]}, {"type": "builtins.dict", "context": '
    '"[]", "children_spec": []}]}]'
)
ONE_TENSOR_OUT: Final = '[1, {"type": null, "context": null, "children_spec": []}]'

Json = dict[str, Any]


def plain_graph(told: Mapping[str, Any]) -> Json:
    """Return a program's JSON with nothing in it but what is known to be harmless; WeightsError says what isn't."""
    try:
        return _plain(told)
    except (KeyError, TypeError, AttributeError, IndexError) as error:
        raise WeightsError(f"its graph isn't of a form that is known here ({error!r})") from error


def _plain(told: Mapping[str, Any]) -> Json:
    if told["schema_version"]["major"] != SCHEMA_MAJOR:
        raise WeightsError(
            f"its graph is of version {told['schema_version']['major']}, known here is {SCHEMA_MAJOR}: export it with "
            f"torch {torch.__version__.partition('+')[0]}"
        )
    module = told["graph_module"]
    graph = module["graph"]
    if graph.get("custom_obj_values"):
        raise WeightsError("its graph holds objects of other kinds than tensors")
    kept = {
        "graph_module": {
            "graph": {
                "inputs": graph["inputs"],
                "outputs": graph["outputs"],
                "nodes": [_node(node) for node in graph["nodes"]],
                "tensor_values": graph["tensor_values"],
                "sym_int_values": graph["sym_int_values"],
                "sym_bool_values": graph["sym_bool_values"],
                "sym_float_values": graph.get("sym_float_values", {}),
                "is_single_tensor_return": bool(graph.get("is_single_tensor_return")),
                "custom_obj_values": {},
            },
            "signature": module["signature"],
            "module_call_graph": [_calling(module["module_call_graph"])],
            "metadata": {},
            "treespec_namedtuple_fields": {},
        },
        "opset_version": told["opset_version"],
        "range_constraints": _ranges(told["range_constraints"]),
        "schema_version": told["schema_version"],
        "verifiers": told["verifiers"],
        "torch_version": "",
        "guards_code": [],
    }
    for values in ("tensor_values", "sym_int_values", "sym_bool_values", "sym_float_values"):
        for name in kept["graph_module"]["graph"][values]:
            _name(name)
    _look(kept, "")
    return kept


def _node(node: Mapping[str, Any]) -> Json:
    target = str(node["target"])
    if target not in PLAIN:
        _check_operation(target)
    return {
        "target": target,
        "inputs": node["inputs"],
        "outputs": node["outputs"],
        "metadata": {},
        "is_hop_single_tensor_return": None,
        "name": node.get("name"),
    }


def _check_operation(target: str) -> None:
    """Refuse what isn't an operation on tensors; words are taken for few arguments, and for no file's name."""
    found = OPERATION.fullmatch(target)
    if found is None:
        raise WeightsError(
            f"it calls {target[:TEXT_MAX]!r}: only torch.ops.aten operations are taken; export the network in eval "
            f"mode, outside of no_grad blocks and without operations of one's own"
        )
    name, overload = found.groups()
    full = f"aten::{name}" if overload == "default" else f"aten::{name}.{overload}"
    known = torch._C._dispatch_has_kernel(full) and hasattr(torch.ops.aten, name)  # noqa: SLF001 - no public way
    packet = getattr(torch.ops.aten, name) if known and (not name.startswith("_") or name in INNER) else None
    if packet is None or overload not in packet.overloads():
        raise WeightsError(f"it calls {target}, which is no operation that networks are made of")
    schema = getattr(packet, overload)._schema  # noqa: SLF001 - the same
    words = {each.name for each in schema.arguments if "str" in str(each.type)}
    if words - TEXTS or any("Storage" in str(each.type) for each in schema.arguments):
        raise WeightsError(f"it calls {target}, which takes {', '.join(sorted(words)) or 'storage'}")


def _calling(entries: list[Mapping[str, Any]]) -> Json:
    """Return how the program is called: with one tensor, which gives one tensor."""
    (whole,) = [entry["signature"] for entry in entries if entry["fqn"] == ""] or [None]
    if whole is None or (whole["in_spec"], whole["out_spec"]) != (ONE_TENSOR_IN, ONE_TENSOR_OUT):
        raise WeightsError(
            "it must take one tensor, the pictures, and return one, the scores: export a module whose forward does so"
        )
    signature = {
        "inputs": [],
        "outputs": [],
        "in_spec": ONE_TENSOR_IN,
        "out_spec": ONE_TENSOR_OUT,
        "forward_arg_names": [],
    }
    return {"fqn": "", "signature": signature}


def _ranges(told: Mapping[str, Any]) -> Json:
    """Return how large sizes may be. From 1: torch writes 2 of itself, and whoever builds tries one picture."""
    ranges = {}
    for symbol, span in told.items():
        most = span["max_val"]
        if not SYMBOL.fullmatch(symbol) or not (most is None or isinstance(most, int)):
            raise WeightsError(f"its size {symbol[:TEXT_MAX]!r} has no range that is known here")
        ranges[symbol] = {"min_val": 1, "max_val": most}
    return ranges


def _look(value: object, key: str) -> None:
    """Refuse what isn't a number, a word, or a size; an iterative walk, since a file may nest as deep as it likes."""
    stack: list[tuple[object, str]] = [(value, key)]
    while stack:
        value, key = stack.pop()
        if isinstance(value, dict):
            if len(FORBIDDEN & value.keys()):
                raise WeightsError("it holds graphs within its graph, or objects of other kinds than tensors")
            for inner, each in value.items():
                if not WORD.fullmatch(inner):
                    raise WeightsError(f"its graph has a name that is none: {inner[:TEXT_MAX]!r}")
                stack.append((each, inner))
        elif isinstance(value, list):
            stack.extend((each, key) for each in value)
        elif isinstance(value, str):
            _check_text(value, key)
        elif value is not None and not isinstance(value, int | float):
            raise WeightsError(f"its graph holds a {type(value).__name__}")


def _check_text(text: str, key: str) -> None:
    if key == "expr_str":
        _check_size(text)
    elif key in {"name", "as_name"} and text:
        _name(text)
    elif key in {"as_string", "as_strings"}:
        # It becomes a Python literal in what torch writes; an equation of einsum has signs.
        if len(text) > TEXT_MAX or not text.isprintable():
            raise WeightsError(f"its graph has a text that is too long or no text: {text[:TEXT_MAX]!r}")
    elif text and key not in {"in_spec", "out_spec"} and not WORD.fullmatch(text):
        raise WeightsError(f"its graph has a name that is none: {text[:TEXT_MAX]!r}")


def _name(name: str) -> None:
    """Refuse what isn't the name of a variable: it stands in source that torch makes."""
    if not WORD.fullmatch(name) or "." in name or keyword.iskeyword(name):
        raise WeightsError(f"its graph has a name that is none: {name[:TEXT_MAX]!r}")


def _check_size(text: str) -> None:
    """Refuse what isn't a formula of sizes: torch would evaluate it."""
    try:
        formula = ast.parse(text, mode="eval") if len(text) <= SIZE_MAX else None
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        formula = None
    if formula is None or not _is_size(formula.body):
        raise WeightsError(f"its graph has a size that is none: {text[:TEXT_MAX]!r}")


def _is_size(node: ast.AST) -> bool:
    if isinstance(node, ast.Constant):
        return type(node.value) is int
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        return _is_size(node.operand)
    if isinstance(node, ast.Name):
        return bool(SYMBOL.fullmatch(node.id))
    if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in SIZES):
        return False
    if node.func.id == "Symbol":
        said = node.args[0] if len(node.args) == 1 else None
        named = isinstance(said, ast.Constant) and isinstance(said.value, str) and bool(SYMBOL.fullmatch(said.value))
        return named and all(each.arg in ASSUMED and isinstance(each.value, ast.Constant) for each in node.keywords)
    return not node.keywords and all(_is_size(each) for each in node.args)
