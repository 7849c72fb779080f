"""A session with the service, in what openapi-python-client makes of its document: URL, image, GeoJSON."""

from __future__ import annotations

import json
import sys
import time
from http import HTTPStatus

from classify_client import Client
from classify_client.api.jobs import dismiss_job, get_job, get_results
from classify_client.api.processes import (
    describe_classify_objects,
    execute_classify_objects,
    execute_echo,
    validate_classify_objects,
)
from classify_client.models import (
    ClassifyObjectsInputs,
    ClassifyObjectsRequest,
    EchoInputs,
    EchoRequest,
    Forecast,
    GeojsonFeatureCollection,
    Link,
    Problem,
    Process,
    StatusCode,
    StatusInfo,
)


def main(url: str, image: str, layer: str) -> None:
    client = Client(base_url=url)
    described = describe_classify_objects.sync(client=client)
    assert isinstance(described, Process)
    assert {"image", "features", "model"} <= set(described.inputs.additional_properties)

    features = GeojsonFeatureCollection.from_dict(json.loads(layer))
    inputs = ClassifyObjectsInputs(image=Link(href=image), model="quick", features=features)
    request = ClassifyObjectsRequest(inputs=inputs)
    forecast = validate_classify_objects.sync(client=client, body=request)
    assert isinstance(forecast, Forecast)
    assert forecast.objects == len(features.features)

    direct = execute_classify_objects.sync(client=client, body=request)
    assert isinstance(direct, GeojsonFeatureCollection)
    assert len(direct.features) == len(features.features)

    several = ClassifyObjectsInputs(image=[Link(href=image)], model="quick", features=features)
    job = execute_classify_objects.sync(
        client=client, body=ClassifyObjectsRequest(inputs=several), prefer="respond-async"
    )
    assert isinstance(job, StatusInfo)
    while job.status in (StatusCode.ACCEPTED, StatusCode.RUNNING):
        time.sleep(0.1)
        job = get_job.sync(job.job_id, client=client)
        assert isinstance(job, StatusInfo)
    assert job.status is StatusCode.SUCCESSFUL, job.message
    result = get_results.sync(job.job_id, client=client)
    assert isinstance(result, GeojsonFeatureCollection)
    assert [item.to_dict() for item in result.features] == [item.to_dict() for item in direct.features]

    long = EchoRequest(inputs=EchoInputs(echo=["a", "b"], pause=30))
    waiting = execute_echo.sync(client=client, body=long, prefer="respond-async")
    assert isinstance(waiting, StatusInfo)
    dismissed = dismiss_job.sync(waiting.job_id, client=client)
    assert isinstance(dismissed, StatusInfo)
    assert dismissed.status is StatusCode.DISMISSED

    wrong = ClassifyObjectsRequest(inputs=ClassifyObjectsInputs(image=Link(href=image), model="other"))
    refused = execute_classify_objects.sync_detailed(client=client, body=wrong)
    assert refused.status_code is HTTPStatus.BAD_REQUEST
    assert isinstance(refused.parsed, Problem)
    assert [fault.pointer for fault in refused.parsed.errors] == ["/inputs/model"]


if __name__ == "__main__":
    main(*sys.argv[1:])
