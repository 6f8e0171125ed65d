"""The official Python client's streams, files and elections against a daemon: the first argument is its kubeconfig."""

import concurrent.futures
import os
import sys
import tempfile
import threading

import yaml
from kubernetes import client, config, utils, watch
from kubernetes.client.rest import ApiException
from kubernetes.leaderelection import electionconfig, leaderelection
from kubernetes.leaderelection.resourcelock.configmaplock import ConfigMapLock
from kubernetes.leaderelection.resourcelock.leaselock import LeaseLock
from kubernetes.stream import portforward, stream

config.load_kube_config(sys.argv[1])
core, batch = client.CoreV1Api(), client.BatchV1Api()
PATIENCE = 120


def pod(name, script):
    container = {"name": "main", "image": "busybox:1.36", "command": ["sh", "-c", script]}
    spec = {"restartPolicy": "Never", "containers": [container]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}


def until(name, phase):
    selector = f"metadata.name={name}"
    for event in watch.Watch().stream(
        core.list_namespaced_pod, "default", field_selector=selector, timeout_seconds=PATIENCE
    ):
        if event["object"].status.phase == phase:
            return
    raise AssertionError(f"{name} does not become {phase}")


def run(*command, **options):
    """What `kubectl exec` does: the whole output."""
    call = core.connect_get_namespaced_pod_exec
    return stream(call, "long", "default", command=list(command), stdout=True, stderr=True, **options)


# Objects from a file of several documents.
documents = [pod("long", "echo first; sleep 1; echo second; sleep 3600"), pod("short", "echo only")]
with tempfile.TemporaryDirectory() as directory:
    path = os.path.join(directory, "pods.yaml")
    with open(path, "w") as file:
        yaml.safe_dump_all(documents, file)
    made = utils.create_from_yaml(client.ApiClient(), path, namespace="default")
    assert [one[0].metadata.name for one in made] == ["long", "short"], made
    try:
        utils.create_from_yaml(client.ApiClient(), path, namespace="default")
        raise AssertionError("the second time should have been refused")
    except utils.FailToCreateError as error:
        assert [one.status for one in error.api_exceptions] == [409, 409], error
until("long", "Running")
until("short", "Succeeded")

# A log is followed while its container runs.
seen = []
follow = watch.Watch()
for line in follow.stream(core.read_namespaced_pod_log, "long", "default", container="main"):
    seen.append(line)
    if len(seen) == 2:
        follow.stop()
assert seen == ["first", "second"], seen
assert core.read_namespaced_pod_log("long", "default", tail_lines=1, timestamps=True).endswith("Z second\n")

# Exec: output, input, both outputs apart, and the code of its end.
assert run("sh", "-c", "echo out").strip() == "out"
conversation = run("cat", stdin=True, _preload_content=False)
conversation.write_stdin("tell me\n")
assert conversation.readline_stdout(timeout=PATIENCE) == "tell me"
conversation.close()
failing = run("sh", "-c", "echo good; echo bad >&2; exit 7", _preload_content=False)
failing.run_forever(timeout=PATIENCE)
assert (failing.read_stdout(), failing.read_stderr()) == ("good\n", "bad\n")
assert failing.returncode == 7, failing.returncode
succeeding = run("true", _preload_content=False)
succeeding.run_forever(timeout=PATIENCE)
assert succeeding.returncode == 0, succeeding.returncode
try:
    stream(core.connect_get_namespaced_pod_exec, "none", "default", command=["true"])
    raise AssertionError("a pod that is not there should have been refused")
except ApiException as error:
    assert "404" in str(error), error

# Attach: what the container prints from now on; its program reads nothing here, so only the handshake is seen.
attach = core.connect_get_namespaced_pod_attach
attached = stream(attach, "long", "default", stdout=True, _preload_content=False)
assert attached.is_open()
attached.close()

# Port-forward: the fake's ports say again what they are told, but the first, where nobody listens.
forwarded = portforward(core.connect_get_namespaced_pod_portforward, "long", "default", ports="80,1")
socket = forwarded.socket(80)
socket.settimeout(PATIENCE)
socket.sendall(b"hello")
heard = b""
while len(heard) < 5:
    heard += socket.recv(5)
assert heard == b"hello", heard
refusing = forwarded.socket(1)
refusing.settimeout(PATIENCE)
assert refusing.recv(1) == b"", "a port where nobody listens should end"
assert "refused" in forwarded.error(1), forwarded.error(1)
socket.close()


def elect(lock_of):
    """Two candidates: the first leads, the second only once the first's lease has run out."""
    order, second_leads = [], threading.Event()

    def candidate(name, begin):
        settings = electionconfig.Config(
            lock_of(name),
            lease_duration=3,
            renew_deadline=2,
            retry_period=1.1,
            onstarted_leading=begin,
            onstopped_leading=lambda: None,
        )
        threading.Thread(target=leaderelection.LeaderElection(settings).run, daemon=True).start()

    def first():
        order.append("first")
        candidate("second", second)
        raise RuntimeError("the work of the first is over")

    def second():
        order.append("second")
        second_leads.set()

    candidate("first", first)
    assert second_leads.wait(PATIENCE), order
    assert order[0] == "first", order


locks = [lambda name: ConfigMapLock("election", "default", name), lambda name: LeaseLock("election", "default", name)]
with concurrent.futures.ThreadPoolExecutor() as executor:
    list(executor.map(elect, locks))
taken = client.CoordinationV1Api().read_namespaced_lease("election", "default").spec
assert taken.holder_identity == "second" and taken.renew_time, taken

# The client's election threads never end, and an interpreter that leaves beside them may be aborted.
sys.stdout.flush()
os._exit(0)
