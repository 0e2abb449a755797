"""One function in several processes: that train one model together, or each by itself."""

import os
import pickle
import socket
import tempfile
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context, parent_process
from pathlib import Path
from typing import Any

import torch


def together(function: Callable[..., Any], processes: int, /, *arguments: Any, **named: Any) -> Any:
    """What `function` returns in the first of `processes` processes; called here when there is one.

    They are started as `accelerate launch` would: each finds its rank where accelerate looks for it. Function and
    arguments are pickled.
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


def at_once(function: Callable[..., Any], calls: Sequence[tuple], count: int, /, **named: Any) -> list[Any]:
    """What `function` returns for each call, in their order; `count` at a time, in processes that take GPUs in turn."""
    if count <= 1:
        return [function(*call, **named) for call in calls]
    context = get_context("forkserver")
    context.set_forkserver_preload([function.__module__])  # libraries are loaded once for all
    begin = (context.Value("i", 0), torch.get_num_threads())
    with ProcessPoolExecutor(count, context, _begin, begin) as pool:
        return list(pool.map(partial(function, **named), *zip(*calls, strict=True)))


def end_with_parent() -> None:
    """Have this process end when the one that started it does, even if that was killed."""
    threading.Thread(target=lambda: (parent_process().join(), os._exit(1)), daemon=True).start()


def _begin(taken: Any, threads: int) -> None:
    """What a process of `at_once` does first."""
    end_with_parent()
    torch.set_num_threads(threads)
    with taken.get_lock():
        number, taken.value = taken.value, taken.value + 1
    if torch.cuda.is_available():
        torch.cuda.set_device(number % torch.cuda.device_count())


def _one(rank: int, call: tuple[Any, ...]) -> None:
    """The body of one process."""
    end_with_parent()
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
