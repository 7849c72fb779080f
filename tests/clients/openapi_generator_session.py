"""A session with the service, in what openapi-generator makes of its document for Python: URL, image, GeoJSON."""

from __future__ import annotations

import sys
import time

import openapi_client as made
import pytest
from openapi_client.exceptions import BadRequestException


def main(url: str, image: str, layer: str) -> None:
    client = made.ApiClient(made.Configuration(host=url))
    processes, jobs = made.ProcessesApi(client), made.JobsApi(client)
    described = processes.describe_classify_objects()
    assert {"image", "features", "model"} <= set(described.inputs)

    features = made.GeojsonFeatureCollection.from_json(layer)
    link = made.Link(href=image)
    inputs = made.ClassifyObjectsInputs(
        image=made.ClassifyObjectsImage(link),
        model=made.ClassifyObjectsModel("quick"),
        features=made.ClassifyObjectsFeatures(features),
    )
    request = made.ClassifyObjectsRequest(inputs=inputs)
    assert processes.validate_classify_objects(request).objects == len(features.features)

    direct = processes.execute_classify_objects(request)
    assert isinstance(direct, made.GeojsonFeatureCollection)
    assert len(direct.features) == len(features.features)

    inputs.image = made.ClassifyObjectsImage([made.ClassifyObjectsImageItem(link)])
    job = processes.execute_classify_objects(request, prefer="respond-async")
    assert isinstance(job, made.StatusInfo)
    while job.status in ("accepted", "running"):
        time.sleep(0.1)
        job = jobs.get_job(job.job_id)
    assert job.status == "successful", job.message
    assert jobs.get_results(job.job_id).features == direct.features

    texts = made.EchoEcho([made.EchoEchoItem("a"), made.EchoEchoItem("b")])
    long = made.EchoRequest(inputs=made.EchoInputs(echo=texts, pause=made.EchoPause(30)))
    waiting = processes.execute_echo(long, prefer="respond-async")
    assert jobs.dismiss_job(waiting.job_id).status == "dismissed"

    inputs.model = made.ClassifyObjectsModel("other")
    with pytest.raises(BadRequestException) as refused:
        processes.execute_classify_objects(request)
    assert [fault.pointer for fault in refused.value.data.errors] == ["/inputs/model"]


if __name__ == "__main__":
    main(*sys.argv[1:])
