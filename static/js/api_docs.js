// Draws the API's schema with Swagger UI, signed in as the person who looks at it.
(() => {
  "use strict";
  const place = document.getElementById("swagger-ui");
  globalThis.SwaggerUIBundle({
    url: place.dataset.schema,
    domNode: place,
    presets: [globalThis.SwaggerUIBundle.presets.apis],
    layout: "BaseLayout",
    deepLinking: false,
    persistAuthorization: false,
    requestInterceptor: (request) => {
      if (request.method && request.method !== "GET") request.headers["X-CSRFToken"] = place.dataset.csrf;
      return request;
    },
  });
})();
