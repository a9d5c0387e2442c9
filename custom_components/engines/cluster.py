"""Pairs registered by the processes of a dask cluster: local ones, or those of a scheduler anywhere."""

from __future__ import annotations

import logging
import os
import sys
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from time import perf_counter
from typing import Any

from custom_components.bundles.current import current_config
from custom_components.common.console import say
from custom_components.common.errors import InputError
from custom_components.common.limits import current
from custom_components.engines.cluster_worker import Job, forget, register_and_write
from custom_components.outputs.attempts import clear_attempts
from custom_components.outputs.outcome import PairOutcome
from custom_components.outputs.pair_folder import clear_leftovers, read_stamp
from custom_components.pairs import Pair

MISSING = "--processes and --scheduler need dask.distributed: pip install -e '.[cluster]' -c constraints.txt"
DIED = "its process was killed, also when it ran alone; mostly the memory of the machine is too small"


class Cluster:
    """Where the pairs of a run are registered; an argument of ``PairEvaluator`` in a bundle's config.

    Every worker process builds preprocessing, inferer and writer once from the config and keeps them for its pairs.
    A pair whose process dies goes to another one; when that dies too, it is tried once more after all others, alone.

    Args:
        processes: processes on this machine; 0 for none, the pairs are then registered in the process of the run.
        scheduler: instead, the address of a dask scheduler ("tcp://host:8786") or the path of its scheduler file
            (".json").

    Raises:
        SystemExit: with one clear line: an argument is wrong, both are given, or dask.distributed is missing.
    """

    def __init__(self, processes: int | str = 0, scheduler: str | None = None) -> None:
        try:
            self.processes = _whole(processes)
            self.scheduler = scheduler or None
            if self.processes and self.scheduler:
                raise InputError("give either --processes or --scheduler, not both")
            if self.wanted and find_spec("distributed") is None:
                raise InputError(MISSING)
        except InputError as error:
            sys.exit(f"error: {error}")
        self.config = current_config() if self.wanted else None

    @property
    def wanted(self) -> bool:
        """Whether other processes than that of the run register the pairs."""
        return self.processes > 0 or self.scheduler is not None

    @contextmanager
    def outcomes(self, pairs: Sequence[Pair], output_dir: Path) -> Iterator[Iterator[PairOutcome]]:
        """The outcome of each pair as it ends, written already unless its process was killed.

        Args:
            pairs: to register, none of them twice.
            output_dir: where the bundle's handlers write.

        Raises:
            SystemExit: with one clear line: the scheduler does not answer or has gone, or a worker lacks what the
                bundle needs. Pairs that had ended are whole; the next run goes on with the others.
        """
        if self.config is None:
            sys.exit("error: a cluster takes its work from the config of a bundle; run it by monai.bundle")
        job = Job(uuid.uuid4().hex, self.config, Path.cwd(), output_dir, self.processes > 0, current())
        ended = False
        try:
            with self._client(len(pairs)) as client:
                yield _without_records(_as_they_end(client, pairs, job), output_dir)
                ended = True
                if self.scheduler is not None:
                    with suppress(Exception):  # a courtesy to workers that stay, some of which may have gone
                        client.run(forget, job.token)
        finally:
            if ended or self.scheduler is None:  # else workers may still be writing
                clear_leftovers(output_dir, {pair.id for pair in pairs})

    @contextmanager
    def _client(self, count: int) -> Iterator[Any]:
        from distributed import Client

        if self.scheduler is not None:
            with _connected(self.scheduler) as client:
                found = len(client.scheduler_info(n_workers=-1)["workers"])
                now = f"{found} workers" if found else "no workers yet"
                say(f"{count} pairs go to {self.scheduler} ({now}); {_dashboard(client)}")
                yield client
            return
        processes = min(self.processes, count)
        with _local_cluster(processes) as cluster, Client(cluster) as client:
            say(f"{count} pairs go to {processes} processes; {_dashboard(client)}")
            yield client


def _whole(processes: int | str) -> int:
    """The number of workers; from the command line it may come as a word."""
    try:
        number = int(str(processes))
    except ValueError:
        number = -1
    if number < 0:
        raise InputError(f"--processes is a number of processes, 0 for none, got '{processes}'")
    return number


@contextmanager
def _connected(scheduler: str) -> Iterator[Any]:
    """A client of an existing scheduler."""
    from distributed import Client

    is_file = scheduler.endswith(".json")
    if is_file and not Path(scheduler).is_file():  # the client would wait for it without end
        sys.exit(f"error: scheduler file {scheduler} does not exist; dask scheduler --scheduler-file writes it")
    try:
        client = Client(scheduler_file=scheduler) if is_file else Client(scheduler)
    except (OSError, ValueError) as error:
        sys.exit(f"error: no dask scheduler answers at {scheduler} ({str(error).splitlines()[0]})")
    with client:
        yield client


