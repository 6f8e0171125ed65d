"""kubernetes_asyncio against a daemon: the first argument is its kubeconfig. Fails by an exception."""

import asyncio
import sys

from kubernetes_asyncio import client, config, utils, watch
from kubernetes_asyncio.stream import WsApiClient


async def main():
    await config.load_kube_config(sys.argv[1])
    async with client.ApiClient() as api:
        batch, core = client.BatchV1Api(api), client.CoreV1Api(api)
        container = {"name": "main", "image": "busybox:1.36", "command": ["sh", "-c", "echo hello"]}
        template = {"spec": {"restartPolicy": "Never", "containers": [container]}}
        await batch.create_namespaced_job("default", {"metadata": {"name": "four"}, "spec": {"template": template}})
        done = False
        async with watch.Watch().stream(
            batch.list_namespaced_job, "default", field_selector="metadata.name=four", timeout_seconds=120
        ) as events:
            async for event in events:
                conditions = event["object"].status.conditions or []
                done = any(one.type == "Complete" and one.status == "True" for one in conditions)
                if done:
                    break
        assert done, "the Job does not end"
        pods = await core.list_namespaced_pod("default", label_selector="job-name=four")
        assert await core.read_namespaced_pod_log(pods.items[0].metadata.name, "default") == "hello\n"
        await batch.patch_namespaced_job("four", "default", {"metadata": {"labels": {"a": "b"}}})
        listed = await batch.list_namespaced_job("default", label_selector="a=b")
        assert [one.metadata.name for one in listed.items] == ["four"]
        await batch.delete_namespaced_job("four", "default", propagation_policy="Background")

        # A pod from an object as a file has it; its log is followed while it runs; commands beside it.
        long = dict(container, command=["sh", "-c", "echo first; sleep 3600"])
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "long"}, "spec": {"containers": [long]}}
        await utils.create_from_dict(api, pod, namespace="default")
        async with watch.Watch().stream(
            core.list_namespaced_pod, "default", field_selector="metadata.name=long", timeout_seconds=120
        ) as events:
            async for event in events:
                if event["object"].status.phase == "Running":
                    break
        log = await core.read_namespaced_pod_log("long", "default", follow=True, _preload_content=False)
        assert await log.content.readline() == b"first\n"
        log.close()
    async with WsApiClient() as sockets:
        run = client.CoreV1Api(sockets).connect_get_namespaced_pod_exec
        options = {"stdout": True, "stderr": True}
        assert await run("long", "default", command=["echo", "hello"], **options) == "hello\n"
        command = ["sh", "-c", "echo bad >&2; exit 7"]
        async with await run("long", "default", command=command, _preload_content=False, **options) as socket:
            frames = [frame.data async for frame in socket]
        assert b"\x02bad\n" in frames, frames
        ends = [frame[1:] for frame in frames if frame[:1] == b"\x03"]
        assert [WsApiClient.parse_error_data(end) for end in ends] == [7], frames


asyncio.run(main())
