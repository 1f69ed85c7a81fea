"""``ray up clusters/local.yaml`` for real, on two machines made of namespaces: ``python ray_up_local.py``.

Each machine has a network, processes, mounts and an sshd of its own; a third place stands for the laptop. The
file's start commands run as they are; only addresses, user and the installation (a link to this environment) are
replaced. A search is submitted as a job through an ssh tunnel, its trials must run on both machines, and after
``ray down`` nothing of Ray may be left on either. Everything lives in memory inside one outer namespace and ends
with it: nothing outside is seen or stopped.

Needs Linux, root, iproute2, util-linux (unshare, mountpoint), openssh-server, rsync and curl; ends with code 77
without. Takes two to five minutes on two cores.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from collections import Counter
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]
SKIPPED = 77
TOOLS = ("ip", "unshare", "mountpoint", "mount", "ssh", "ssh-keygen", "rsync", "curl", "/usr/sbin/sshd")
HEAD, WORKER, LAPTOP = "10.77.0.11", "10.77.0.12", "10.77.0.1"
HOME = Path("/mnt/laptop")
SHARED = Path("/mnt/shared")
CONFIG = HOME / "cluster.yaml"
TRIALS = 8
RUN = "two-machines"
JOINED_WITHIN_S = 300  # some ten seconds on an idle machine
GONE_WITHIN_S = 60
ATTEMPTS = 3
RAY_PROCESS = re.compile(r"ray::\S+|raylet\b|gcs_server\b|ray/\S+\.py\b|-m ray\.\S+")

# Hides /mnt and /tmp behind memory, but for what this Python and the repository need of them.
PRIVATE = r"""
set -eu
mount --make-rprivate /
mount -t tmpfs none /run/lock
number=0
for kept in $KEEP; do
  mkdir -p /run/lock/$number; mount --bind "$kept" /run/lock/$number; number=$((number + 1))
