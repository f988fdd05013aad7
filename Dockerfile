# The service on port 8080:
#     docker build -t kigraph .
#     docker run --rm --read-only --tmpfs /tmp -p 8080:8080 kigraph
# That answers with the small demo model, which knows apples and oranges only: KIGRAPH_WEIGHTS is "demo" below. A model of
# your own comes with its labels, so mount their folder: models/model.pb, and models/labels.txt beside it:
#     docker run --rm --read-only --tmpfs /tmp -p 8080:8080 -v "$PWD/models:/models:ro" -e KIGRAPH_WEIGHTS=/models/model.pb kigraph
# To label archives as Parquet (docs/many-images.md): docker build --build-arg EXTRAS=serve,parquet -t kigraph .
# Several models, Kubernetes, sizing: docs/deploy.md; compose.yaml starts it with a folder of models.
# A file that is not there, or a model that cannot classify, ends the container at once with exit code 2.
# Every flag of the service is a variable, too: -e KIGRAPH_SERVE_LOG=json -e KIGRAPH_SERVE_MAX_IMAGE_MB=20 (kigraph serve --help).

FROM python:3.12-slim AS build
RUN apt-get update && apt-get install --yes --no-install-recommends gcc libc6-dev && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY . .
ARG EXTRAS=serve
RUN pip wheel --no-cache-dir --wheel-dir /wheels ".[$EXTRAS]"

FROM python:3.12-slim
RUN useradd --system --uid 10001 --home-dir /nonexistent --shell /usr/sbin/nologin kigraph
COPY --from=build /wheels /wheels
ARG EXTRAS=serve
RUN pip install --no-cache-dir --no-index --find-links=/wheels "kigraph[$EXTRAS]" && rm -rf /wheels
USER 10001
ENV PYTHONUNBUFFERED=1 KIGRAPH_CACHE_DIR=/tmp/kigraph KIGRAPH_WEIGHTS=demo KIGRAPH_SERVE_HOST=0.0.0.0 KIGRAPH_SERVE_PORT=8080
EXPOSE 8080
HEALTHCHECK --interval=10s --timeout=4s --start-period=30s CMD ["python", "-c", "import os, urllib.request as u; u.urlopen('http://127.0.0.1:' + os.environ['KIGRAPH_SERVE_PORT'] + '/readyz', timeout=3)"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["kigraph", "serve", "--no-download"]
