// A session with the service, with the types that openapi-typescript makes of its document: URL, image, GeoJSON.
import assert from "node:assert/strict";
import createClient from "openapi-fetch";
import type { components, paths } from "./service.js";

type Schemas = components["schemas"];
const [url, image, layer] = process.argv.slice(2) as [string, string, string];
const client = createClient<paths, "application/json" | "application/geo+json">({ baseUrl: url });

const described = await client.GET("/processes/classify-objects");
assert(described.data?.inputs["image"]);

const features: Schemas["geojsonFeatureCollection"] = JSON.parse(layer);
const inputs: Schemas["classify-objects-inputs"] = { image: { href: image }, model: "quick", features };
const forecast = await client.POST("/processes/classify-objects/validate", { body: { inputs } });
assert.equal(forecast.data?.objects, features.features.length);

const direct = await client.POST("/processes/classify-objects/execution", { body: { inputs } });
const labelled = direct.data as Schemas["geojsonFeatureCollection"];
assert.equal(labelled.features.length, features.features.length);

const accepted = await client.POST("/processes/classify-objects/execution", {
  body: { inputs: { ...inputs, image: [{ href: image }] } },
  params: { header: { Prefer: "respond-async" } },
});
assert.equal(accepted.response.status, 201);
let job = accepted.data as Schemas["statusInfo"];
while (job.status === "accepted" || job.status === "running") {
  await new Promise((resolve) => setTimeout(resolve, 100));
  const answer = await client.GET("/jobs/{jobId}", { params: { path: { jobId: job.jobID } } });
  assert(answer.data);
  job = answer.data;
}
assert.equal(job.status, "successful", job.message);
const result = await client.GET("/jobs/{jobId}/results", { params: { path: { jobId: job.jobID } } });
assert.deepEqual((result.data as Schemas["geojsonFeatureCollection"]).features, labelled.features);

const file = await client.GET("/jobs/{jobId}/results/{output}", {
  params: { path: { jobId: job.jobID, output: "classifiedObjects.gpkg" } },
  parseAs: "arrayBuffer",
});
assert.equal(Buffer.from(file.data!).subarray(0, 13).toString(), "SQLite format");

const waiting = await client.POST("/processes/echo/execution", {
  body: { inputs: { echo: ["a", "b"], pause: 30 } },
  params: { header: { Prefer: "respond-async" } },
});
const { jobID } = waiting.data as Schemas["statusInfo"];
const dismissed = await client.DELETE("/jobs/{jobId}", { params: { path: { jobId: jobID } } });
assert.equal(dismissed.data?.status, "dismissed");

const refused = await client.POST("/processes/classify-objects/execution", {
  body: { inputs: { image: { href: image }, model: "other" } },
});
assert.equal(refused.response.status, 400);
assert.deepEqual(refused.error?.errors?.map((fault) => fault.pointer), ["/inputs/model"]);