@contextmanager
def _local_cluster(processes: int) -> Iterator[Any]:
    """Processes on this machine that share its cores and GPUs.

    Their memory is not limited one by one: pairs differ in size, and one that needs more than its share would be killed
    though the machine has room.
    """
    import dask
    from dask.system import CPU_COUNT
    from distributed import LocalCluster

    # what the serial run would take, as its results depend on it in their last digits
    threads = os.environ.get("OMP_NUM_THREADS", max(1, CPU_COUNT // processes))
    # dask takes a variable that is set from the environment
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS")
    settings: dict[str, Any] = {f"distributed.nanny.pre-spawn-environ.{name}": threads for name in names}
    settings |= {
        # dask's value has every large array given back to the system at once, which makes a pair take 1.4 times as long
        "distributed.nanny.pre-spawn-environ.MALLOC_TRIM_THRESHOLD_": None,
        "distributed.scheduler.allowed-failures": 1,  # then alone
        "distributed.scheduler.worker-saturation": 1.0,  # none waits behind a pair that may kill its process
        "distributed.scheduler.worker-ttl": None,  # a library may hold the interpreter for long; deaths are noticed
    }
    dashboard = "127.0.0.1:8787" if find_spec("bokeh") else None
    logging.getLogger("distributed").setLevel(logging.ERROR)  # a bundle's logging.conf shows all of it
    with dask.config.set(settings):
        with LocalCluster(
            n_workers=processes, threads_per_worker=1, processes=True, memory_limit=0, dashboard_address=dashboard
        ) as cluster:  # fmt: skip
            logging.getLogger("distributed.nanny").setLevel(logging.WARNING)  # says when a process is started again
            try:
                yield cluster
            finally:
                logging.getLogger("distributed.nanny").setLevel(logging.ERROR)  # not that processes end now


def _dashboard(client: Any) -> str:
    link = client.dashboard_link if find_spec("bokeh") else None
    return f"dashboard: {link}" if link else "no dashboard, as bokeh is not installed"


def _as_they_end(client: Any, pairs: Sequence[Pair], job: Job) -> Iterator[PairOutcome]:
    """Outcomes in the order in which the pairs end; those that lost two processes last, one at a time."""
    from distributed import KilledWorker, as_completed

    task: Callable[[Pair, str | None], PairOutcome] = partial(register_and_write, job=job)
    before = {pair.id: read_stamp(job.output_dir, pair.id) for pair in pairs}

    def submit(chosen: Sequence[Pair], group: str) -> Any:
        # tuples, so that the scheduler sees one group of equal tasks and queues it; ids are unique in a table only
        keys = [(f"{group}-{job.token}", pair.id) for pair in chosen]
        return client.map(task, chosen, [before[pair.id] for pair in chosen], key=keys, pure=False, retries=0)

    by_name = {pair.id: pair for pair in pairs}
    unlucky = []
    # futures are kept by nobody: the scheduler would repeat a pair that has ended when the process that did it dies
    for future in as_completed(submit(pairs, "register")):
        name = future.key[1]
        try:
            yield _outcome(future)
        except KilledWorker:
            unlucky.append(by_name[name])
    for pair in unlucky:  # one of them kills its processes, and the others may have been their neighbours
        say(f"{pair.id}: its process was killed twice; trying it alone")
        start = perf_counter()
        try:
            yield _outcome(submit([pair], "alone")[0])
        except KilledWorker:
            yield PairOutcome(pair, perf_counter() - start, reason=f"{pair.moving.name} onto {pair.fixed.name}: {DIED}")


def _without_records(outcomes: Iterator[PairOutcome], output_dir: Path) -> Iterator[PairOutcome]:
    """The outcomes, each after the record that a killed process left of the pair: what it came to is known now."""
    for outcome in outcomes:
        clear_attempts(output_dir, {outcome.pair.id})
        yield outcome


def _outcome(future: Any) -> PairOutcome:
    """The result of a task, which leaves the cluster's memory."""
    from distributed import KilledWorker

    try:
        outcome: PairOutcome = future.result()
        return outcome
    except KilledWorker:
        raise
    except Exception as error:  # pairs that fail are outcomes: this is about the cluster
        sys.exit(f"error: {str(error).splitlines()[0] if str(error) else type(error).__name__}")
    finally:
        future.release()
