// A map without sources: what MapLibre and the browser need for themselves.
import { Map as MapView } from "./maplibre-gl/maplibre-gl.mjs";

performance.mark("map-script");
const map = new MapView({
  container: "map",
  style: { version: 8, sources: {}, layers: [{ id: "back", type: "background", paint: { "background-color": "#888" } }] },
  attributionControl: false,
  fadeDuration: 0,
});
map.once("idle", () => performance.mark("map-drawn"));
