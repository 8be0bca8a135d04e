"""`template`: renders a Jinja template with values.

Jinja's sandbox limits a template to its values, an undefined name is an error, and nothing is escaped: an HTML template
writes `| e` where needed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from engine.sdk.context import Context, Failure, Permanent
from engine.sdk.task import Task
from engine.tasks.schema_helpers import describe_os_error, object_schema, resolve_path

__all__ = ["TASK", "refuse_in_event_loop", "render_template"]


async def refuse_in_event_loop(inputs: dict[str, Any], context: Context) -> dict[str, str]:
    """Raise AssertionError: `render_template` runs instead, in a thread."""
    raise AssertionError("templates are filled in by `fill`")


def render_template(inputs: Mapping[str, Any], context: Context) -> dict[str, str]:
    """Render the template; a long loop in it is interrupted on cancellation."""
    return {"text": _render(inputs, context)}


def _render(inputs: Mapping[str, Any], context: Context) -> str:
    try:
        import jinja2
        from jinja2.sandbox import ImmutableSandboxedEnvironment
    except ImportError:
        raise Permanent("`template` needs Jinja: pip install 'engine[template]'") from None
    text, name = inputs.get("text"), "text"
    if text is None:
        name = inputs["file"]
        try:
            text = resolve_path(context, name).read_text(encoding="utf-8")
        except OSError as error:
            raise Failure(describe_os_error(error)) from None
    jinja = ImmutableSandboxedEnvironment(
        undefined=jinja2.StrictUndefined, autoescape=False, keep_trailing_newline=True
    )
    try:
        return str(jinja.from_string(text).render(inputs.get("values", {})))
    except jinja2.TemplateSyntaxError as error:
        raise Permanent(f"`{name}`, line {error.lineno}: {error.message}") from None
    except (jinja2.TemplateError, ArithmeticError, TypeError, ValueError) as error:
        raise Failure(f"`{name}`: {error}") from None


TASK = Task(
    id="template",
    body=refuse_in_event_loop,
    executor="thread",
    function=render_template,
    build_arguments=lambda inputs, context: {"inputs": inputs, "context": context},
    name="Template",
    description="Render a Jinja template with values. A name without a value is an error.",
    input_schema=object_schema(
        {
            "text": {"type": "string", "description": "The text of the template."},
            "file": {"type": "string", "description": "The path of a file with the template, relative to the spec's folder."},
            "values": {"type": "object", "description": "The values that the template can use, by name."},
        },
        oneOf=[{"required": ["text"]}, {"required": ["file"]}],
    ),
    output_schema=object_schema({"text": {"type": "string", "description": "The text that was rendered."}}, ["text"]),
    output_contract="exact",
    may_request_delay=False,
    example="""\
[nodes.letter]
task = "template"
with.text = "Dear {{ name }}, {% for item in items %}{{ loop.index }}. {{ item }} {% endfor %}"
with.values = { name = "${inputs.name}", items = "${list.stdout}" }
""",
)  # fmt: skip
