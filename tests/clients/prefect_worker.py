"""Prefect's Kubernetes worker against a daemon: the first argument is its kubeconfig. Fails by an exception.

A Prefect server and the worker run in this process. The worker makes a Job for each flow run; its observer, which
watches pods and Jobs, tells the server of their events and of a run whose Job failed. The pods do not run a flow.
"""

import asyncio
import os
import sys

os.environ["KUBECONFIG"] = os.path.abspath(sys.argv[1])
os.environ["PREFECT_SERVER_ANALYTICS_ENABLED"] = "false"

from kubernetes_asyncio import client, config, watch
from prefect import flow, get_client
from prefect.states import Pending
from prefect.testing.utilities import prefect_test_harness
from prefect_kubernetes import KubernetesWorker
from prefect_kubernetes.worker import KubernetesWorkerJobConfiguration

PATIENCE = 120


@flow
def nothing():
    pass


async def launch(worker, server, command):
    """Gives a flow run to the worker and returns its id and its Job's name."""
    run = await server.create_flow_run(nothing, state=Pending())
    values = {"image": "busybox:1.36", "command": command, "env": {"WORD": "x"}, "finished_job_ttl": 3600}
    template = worker.get_default_base_job_template()
    configuration = await KubernetesWorkerJobConfiguration.from_template_and_values(template, values)
    configuration.prepare_for_flow_run(run)
    result = await worker.run(run, configuration)
    namespace, name = result.identifier.split(":")
    assert namespace == "default", result
    return run.id, name, configuration


async def until(batch, name, condition):
    async with watch.Watch().stream(
        batch.list_namespaced_job, "default", field_selector=f"metadata.name={name}", timeout_seconds=PATIENCE
    ) as events:
        async for event in events:
            if condition in [one.type for one in event["object"].status.conditions or [] if one.status == "True"]:
                return event["object"]
    raise AssertionError(f"{name} does not become {condition}")


async def pods_of(core, selector):
    return (await core.list_namespaced_pod("default", label_selector=selector)).items


async def main():
    await config.load_kube_config()
    async with client.ApiClient() as api, get_client() as server, KubernetesWorker("pool") as worker:
        batch, core = client.BatchV1Api(api), client.CoreV1Api(api)
        run, name, _ = await launch(worker, server, "echo hello")
        job = await until(batch, name, "Complete")
        assert job.metadata.labels["prefect.io/flow-run-id"] == str(run), job.metadata.labels
        pods = await pods_of(core, f"prefect.io/flow-run-id={run}")
        assert [pod.status.phase for pod in pods] == ["Succeeded"], pods

        # A Job that fails: the observer sees it and tells the server.
        run, name, _ = await launch(worker, server, "false")
        await until(batch, name, "Failed")
        async with asyncio.timeout(PATIENCE):
            while not (await server.read_flow_run(run)).state.is_crashed():
                await asyncio.sleep(0.2)

        # A run that is cancelled: its Job goes, with its pod.
        run, name, configuration = await launch(worker, server, "sleep 3600")
        await worker.kill_infrastructure(f"default:{name}", configuration, grace_seconds=0)
        async with asyncio.timeout(PATIENCE):
            while await pods_of(core, f"job-name={name}"):
                await asyncio.sleep(0.2)


# The first start of a fresh installation takes long on a busy machine.
with prefect_test_harness(server_startup_timeout=PATIENCE):
    asyncio.run(main())
