// A session with the service, in what openapi-generator makes of its document for fetch: URL, image, GeoJSON.
import assert from "node:assert/strict";
import { Configuration, JobsApi, ProblemFromJSON, ProcessesApi, ResponseError, StatusInfoFromJSON } from "./made/index.js";
import type { ClassifyObjectsInputs, GeojsonFeatureCollection } from "./made/index.js";

const [url, image, layer] = process.argv.slice(2) as [string, string, string];
const configuration = new Configuration({ basePath: url });
const processes = new ProcessesApi(configuration);
const jobs = new JobsApi(configuration);

const described = await processes.describeClassifyObjects();
assert(described.inputs["image"]);

const features: GeojsonFeatureCollection = JSON.parse(layer);
const inputs: ClassifyObjectsInputs = { image: { href: image }, model: "quick", features };
const forecast = await processes.validateClassifyObjects({ classifyObjectsRequest: { inputs } });
assert.equal(forecast.objects, features.features.length);

const direct = await processes.executeClassifyObjects({ classifyObjectsRequest: { inputs } });
assert.equal(direct?.features.length, features.features.length);

// with respond-async the answer is a job, of which only the raw answer knows
const accepted = await processes.executeClassifyObjectsRaw({
  classifyObjectsRequest: { inputs },
  prefer: "respond-async",
});
let job = StatusInfoFromJSON(await accepted.raw.json());
while (job.status === "accepted" || job.status === "running") {
  await new Promise((resolve) => setTimeout(resolve, 100));
  job = await jobs.getJob({ jobId: job.jobID });
}
assert.equal(job.status, "successful", job.message);
const result = await jobs.getResults({ jobId: job.jobID });
assert.deepEqual(JSON.parse(await result!.text()).features, direct?.features);

const waiting = await processes.executeEchoRaw({
  echoRequest: { inputs: { echo: "a", pause: 30 } },
  prefer: "respond-async",
});
const dismissed = await jobs.dismissJob({ jobId: StatusInfoFromJSON(await waiting.raw.json()).jobID });
assert.equal(dismissed.status, "dismissed");

const wrong = { inputs: { image: { href: image }, model: "other" } };
const refused = await processes.executeClassifyObjects({ classifyObjectsRequest: wrong }).catch((error) => error);
assert(refused instanceof ResponseError);
const problem = ProblemFromJSON(await refused.response.json());
assert.deepEqual(problem.errors?.map((fault) => fault.pointer), ["/inputs/model"]);
