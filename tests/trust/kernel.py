"""A notebook's kernel, as JupyterLab would start one."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from queue import Empty
from typing import Any

from jupyter_client.manager import KernelManager


class Kernel:
    """A running kernel; `run` executes a cell and returns what it showed, as text."""

    def __init__(self, manager: Any) -> None:
        self.manager = manager
        self.client = manager.blocking_client()
        self.client.start_channels()
        self.client.wait_for_ready(timeout=60)

    @property
    def pid(self) -> int:
        """The kernel's process."""
        return int(self.manager.provisioner.process.pid)

    def start(self, cell: str) -> str:
        """Begin to execute a cell; return the id of the request."""
        return str(self.client.execute(cell))

    def run(self, cell: str, timeout: float = 120) -> str:
        """Execute a cell; TimeoutError when the kernel does not answer."""
        wanted = self.start(cell)
        said: list[str] = []
        end = time.monotonic() + timeout
        while time.monotonic() < end:
            try:
                message = self.client.get_iopub_msg(timeout=1)
            except Empty:
                if not self.manager.is_alive():
                    raise TimeoutError("the kernel died") from None
                continue
            if message["parent_header"].get("msg_id") != wanted:
                continue
            content = message["content"]
            if "text" in content:
                said.append(content["text"])
            if "data" in content:
                said.append(content["data"].get("text/plain", ""))
            if message["msg_type"] == "error":
                said.append(f"{content['ename']}: {content['evalue']}")
            if content.get("execution_state") == "idle":
                return "\n".join(said)
        raise TimeoutError(f"the kernel did not answer within {timeout:g} s")


@contextlib.contextmanager
def kernel(cwd: str) -> Iterator[Kernel]:
    """Start a kernel with heapscope loaded, and end it."""
    manager = KernelManager(kernel_name="python3")
    manager.start_kernel(cwd=cwd, env=dict(os.environ))
    try:
        started = Kernel(manager)
        started.run("%load_ext heapscope")
        yield started
        started.client.stop_channels()
    finally:
        manager.shutdown_kernel(now=True)
