"""A Redfish controller of a virtual machine: ``sushy-emulator --fake``, whose notifier switches the machine.

What is asked of it comes about 1 to 11 seconds later, as with real controllers; it asks for a user and a password.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self

from tests.stack.bmc import start
from tests.stack.machine import Machine, power_off, power_state
from tests.stack.process import Process, free_port

USER, PASSWORD = "admin", "s3cret-of-a-redfish"


class FakeRedfish:
    """Runs until the block ends."""

    user, password = USER, PASSWORD

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.url = ""
        self._stack = ExitStack()
        self._device = "network"

    def __enter__(self) -> Self:
        with self._stack:
            notifier = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
            thread = threading.Thread(target=notifier.serve_forever)
            thread.start()
            self._stack.callback(thread.join)
            self._stack.callback(notifier.server_close)
            self._stack.callback(notifier.shutdown)
            port = free_port()
            self.url = f"http://127.0.0.1:{port}"
            config = self._config(port, notifier.server_address[1])
            program = str(Path(sys.executable).parent / "sushy-emulator")
            command = [program, "--fake", "--config", str(config)]
            process = Process(self.machine.folder, "redfish", command, environment={**os.environ, "no_proxy": "*"})
            self._stack.callback(process.stop)
            process.wait_for(f"{self.url}/redfish/v1/")
            self._stack = self._stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _config(self, port: int, notified: int) -> Path:
        import bcrypt

        folder = self.machine.folder
        digest = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(4)).decode()
        (folder / "htpasswd").write_text(f"{USER}:{digest}\n")
        (folder / "state").mkdir(exist_ok=True)
        system = {
            "uuid": self.machine.uuid, "name": self.machine.serial, "power_state": "Off", "external_notifier": True,
            "nics": [{"mac": mac, "ip": ""} for mac in self.machine.macs], "boot_device": "Hdd",
        }  # fmt: skip
        settings = {
            "SUSHY_EMULATOR_LISTEN_IP": "127.0.0.1", "SUSHY_EMULATOR_LISTEN_PORT": port,
            "SUSHY_EMULATOR_AUTH_FILE": str(folder / "htpasswd"), "SUSHY_EMULATOR_STATE_DIR": str(folder / "state"),
            "SUSHY_EMULATOR_FAKE_SYSTEMS": [system], "EXTERNAL_NOTIFICATION_URL": f"http://127.0.0.1:{notified}",
        }  # fmt: skip
        path = folder / "redfish.conf"
        path.write_text("".join(f"{name} = {value!r}\n" for name, value in settings.items()))
        return path

    def _changed(self, system: dict[str, Any]) -> None:
        """The emulator says how the machine should be: make it so."""
        self._device = "network" if system.get("boot_device") == "Pxe" else "disk"
        folder = self.machine.folder
        if system["power_state"] == "On" and not system.get("pending_power") and not power_state(folder):
            start(folder, self._device)
        elif system["power_state"] == "Off" and not system.get("pending_power"):
            power_off(folder)

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        changed = self._changed

        class Handler(BaseHTTPRequestHandler):
            def do_PUT(self) -> None:
                changed(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
                self.send_response(204)
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                """Says nothing."""

        return Handler