done
mount -t tmpfs none /tmp
mount -t tmpfs -o size=12g none /dev/shm
number=0
for kept in $KEEP; do
  case "$kept" in /tmp/*|/dev/shm/*) mkdir -p "$kept"; mount --bind /run/lock/$number "$kept";; esac
  number=$((number + 1))
done
"""

MACHINE = (
    PRIVATE
    + r"""
hostname "$NAME"
mkdir -p /mnt/$NAME/.ssh
cp /mnt/laptop/.ssh/id.pub /mnt/$NAME/.ssh/authorized_keys
touch /mnt/$NAME/.bashrc
echo "root:x:0:0:root:/mnt/$NAME:/bin/bash" > /tmp/passwd
echo "sshd:x:101:65534::/run/sshd:/usr/sbin/nologin" >> /tmp/passwd
printf '127.0.0.1 localhost\n%s %s\n' "$ADDRESS" "$NAME" > /tmp/hosts
mount --bind /tmp/passwd /etc/passwd
mount --bind /tmp/hosts /etc/hosts
mount -t tmpfs none /run
mkdir -p /run/sshd
until ip link show eth0 > /dev/null 2>&1; do sleep 0.1; done
ip link set lo up
ip addr add "$ADDRESS/24" dev eth0
ip link set eth0 up
ip route add default via "$GATEWAY"
ssh-keygen -q -t ed25519 -N '' -f /tmp/host_key
exec /usr/sbin/sshd -D -e -f /dev/null -h /tmp/host_key -o UsePAM=no -o UseDNS=no -o StrictModes=no \
  -o PasswordAuthentication=no -o PermitRootLogin=prohibit-password -o LogLevel=ERROR
"""
)


def main() -> int:
    outer = ["unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]
    if "--inside" not in sys.argv:
        if lacking := what_lacks(outer):
            print(f"skipped: {lacking}. Needs Linux, root and {', '.join(TOOLS)}.")
            return SKIPPED
        return subprocess.run([*outer, sys.executable, __file__, "--inside"], check=False).returncode
    started = time.monotonic()

    def say(line: str) -> None:
        print(f"[{time.monotonic() - started:6.1f} s] {line}", flush=True)

    make_laptop()
    machines = {HEAD: make_machine("head", HEAD), WORKER: make_machine("worker", WORKER)}
    for address in machines:
        wait_for(lambda address=address: ssh(address, "true").returncode == 0, 20, f"sshd of {address}")
    say(f"two machines answer: {HEAD} and {WORKER}")
    derive_config()
    call("raysubset", "cluster", "check", str(CONFIG))
    say("raysubset cluster check: accepted")
    start = ("ray", "up", "-y", "--no-config-cache", str(CONFIG))
    attempts = 1
    while (done := run(*start)).returncode and attempts < ATTEMPTS:  # Ray gives a node 30 s; here may be too few
        attempts += 1
    check(done.returncode == 0, f"ray up: {done.stdout}{done.stderr}")
    say(f"ray up: the head is there, after {attempts} attempt(s)")
    wait_for(lambda: len(alive_nodes()) == 2, JOINED_WITHIN_S, "the second node", every=10)
    nodes = alive_nodes()
    say(f"nodes by raysubset cluster status: {nodes}")
    check(set(nodes.values()) == {HEAD, WORKER}, "both machines are nodes under addresses of their own")
    tunnel = subprocess.Popen(
        ["ray", "dashboard", str(CONFIG)],
        env=environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    wait_for(dashboard_refuses_strangers, 60, "the tunnel to the dashboard")
    say("the dashboard answers through ssh on loopback only, and refuses a request without the token")
    search(say)
    placed = placed_trials(nodes)
    say(f"trials by machine, from the node ids in records.jsonl: {placed}")
    os.killpg(tunnel.pid, signal.SIGTERM)  # ray dashboard and its ssh
    before = {address: ray_processes(init) for address, init in machines.items()}
    say(f"Ray processes before ray down: { {address: len(names) for address, names in before.items()} }")
    call("ray", "down", "-y", str(CONFIG), quiet=True)
    wait_for(
        lambda: not ray_processes(machines[HEAD]), 20, "the end of Ray on the head, where `ray` is on the PATH"
    )
    left = {address: ray_processes(init) for address, init in machines.items()}
    say(f"ray down has returned; left behind: {left}")
    for address in machines:
        ssh(address, "bash -ic 'ray stop'")
    for address, init in machines.items():
        wait_for(lambda init=init: not ray_processes(init), GONE_WITHIN_S, f"the end of Ray on {address}")
        say(f"{address}: after `ray stop` there, as the README says, no process of Ray is left")
    check(set(placed) == {HEAD, WORKER}, "trials ran on both machines")
    check(all(before.values()), "both machines had processes to lose")
    say("passed")
    return 0


# ---------------------------------------------------------------------- the place


def what_lacks(outer: list[str]) -> str:
    if sys.platform != "linux" or os.geteuid() != 0:
        return "not root on Linux"
    if missing := [tool for tool in TOOLS if shutil.which(tool) is None]:
        return f"missing {', '.join(missing)}"
    allowed = subprocess.run([*outer, "true"], capture_output=True, text=True, check=False)
    return f"no namespaces ({allowed.stderr.strip()})" if allowed.returncode else ""


def environment() -> dict[str, str]:
    return {
        "HOME": str(HOME),
        "PATH": f"{sys.prefix}/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "RAY_AUTH_MODE": "token",
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_UP_enable_autoscaler_v2": "0",
        "TERM": "dumb",
        "COLUMNS": "160",
    }


def kept_folders() -> str:
    return " ".join(dict.fromkeys((sys.prefix, sys.base_prefix, str(ROOT))))


def make_laptop() -> None:
    places = (
        "mount -t tmpfs none /mnt; mkdir -p /mnt/laptop/.ssh /mnt/shared; mount --bind /mnt/shared /mnt/shared"
    )
    # the shell runs in this process's namespaces: its mounts stay when it ends
    subprocess.run(["bash", "-c", PRIVATE + places], env={**environment(), "KEEP": kept_folders()}, check=True)
    for command in (
        "ip link set lo up",
        "ip link add br0 type bridge",
        f"ip addr add {LAPTOP}/24 dev br0",
        "ip link set br0 up",
        f"ssh-keygen -q -t ed25519 -N '' -f {HOME}/.ssh/id",
    ):
        subprocess.run(["bash", "-c", command], check=True)
    call("ray", "get-auth-token", "--generate", quiet=True)


def make_machine(name: str, address: str) -> int:
    """Start a machine and return the pid of its first process, as seen from here."""
    inside = ["unshare", "--net", "--mount", "--pid", "--uts", "--fork", "--kill-child", "--mount-proc"]
    given = {"NAME": name, "ADDRESS": address, "GATEWAY": LAPTOP, "KEEP": kept_folders()}
    shell = subprocess.Popen([*inside, "bash", "-c", MACHINE], env={"PATH": environment()["PATH"], **given})
    wait_for(lambda: namespace(shell.pid, "net") != namespace("self", "net"), 5, "a network")
    link = f"ip link add {name} type veth peer name eth0 netns {shell.pid}"
    subprocess.run(["bash", "-c", f"{link} && ip link set {name} master br0 up"], check=True)
    return int(Path(f"/proc/{shell.pid}/task/{shell.pid}/children").read_text().split()[0])


def derive_config() -> None:
    """Take the file as it is, but for addresses, user and the installation."""
    config = yaml.safe_load((ROOT / "clusters" / "local.yaml").read_text(encoding="utf-8"))
    config["provider"] |= {"head_ip": HEAD, "worker_ips": [WORKER]}
    config |= {"min_workers": 1, "max_workers": 1}
    config["auth"] = {"ssh_user": "root", "ssh_private_key": str(HOME / ".ssh" / "id")}
    link = f"ln -sfn {sys.prefix} ~/raysubset-env && "
    config["setup_commands"] = [
        link
        + command.replace("install -q", "install -q --no-index --no-deps").replace(" ~/raysubset", " raysubset")
        if "pip install" in command
        else command
        for command in config["setup_commands"]
        if "-m venv" not in command
    ]
    del config["file_mounts"]["~/raysubset"]
    CONFIG.write_text(yaml.safe_dump(config, width=200), encoding="utf-8")


# ---------------------------------------------------------------------- what is asked of it


def run(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, env=environment(), cwd=HOME, capture_output=True, text=True, check=False)


def call(*command: str, quiet: bool = False) -> str:
    done = run(*command)
    output = done.stdout + done.stderr
    if not quiet:
        print(textwrap.indent(output.strip(), "    "), flush=True)
    check(done.returncode == 0, f"{' '.join(command)} (code {done.returncode}){': ' + output if quiet else ''}")
    return done.stdout


def ssh(address: str, command: str) -> subprocess.CompletedProcess[str]:
    options = ["-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR"]
    whole = ["ssh", "-i", str(HOME / ".ssh" / "id"), *options, f"root@{address}", command]
    return subprocess.run(whole, capture_output=True, text=True, check=False)


def status() -> dict[str, Any]:
    told = ssh(HEAD, "bash -ic 'raysubset cluster status --json'")
    if told.returncode:
        print(textwrap.indent(told.stderr.strip(), "    "), flush=True)
        return {"nodes": [], "searches": []}
    return json.loads(told.stdout)


def alive_nodes() -> dict[str, str]:
    """Addresses by Ray's ids of the nodes."""
    return {node["node"]: node["address"] for node in status()["nodes"]}


def dashboard_refuses_strangers() -> bool:
    def code(*options: str) -> str:
        url = "http://127.0.0.1:8265/api/jobs/"
        asked = ["curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", *options, url]
        return subprocess.run(asked, capture_output=True, text=True, check=False).stdout

    token = (HOME / ".ray" / "auth_token").read_text().strip()
    outside = subprocess.run(["curl", "-s", "-m", "2", f"http://{HEAD}:8265/"], capture_output=True, check=False)
    return code("-H", f"Authorization: Bearer {token}") == "200" and code() == "401" and outside.returncode != 0


def search(say: Any) -> None:
    """Submit a search as a job; look where its trials run while it runs."""
    options = f"--data embedded --model lenet --trials {TRIALS} --epochs 18 --ratio 0.3 --retrain 1"
    entry = f"python hpo_cifar.py {options} --scheduler none --concurrency 4 --name {RUN} --json"
    submit = ["ray", "job", "submit", "--address", "http://127.0.0.1:8265"]
    job = subprocess.Popen(
        [*submit, "--working-dir", str(ROOT / "pipelines"), "--", *entry.split()],
        env=environment(),
        cwd=HOME,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    told = ""
    while job.poll() is None:
        for one in status()["searches"]:
            if (seen := f"{one['name']}: trial processes by node {one['trials']}") != told:
                told = seen
                say(f"raysubset cluster status: {told}")
        time.sleep(10)
    output = job.communicate()[0]
    print(textwrap.indent(output.strip(), "    "), flush=True)
    check(job.returncode == 0, "the job succeeded")
    done = {row["trial"] for row in search_rows() if row["status"] == "done"}
    check(len(done) == TRIALS, f"{TRIALS} trials are recorded to their end, found {len(done)}")


def search_rows() -> list[dict[str, Any]]:
    lines = (SHARED / "runs" / RUN / "records.jsonl").read_text(encoding="utf-8").splitlines()
    return [row for row in map(json.loads, lines) if row["stage"] == "search"]


def placed_trials(nodes: dict[str, str]) -> dict[str, int]:
    """Count the search's trials by the machine of their last epoch."""
    last = {row["trial"]: nodes[row["node"]] for row in search_rows()}
    return dict(Counter(last.values()))


def ray_processes(init: int) -> list[str]:
    """Name what Ray runs on a machine, that is in the process namespace of its first process."""
    machine, found = namespace(init, "pid"), []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if namespace(process.name, "pid") != machine:
                continue
            words = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
        except OSError:  # it has ended meanwhile
            continue
        if match := RAY_PROCESS.search(words):
            found.append(match[0].rpartition("/")[2])
    return sorted(found)


def namespace(process: object, kind: str) -> str:
    return str(Path(f"/proc/{process}/ns/{kind}").readlink())


def wait_for(condition: Any, seconds: float, what: str, every: float = 0.5) -> None:
    end = time.monotonic() + seconds
    while not condition():
        check(time.monotonic() < end, f"{what} within {seconds:g} s")
        time.sleep(every)


def check(holds: bool, what: str) -> None:
    if not holds:
        sys.exit(f"FAILED: {what}")


if __name__ == "__main__":
    sys.exit(main())
