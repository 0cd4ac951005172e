"""The provisioning commands over the API: one operation for all that are declared, as plan or apply."""

from __future__ import annotations

from typing import Any

from sretoolkit.errors import UnknownPlugin
from sretoolkit.plan.execution import run_alone
from sretoolkit.plan.session import own_session
from sretoolkit.provision.commands import COMMANDS, Command
from sretoolkit.provision.registry import Registry
from sretoolkit.server.api.operation import Call, Operation, shape, some

_ORDER = {
    "type": "object",
    "properties": {
        "arguments": {"type": "object", "description": "as GET /api/v1/provision has them"},
        "mode": {"enum": ["plan", "apply"], "default": "plan"},
        "ticket": {"type": "string", "maxLength": 200},
        "irreversible": {"type": "boolean", "description": "also steps that cannot be taken back"},
    },
    "additionalProperties": False,
    "examples": [{"arguments": {"name": "big", "rule": [">=", ["fact", "cpus"], 8]}, "mode": "plan"}],
}  # fmt: skip
_DONE = shape(run="string", state="string", items="array")
_COMMANDS = shape(commands=some({"type": "object"}))


def _list(call: Call) -> Any:
    visible = [
        command for command in COMMANDS.values() if call.site.access.allows(call.person, _name(command), "viewer")
    ]
    return {
        "commands": [
            {"name": each.name, "help": each.help, "schema": each.schema(), "example": dict(each.example)}
            for each in visible
        ]
    }


def _carry_out(call: Call) -> Any:
    """The plan of a command, in a run of its own, as who called."""
    command = COMMANDS.get(call.path["command"])
    if command is None:
        raise UnknownPlugin("command", call.path["command"][:80], known=list(COMMANDS))
    call.site.access.require(call.person, _name(command), "operator")
    plan = command.plan(Registry(call.site.store), **call.body.get("arguments", {}))
    if not plan.items:
        return {"run": "", "state": "completed", "items": []}
    session = own_session(
        plan.title, mode=call.body.get("mode", "plan"), config=call.site.config, store=call.site.store,
        ticket=call.body.get("ticket", ""), actor=call.person.actor, origin="api",
    )  # fmt: skip
    session.irreversible = call.body.get("irreversible", False)
    outcome = run_alone(plan, session)
    return {"run": outcome.run, "state": outcome.state, "items": outcome.rows}


def _name(command: Command) -> str:
    """What a policy calls it."""
    return f"provision {command.name}"


OPERATIONS = (
    Operation("GET", "/api/v1/provision", "listCommands", "What can be changed, with schema and example.", _list, _COMMANDS),
    Operation("POST", "/api/v1/provision/{command}", "provision", "Plan or apply one of these commands.", _carry_out, _DONE,
              body=_ORDER),
)  # fmt: skip
