"""The official Python client against a daemon: the first argument is its kubeconfig. Fails by an exception."""

import json
import sys
import threading
import time

from kubernetes import client, config, dynamic, utils, watch
from kubernetes.client.rest import ApiException

config.load_kube_config(sys.argv[1])
batch, core = client.BatchV1Api(), client.CoreV1Api()


def job(name, script="echo hello"):
    container = {"name": "main", "image": "busybox:1.36", "command": ["sh", "-c", script]}
    template = {"spec": {"restartPolicy": "Never", "containers": [container]}}
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name}, "spec": {"template": template}}


def refused(code, call, *arguments, **options):
    try:
        call(*arguments, **options)
    except ApiException as error:
        assert error.status == code, error
        return json.loads(error.body)
    raise AssertionError(f"{call.__name__} should have been refused with {code}")


# Create, watch to the end, logs.
made = batch.create_namespaced_job("default", job("one"))
assert made.spec.completion_mode == "NonIndexed" and made.metadata.uid
assert refused(409, batch.create_namespaced_job, "default", job("one"))["reason"] == "AlreadyExists"
selector, conditions = f"metadata.name={made.metadata.name}", []
for event in watch.Watch().stream(
    batch.list_namespaced_job, "default", field_selector=selector, timeout_seconds=120
):
    conditions = [c.type for c in event["object"].status.conditions or [] if c.status == "True"]
    if "Complete" in conditions:
        break
assert "Complete" in conditions, conditions
pods = core.list_namespaced_pod("default", label_selector="job-name=one").items
assert [pod.status.phase for pod in pods] == ["Succeeded"], pods
assert core.read_namespaced_pod_log(pods[0].metadata.name, "default") == "hello\n"
followed = watch.Watch().stream(core.read_namespaced_pod_log, pods[0].metadata.name, "default", follow=True)
assert list(followed) == ["hello"]
assert refused(404, batch.read_namespaced_job, "none", "default")["details"]["kind"] == "jobs"

# Lists in pages.
for number in range(5):
    core.create_namespaced_config_map("default", {"metadata": {"name": f"c{number}", "labels": {"of": "page"}}})
names, token = [], None
while True:
    page = core.list_namespaced_config_map("default", label_selector="of=page", limit=2, _continue=token)
    names += [item.metadata.name for item in page.items]
    token = page.metadata._continue
    if not token:
        break
assert names == [f"c{number}" for number in range(5)], names

# The three kinds of patch that the client sends.
patch = core.patch_namespaced_config_map
assert patch("c0", "default", {"data": {"a": "1"}}).data == {"a": "1"}
operations = [{"op": "add", "path": "/data/b", "value": "2"}]
assert patch("c0", "default", operations).data == {"a": "1", "b": "2"}
merged = patch("c0", "default", {"data": {"a": None}}, _content_type="application/merge-patch+json")
assert merged.data == {"b": "2"}

# A stale replace is a conflict.
stale = core.read_namespaced_config_map("c1", "default")
patch("c1", "default", {"data": {"a": "1"}})
assert refused(409, core.replace_namespaced_config_map, "c1", "default", stale)["reason"] == "Conflict"

# Deletion with options: the pods go with their Job.
options = client.V1DeleteOptions(propagation_policy="Foreground", grace_period_seconds=0)
batch.delete_namespaced_job("one", "default", body=options)
deadline = time.monotonic() + 120
while core.list_namespaced_pod("default", label_selector="job-name=one").items:
    assert time.monotonic() < deadline, "the pods stay"
    time.sleep(0.05)

# The dynamic client, and objects from a list.
dynamic_client = dynamic.DynamicClient(client.ApiClient())
jobs = dynamic_client.resources.get(api_version="batch/v1", kind="Job")
jobs.create(body=job("two"), namespace="default")
assert jobs.get(name="two", namespace="default").spec.parallelism == 1
utils.create_from_dict(client.ApiClient(), {"kind": "List", "apiVersion": "v1", "items": [job("three")]})
assert batch.read_namespaced_job("three", "default").metadata.name == "three"

# A watch that waits, while another thread writes.
revision = core.list_namespaced_config_map("default").metadata.resource_version
seen = []
threading.Timer(0.2, patch, ("c2", "default", {"data": {"late": "yes"}})).start()
for event in watch.Watch().stream(
    core.list_namespaced_config_map, "default", resource_version=revision, timeout_seconds=60
):
    seen.append((event["type"], event["object"].metadata.name))
    break
assert seen == [("MODIFIED", "c2")], seen

# Leases, as leader election takes them.
leases = client.CoordinationV1Api()
lease = {"metadata": {"name": "leader"}, "spec": {"holderIdentity": "me", "leaseDurationSeconds": 15}}
assert leases.create_namespaced_lease("default", lease).spec.holder_identity == "me"
