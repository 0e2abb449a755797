"""One function in several processes that train one model together, as `accelerate launch` would start them."""

import os
import pickle
import socket
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch


def together(function: Callable[..., Any], processes: int, /, *arguments: Any, **named: Any) -> Any:
    """What `function` returns in the first of `processes` processes; called here when there is one.

    Function and arguments are pickled; every process finds its rank where accelerate looks for it.
    """
    if processes <= 1:
        return function(*arguments, **named)
    with tempfile.TemporaryDirectory() as folder, socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
        free.close()
        call = (function, arguments, named, processes, port, folder)
        torch.multiprocessing.spawn(_one, (call,), nprocs=processes)
        return pickle.loads((Path(folder) / "result").read_bytes())


def _one(rank: int, call: tuple[Any, ...]) -> None:
    """The body of one process."""
    function, arguments, named, processes, port, folder = call
    numbers = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": processes, "LOCAL_WORLD_SIZE": processes}
    os.environ.update({name: str(value) for name, value in numbers.items()})
    os.environ.update({"MASTER_ADDR": "localhost", "MASTER_PORT": str(port)})
    if not torch.cuda.is_available():
        os.environ["ACCELERATE_USE_CPU"] = "true"
        torch.set_num_threads(max(1, torch.get_num_threads() // processes))
    result = function(*arguments, **named)
    if rank == 0:
        (Path(folder) / "result").write_bytes(pickle.dumps(result))
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()
