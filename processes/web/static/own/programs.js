// A request as programs send it.
const quoted = (text) => `'${text.replaceAll("'", "'\\''")}'`;

export function asCurl(url, body, isAsync) {
  const prefer = isAsync ? "  -H 'Prefer: respond-async' \\\n" : "";
  return `curl -s ${quoted(url)} \\\n  -H 'Content-Type: application/json' \\\n${prefer}  -d ${quoted(JSON.stringify(body))}`;
}

// a value as Python writes it
function python(value, indent = "") {
  const inner = `${indent}    `;
  if (value === null) return "None";
  if (value === true) return "True";
  if (value === false) return "False";
  if (Array.isArray(value)) return `[${value.map((item) => python(item, indent)).join(", ")}]`;
  if (typeof value === "object") {
    const members = Object.entries(value).map(([name, item]) => `${inner}${JSON.stringify(name)}: ${python(item, inner)},\n`);
    return members.length ? `{\n${members.join("")}${indent}}` : "{}";
  }
  return JSON.stringify(value);
}

export function asPython(url, body, isAsync) {
  const headers = isAsync ? ', headers={"Prefer": "respond-async"}' : "";
  return `import requests\n\nrequest = ${python(body)}\nanswer = requests.post(${JSON.stringify(url)}, json=request${headers})\nanswer.raise_for_status()\nprint(answer.json())`;
}

const OPTIONS = { classLabelField: "label-field", processingMode: "mode", cellSize: "cell-size", processorType: "processor", outputCrs: "output-crs" };
const ENDINGS = {
  "application/geopackage+sqlite3": "gpkg",
  "application/vnd.flatgeobuf": "fgb",
  "application/vnd.apache.parquet": "parquet",
  "application/geo+json-seq": "geojsonl",
  "text/csv": "csv",
  "application/json": "json",
};

function path(link) {
  const href = String(link?.href ?? "FILE");
  const [place, fragment] = href.split("#");
  const plain = (text) => {
    try {
      return decodeURIComponent(text);
    } catch {
      return text;
    }
  };
  if (place.startsWith("file://")) return [plain(place.slice(7)), fragment];
  return [plain(place.split("/").pop()) || "FILE", fragment]; // the file that was sent, or is to be downloaded
}

const word = (text) => (/^[\w./:%@+=,-]+$/.test(text) ? text : quoted(String(text)));

export function asCommand({ inputs, outputs }) {
  const options = [];
  for (const image of [inputs.image ?? []].flat()) options.push(["image", path(image)[0]]);
  if (inputs.features) {
    const [file, fragment] = path(inputs.features);
    options.push(["features", file]);
    if (fragment?.startsWith("layer=")) options.push(["layer", fragment.slice(6)]);
    if (fragment?.startsWith("crs=")) options.push(["features-crs", fragment.slice(4)]);
  }
  options.push(["model", inputs.model ?? "MODEL"]);
  const given = typeof inputs.modelArguments === "object" ? Object.entries(inputs.modelArguments ?? {}) : [];
  for (const [name, value] of given) options.push(["argument", `${name}=${value}`]);
  for (const [name, option] of Object.entries(OPTIONS)) if (inputs[name] !== undefined) options.push([option, String(inputs[name])]);
  const lines = options.map(([name, value]) => `--${name} ${word(value)}`);
  if (inputs.extent?.bbox) {
    const numbers = inputs.extent.bbox.length === 6 ? [0, 1, 3, 4].map((index) => inputs.extent.bbox[index]) : inputs.extent.bbox;
    lines.push(`--extent ${numbers.join(" ")}`);
    if (inputs.extent.crs) lines.push(`--extent-crs ${word(inputs.extent.crs)}`);
  }
  const type = Object.values(outputs ?? {})[0]?.format?.mediaType;
  lines.push(`--output ${word(`${inputs.resultName ?? "classified"}.${ENDINGS[type] ?? "geojson"}`)}`);
  return ["classify-objects run", ...lines].join(" \\\n  ");
}
