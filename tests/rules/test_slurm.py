"""The miniature on a real Slurm: a controller and two nodes on this machine, started here and gone afterwards.

What is real: Slurm's daemons, its queue, its limits and what Snakemake's plugin makes of them, through the profile that
users have. What is not: both nodes are this machine (each a PID namespace, so that one can be killed as a whole), its
file system is shared by nature, the GPUs are two files, and memory is watched by Slurm's own sampling, not by cgroups.
"""

import importlib.util
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import pytest
import yaml
from miniature import CONFIG, Miniature, Result, copy_workflow

SLURM_CONF = """\
ClusterName=pointad
SlurmctldHost=localhost(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmUser=root
SlurmdUser=root
# A job whose node died waits until its credential has expired before it runs again.
AuthInfo=socket={root}/munge.socket,cred_expire=10
CommunicationParameters=NoCtldInAddrAny,NoInAddrAny
StateSaveLocation={root}/state
SlurmdSpoolDir={root}/spool-%n
SlurmctldPidFile={root}/slurmctld.pid
SlurmdPidFile={root}/%n.pid
SlurmctldLogFile={root}/slurmctld.log
SlurmdLogFile={root}/%n.log
MpiDefault=none
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
# Without cgroups nothing holds a job to its memory but this: Slurm looks every second and kills what has too much.
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=task=1
JobAcctGatherParams=OverMemoryKill
AccountingStorageType=accounting_storage/none
JobCompType=jobcomp/filetxt
JobCompLoc={root}/jobs.txt
# Without the last line a job takes all memory of its node.
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
DefMemPerCPU=500
# The nodes below need not be what this machine has.
SlurmdParameters=config_overrides
GresTypes=gpu
SlurmdTimeout=5
KillWait=2
ReturnToService=2
MinJobAge=7200
NodeName=node1 NodeHostname=localhost NodeAddr=127.0.0.1 Port={ports[1]} CPUs=2 RealMemory=64000 Gres=gpu:2
NodeName=node2 NodeHostname=localhost NodeAddr=127.0.0.1 Port={ports[2]} CPUs=2 RealMemory=64000
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""

GRES_CONF = """\
NodeName=node1 Name=gpu File=/dev/null
NodeName=node1 Name=gpu File=/dev/zero
"""

# Whatever is started here dies with these tests, also where they are killed.
MORTAL = ["setpriv", "--pdeathsig", "KILL"]

# What this Slurm has no accounting for, and waiting that suits a test.
HERE = ["--slurm-status-command", "squeue", "--slurm-init-seconds-before-status-checks", "2"]
HERE += ["--seconds-between-status-checks", "2", "--latency-wait", "5"]


def obstacle() -> str:
    """Why there can be no Slurm here; nothing where there can be one."""
    programs = ("munged", "slurmctld", "slurmd", "sbatch", "unshare", "nsenter", "setpriv")
    if lacking := [program for program in programs if shutil.which(program) is None]:
        return f"not installed: {', '.join(lacking)}"
    if importlib.util.find_spec("snakemake_executor_plugin_slurm") is None:
        return "not installed: envs/requirements-slurm.txt"
    if os.geteuid() != 0:
        return "Slurm's daemons need root"
    if subprocess.run(["unshare", "--mount", "--pid", "--fork", "true"], capture_output=True).returncode:
        return "namespaces are not allowed here"
    return ""


REASON = obstacle()
pytestmark = [pytest.mark.cluster, pytest.mark.skipif(bool(REASON), reason=REASON)]


def free_ports(number: int) -> list[int]:
    sockets = [socket.socket() for _ in range(number)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


def wait_for(what: str, condition: Callable[[], object], seconds: float = 300) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"{what}: not after {seconds} s"
        time.sleep(0.2)


class Cluster:
    """Slurm in namespaces of its own: /etc/slurm is another one there, and a node's processes die together."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.parts: dict[str, subprocess.Popen] = {}
        # munge wants a socket that everyone can reach and a key that nobody else can read.
        root.chmod(0o755)
        for folder in ("etc", "state"):
            (root / folder).mkdir()
        (root / "etc/slurm.conf").write_text(SLURM_CONF.format(root=root, ports=free_ports(3)))
        (root / "etc/gres.conf").write_text(GRES_CONF)
        (root / "munge.key").write_bytes(os.urandom(128))
        (root / "munge.key").chmod(0o400)

    def start(self) -> None:
        # The plugin takes SLURM_CONF out of a job's environment: the file has to be where Slurm looks by itself.
        mount = f"mount --bind {self.root}/etc /etc/slurm && touch {self.root}/mounted && exec sleep infinity"
        self.parts["mounts"] = subprocess.Popen([*MORTAL, "unshare", "--mount", "sh", "-c", mount])
        wait_for("a private /etc/slurm", (self.root / "mounted").exists)
        files = {name: self.root / f"munge{end}" for name, end in (("key-file", ".key"), ("socket", ".socket"))}
        files |= {name: self.root / name for name in ("pid-file", "log-file", "seed-file")}
        munged = ["munged", *(f"--{name}={path}" for name, path in files.items())]
        self.start_part("controller", f"{' '.join(munged)} && slurmctld -c")
        for node in ("node1", "node2"):
            self.start_node(node)

    def start_part(self, name: str, commands: str) -> None:
        # The shell stays to reap what the daemons leave behind; with it dies everything in the namespace.
        space = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]
        command = [*self.inside(), *space, "sh", "-c", f"{commands} && sleep infinity & wait"]
        self.parts[name] = subprocess.Popen(command)

    def start_node(self, node: str) -> None:
        self.start_part(node, f"slurmd -N {node}")
        wait_for(f"{node} in service", lambda: self.call("sinfo", "-h", "-n", node, "-o", "%t") in ("idle", "mix"))

    def kill_node(self, node: str) -> None:
        """As a power cut would: the daemon, its jobs and all their processes at once."""
        part = self.parts.pop(node)
        part.kill()
        part.wait()

    def stop(self) -> None:
        for part in reversed(self.parts.values()):
            part.kill()
            part.wait()

    def inside(self) -> list[str]:
        return [*MORTAL, "nsenter", f"--mount=/proc/{self.parts['mounts'].pid}/ns/mnt", "--"]

    def call(self, *command: str) -> str:
        done = subprocess.run([*self.inside(), *command], capture_output=True, text=True)
        return done.stdout.strip()

    @property
    def queue(self) -> str:
        return self.call("squeue", "-h")

    def jobs(self, since: int = 0) -> list[dict[str, str]]:
        """What became of the jobs that have ended, in that order, from the given number on."""
        record = self.root / "jobs.txt"
        lines = record.read_text().splitlines() if record.exists() else []
        return [dict(re.findall(r"(\w+)=(\S*)", line)) for line in lines[since:]]

    def gpu_jobs(self) -> list[list[str]]:
        """Node, start and end of the jobs that were given a GPU, by their start."""
        lines = self.call("squeue", "-h", "-t", "all", "-O", "tres-per-job:16,nodelist:10,starttime:20,endtime:20")
        fields = [line.split() for line in lines.splitlines()]
        return sorted((rest for kind, *rest in fields if kind == "gres:gpu:1"), key=lambda rest: rest[1])

    def snakemake(self, *arguments: str | Path, snakefile: Path, directory: Path) -> subprocess.Popen:
        # What a shell runs in the background may have been started deaf to Ctrl-C, and hands that on.
        hearing = ["env", "--default-signal=INT"]
        command = [*hearing, *self.inside(), sys.executable, "-m", "snakemake", "--snakefile", snakefile]
        return subprocess.Popen(
            [*map(str, [*command, "--directory", directory, *arguments, *HERE])],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )


