"""The tools of `agent.toml`."""

import ast
import operator
from typing import Any, TypedDict

OPERATORS: dict[type, Any] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.USub: operator.neg,
}


class Told(TypedDict):
    """All that was said, with what the tools gave."""

    messages: list[dict[str, Any]]


def act(calls: list[dict[str, Any]], messages: list[dict[str, Any]]) -> Told:
    """Do what the model asks for; what goes wrong is told to the model."""
    given = [{"role": "tool", "tool_call_id": call["id"], "content": _done(call)} for call in calls]
    # What the model was told about itself is sent anew each time.
    said = [message for message in messages if message["role"] != "system"]
    return {"messages": [*said, *given]}


def _done(call: dict[str, Any]) -> str:
    if call["name"] != "calculate":
        return f"there is no tool {call['name']}"
    try:
        return str(_value(ast.parse(call["arguments"]["expression"], mode="eval").body))
    except (ArithmeticError, KeyError, SyntaxError, TypeError, ValueError) as error:
        return f"that cannot be calculated: {error}"


def _value(node: ast.expr) -> float:
    if isinstance(node, ast.BinOp) and type(node.op) in OPERATORS:
        result: float = OPERATORS[type(node.op)](_value(node.left), _value(node.right))
        return result
    if isinstance(node, ast.UnaryOp) and type(node.op) in OPERATORS:
        negative: float = OPERATORS[type(node.op)](_value(node.operand))
        return negative
    if isinstance(node, ast.Constant) and isinstance(node.value, (int, float)):
        return node.value
    raise ValueError("only numbers, + - * / and brackets")
