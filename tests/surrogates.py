"""Half of a surrogate pair, which JSON can write and no encoder takes, wherever a stranger may put text.

    for raw in WEBHOOKS: server.deliver(raw)
    server.post("/sends", SEND)

`IDS` are then what there is to ask for, by the name of a path's parameter.
"""

import json
from collections.abc import Iterator
from itertools import product
from urllib.parse import quote

from tests.builders import body

HALF = "\ud83d"
NESTED: list[object] = [HALF, {HALF: [HALF, {"note": HALF}]}, 1]

SEND = json.dumps(
    {
        "idempotencyKey": "idem_half",
        "request": {"text": HALF, "sendFrom": HALF, "externalReference": HALF, HALF: NESTED},
        "response": {
            "results": [{"to": HALF, "messageId": "msg_failed_1", "status": HALF, HALF: NESTED}],
            "errors": NESTED,
        },
    }
).encode()
WEBHOOKS = (
    body("message.failed", "msg_failed_1", sequence=1, errorCode=HALF, externalReference=HALF, **{HALF: NESTED}),
    body("message.failed", "msg_failed_2", sequence=1, errorCode=NESTED, error={"code": HALF, HALF: {HALF: HALF}}),
    body(f"message.{HALF}", "msg_failed_1", sequence=2, providerMessageRef=HALF, occurredAt=HALF),
    *(
        body("message.inbound", f"msg_in_{number}", conversationId=conversation, numberId=HALF, body=said, **others)
        for number, (conversation, said) in enumerate(
            [("conv_half", HALF), ("conv_half", NESTED), (HALF, {HALF: HALF})]
        )
        for others in [{"from": HALF, "to": HALF, "media": [said, {"url": HALF, HALF: HALF}, {"url": said, "a": said}]}]
    ),
    body("message.sent", HALF, sequence=1),
)
IDS = {
    "messageId": ("msg_failed_1", "msg_failed_2", "msg_in_0", "msg_in_1", "msg_in_2"),
    "version": ("1", "2", "3"),
    "conversationId": ("conv_half", "\ufffd"),
    "idempotencyKey": ("idem_half",),
    "name": ("message-status",),
}


def targets(path: str, **more: tuple[str, ...]) -> Iterator[str]:
    """A path with each id in it that there is; none where there is nothing of that kind."""
    ids = {name: each for name, each in (IDS | more).items() if "{" + name + "}" in path}
    for chosen in product(*ids.values()):
        target = path
        for name, value in zip(ids, chosen, strict=True):
            target = target.replace("{" + name + "}", quote(value, safe=""))
        if "{" not in target:
            yield target