def finish(process: subprocess.Popen) -> Result:
    text, _ = process.communicate(timeout=1800)
    return Result(process.returncode, text, 0)


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    # Not below pytest's folder: only its owner can enter that, and a socket's path must be short.
    with tempfile.TemporaryDirectory(prefix="pointad-slurm-") as folder:
        cluster = Cluster(Path(folder))
        try:
            cluster.start()
            yield cluster
        finally:
            cluster.stop()


@dataclass
class Case:
    """A finished local run, of which one job is to be done again on the cluster."""

    cluster: Cluster
    snakefile: Path
    directory: Path
    n_before: int
    """Jobs that had ended on the cluster before."""

    target = Path("results/metrics/pointad_plus/mvtec3d/carrot/111/mvtec3d.csv")

    def start(self, *arguments: str) -> subprocess.Popen:
        profile = self.snakefile.parent / "profiles/slurm"
        return self.cluster.snakemake(
            *(self.target, "--configfile", self.directory / "config.yaml", "--workflow-profile", profile, *arguments),
            snakefile=self.snakefile,
            directory=self.directory,
        )

    def first(self, code: str) -> None:
        """Have the job do this before its work, with the `attempts` on it so far, by the nodes they were on."""
        script = self.snakefile.parent / "workflow/scripts/metrics.py"
        stat = script.stat()
        note = (
            "import os, time\n"
            "with open('attempts', 'a') as file:\n"
            "    print(os.environ['SLURMD_NODENAME'], file=file)\n"
            "attempts = open('attempts').read().split()\n"
        )
        script.write_text(f"{note}{code}\n{script.read_text()}")
        os.utime(script, ns=(stat.st_atime_ns, stat.st_mtime_ns))

    @property
    def attempts(self) -> list[str]:
        file = self.directory / "attempts"
        return file.read_text().split() if file.exists() else []

    @property
    def jobs(self) -> list[dict[str, str]]:
        return self.cluster.jobs(self.n_before)


@pytest.fixture
def case(cluster: Cluster, miniature: Miniature, tmp_path: Path) -> Case:
    snakefile = copy_workflow(tmp_path / "workflow")
    directory = tmp_path / "run"
    shutil.copytree(miniature.directory, directory)
    (directory / Case.target).unlink()
    return Case(cluster, snakefile, directory, len(cluster.jobs()))


