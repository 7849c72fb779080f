// The map of a result: its imagery, and the objects in the colours of their classes.
import { FullscreenControl, Map as MapView, NavigationControl, ScaleControl, addProtocol, prewarm } from "../maplibre-gl/maplibre-gl.mjs";
import { address, afterChange, fetchPatiently, filtered, open } from "./objects.js";

const view = document.getElementById("map");
const told = document.getElementById("map-told");
const notes = new Map();

// says what a person should know, one sentence of each kind
function tell(kind, text) {
  if (text) notes.set(kind, text);
  else notes.delete(kind);
  told.textContent = [...notes.values()].join(" ");
}

// tiles come from where the page does, whatever name the service has for itself
const here = (url) => url.replace(/^https?:\/\/[^/]+/, location.origin);
const objectTiles = () => {
  const [path, query] = filtered("map/objects").split("?");
  return `${location.origin}${path}/{z}/{x}/{y}.mvt${query ? `?${query}` : ""}`;
};

async function look(feature, map) {
  const { row } = selection;
  if (row !== null) map.setFeatureState({ source: "objects", sourceLayer: "objects", id: row }, { chosen: false });
  selection.row = feature.id;
  map.setFeatureState({ source: "objects", sourceLayer: "objects", id: feature.id }, { chosen: true });
  const answer = await fetch(`${address}/review?row=${feature.id}`);
  if (answer.ok) open((await answer.json()).objects[0]);
}

// tiles of imagery, which take the service long, are asked for with patience; MapLibre asks once
addProtocol("patient", async ({ url }, { signal }) => {
  const answer = await fetchPatiently(url.replace("patient:", location.protocol), signal);
  if (!answer.ok) throw new Error((await answer.json()).detail);
  return { data: await answer.arrayBuffer() };
});

const selection = { row: null };

function click(event, map) {
  const reach = 4;
  const { x, y } = event.point;
  const box = [[x - reach, y - reach], [x + reach, y + reach]];
  const layers = ["points", "lines", "polygons", "squares"];
  const [feature] = map.queryRenderedFeatures(box, { layers });
  if (!feature) return;
  if (feature.sourceLayer === "squares") map.easeTo({ center: event.lngLat, zoom: map.getZoom() + 2 });
  else look(feature, map);
}

async function show() {
  prewarm(); // its workers start while the style is on its way
  const answer = await fetch(`${address}/map`);
  const found = await answer.json();
  if (!answer.ok) {
    view.hidden = true;
    tell("problem", `There is no map: ${found.detail}.`);
    return;
  }
  const { style } = found;
  const { imagery } = style.sources;
  for (const source of Object.values(style.sources)) source.tiles = source.tiles.map(here);
  if (imagery) imagery.tiles = imagery.tiles.map((url) => url.replace(location.protocol, "patient:"));
  const map = new MapView({
    container: view,
    style,
    bounds: found.bounds,
    fitBoundsOptions: { padding: 24, maxZoom: 20 },
    maxZoom: 22,
    dragRotate: false,
    pitchWithRotate: false,
    cooperativeGestures: true,
    attributionControl: false,
    fadeDuration: 0,
  });
  view.map = map; // for whoever looks at the page from outside
  map.touchZoomRotate.disableRotation();
  map.addControl(new NavigationControl({ showCompass: false }));
  map.addControl(new FullscreenControl());
  map.addControl(new ScaleControl());
  map.on("error", ({ error }) => tell("error", `Something of the map cannot be shown: ${error.message}.`));
  map.on("click", (event) => click(event, map));
  map.once("idle", () => {
    performance.mark("map-drawn");
    document.dispatchEvent(new Event("map-drawn"));
  });
  map.on("load", () => {
    map.setPaintProperty("outlines", "line-width", ["case", ["boolean", ["feature-state", "chosen"], false], 4, 1.5]);
    map.setPaintProperty("points", "circle-radius", ["case", ["boolean", ["feature-state", "chosen"], false], 7, 4]);
    view.dataset.ready = "";
  });
  const tellOfZoom = () => {
    tell("zoom", imagery && map.getZoom() < imagery.minzoom ? "Zoom in to see the imagery." : "");
    const isCoarse = map.queryRenderedFeatures({ layers: ["squares"] }).length > 0;
    tell("squares", isCoarse ? "Where objects are many, squares have the colour of the most frequent class; click one to get nearer." : "");
  };
  map.on("idle", tellOfZoom);
  if (found.problem) tell("problem", `${found.problem[0].toUpperCase()}${found.problem.slice(1)}.`);
  afterChange(() => map.getSource("objects").setTiles([objectTiles()]));
}

show().catch((error) => {
  document.dispatchEvent(new Event("map-drawn"));
  view.hidden = true;
  tell("problem", `This browser cannot draw the map: ${error.message}`);
});
