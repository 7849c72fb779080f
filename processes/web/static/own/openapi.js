// Swagger UI on this service's own document.
const home = document.getElementById("api");
if (matchMedia("(prefers-color-scheme: dark)").matches) document.documentElement.classList.add("dark-mode");
window.SwaggerUIBundle({
  url: home.dataset.document,
  domNode: home,
  deepLinking: true,
  validatorUrl: null,
  presets: [window.SwaggerUIBundle.presets.apis],
  layout: "BaseLayout",
  // the document names the public address of the service; a browser may have come by another one
  requestInterceptor: (request) => {
    const url = new URL(request.url, location.href);
    request.url = location.origin + url.pathname + url.search;
    return request;
  },
});