def same_bytes(case: Case, miniature: Miniature) -> bool:
    return (case.directory / case.target).read_bytes() == (miniature.directory / case.target).read_bytes()


def test_the_cluster_gives_the_local_runs_bytes(
    cluster: Cluster, miniature: Miniature, snakefile: Path, tmp_path: Path
) -> None:
    config = tmp_path / "config.yaml"
    config.write_text(yaml.safe_dump(CONFIG))
    profile = snakefile.parent / "profiles/slurm"
    n_before = len(cluster.jobs())
    arguments = ["--profile", profile, "all_tables", "--configfile", config]
    result = finish(cluster.snakemake(*arguments, snakefile=snakefile, directory=tmp_path))
    assert result.code == 0, result.text
    jobs = cluster.jobs(n_before)
    assert {job["JobState"] for job in jobs} == {"COMPLETED"}
    # What takes a second is not worth a place in the queue.
    local_rules = ("summary_auxiliary", "summary_dataset", "table", "document", "all_tables")
    assert len(jobs) == sum(result.jobs.values()) - sum(result.jobs[rule] for rule in local_rules)

    with_gpu = cluster.gpu_jobs()
    assert len(with_gpu) == result.jobs["features"] + result.jobs["prompts"]
    assert {node for node, _, _ in with_gpu} == {"node1"}, "a job was given a GPU where there is none"
    assert any(second[1] < first[2] for first, second in pairwise(with_gpu)), "a GPU was left idle"

    local = {file.relative_to(miniature.directory) for file in (miniature.directory / "results").rglob("*.*")}
    files = {file.relative_to(tmp_path) for file in (tmp_path / "results").rglob("*.*")}
    assert {"tables", "summary", "metrics"} <= {file.parts[1] for file in files}
    # Pictures are no part of `all_tables`; another test may have drawn them locally.
    assert files == {file for file in local if file.parts[1] not in ("heatmaps", "report")}
    paths = [file for file in files if (tmp_path / file).is_file()]
    differing = [file for file in paths if (tmp_path / file).read_bytes() != (miniature.directory / file).read_bytes()]
    assert not differing


def test_a_killed_node_costs_its_jobs_a_second_run(case: Case, miniature: Miniature) -> None:
    case.first("if len(attempts) == 1:\n    time.sleep(600)")
    process = case.start()
    wait_for("the job", lambda: case.attempts)
    (node,) = case.attempts
    case.cluster.kill_node(node)
    try:
        result = finish(process)
    finally:
        case.cluster.start_node(node)
    assert result.code == 0, result.text
    assert len(case.attempts) == 2
    assert case.attempts[1] != node
    assert same_bytes(case, miniature)


def test_a_job_over_its_memory_is_submitted_with_more(case: Case, miniature: Miniature) -> None:
    # More than the first request, less than the second.
    case.first("ballast = bytearray(b'1') * 1_500_000_000\nif len(attempts) == 1:\n    time.sleep(600)\ndel ballast")
    result = finish(case.start())
    assert result.code == 0, result.text
    assert same_bytes(case, miniature)
    killed, done = case.jobs
    assert (killed["JobState"], done["JobState"]) == ("FAILED", "COMPLETED")
    assert len(case.attempts) == 2
    # A gigabyte and 20 MB for each of the category's four scans.
    assert "mem=1080M," in killed["Tres"]
    assert "mem=2160M," in done["Tres"]
    assert int(done["TimeLimit"]) == pytest.approx(2 * int(killed["TimeLimit"]), abs=1)


def test_ctrl_c_leaves_no_job_behind(case: Case, miniature: Miniature) -> None:
    case.first("if len(attempts) == 1:\n    time.sleep(600)")
    process = case.start()
    wait_for("the job", lambda: case.attempts)
    process.send_signal(signal.SIGINT)
    result = finish(process)
    assert result.code != 0
    assert not [line for line in case.cluster.queue.splitlines() if " CG " not in line]
    wait_for("the end of the job", lambda: case.jobs)
    assert [job["JobState"] for job in case.jobs] == ["CANCELLED"]
    assert not (case.directory / case.target).exists()
    # The same command takes it up again.
    result = finish(case.start())
    assert result.code == 0, result.text
    assert same_bytes(case, miniature)


def test_a_failing_job_shows_its_log(case: Case) -> None:
    scores = case.directory / "results/scores/pointad_plus/mvtec3d/carrot/111/mvtec3d.zarr.zip"
    stat = scores.stat()
    scores.write_bytes(scores.read_bytes()[:-1000])
    os.utime(scores, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    result = finish(case.start("--retries", "0"))
    assert result.code != 0
    log = (case.directory / "logs/metrics/pointad_plus/mvtec3d/carrot/111/mvtec3d.log").read_text()
    message = next(line for line in log.splitlines() if " ERROR " in line)
    assert str(scores.relative_to(case.directory)) in message
    assert message in result.text
    assert not (case.directory / case.target).exists()
    assert not case.cluster.queue
