# One image for all tiers; the command chooses which:
#   docker run … danmaku-push:dev danmaku-gateway | danmaku-logic | loadgen …
# The base needs Python 3.11 or later as `python3`, with venv and pip; both stages have to use the same one.
ARG BASE=python:3.11-slim-bookworm

FROM ${BASE} AS build
WORKDIR /src
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY protocol ./protocol
COPY runtime ./runtime
COPY k8s ./k8s
COPY gateway ./gateway
COPY logic ./logic
COPY loadgen ./loadgen
RUN python3 -m pip wheel --no-cache-dir --constraint constraints.txt --wheel-dir /wheels .
# Installed into a folder of its own, so that the last stage takes this folder and nothing else: no wheels, no sources.
RUN python3 -m venv --without-pip /opt/danmaku \
    && python3 -m pip --python /opt/danmaku/bin/python install --no-cache-dir --no-index --find-links /wheels danmaku-push

FROM ${BASE}
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="danmaku-push" \
      org.opencontainers.image.description="A Redis-backed, horizontally scaled push platform for danmaku" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
COPY --from=build /opt/danmaku /opt/danmaku

# Inside a container everything listens on every address: what is reachable is decided outside, by which ports are
# published. Each gateway still has to be told the address at which logic finds it: GATEWAY_LINK_ADDRESS=host:8001.
ENV PATH=/opt/danmaku/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    GATEWAY_HOST=0.0.0.0 \
    GATEWAY_LINK_HOST=0.0.0.0 \
    GATEWAY_OPS_HOST=0.0.0.0 \
    LOGIC_HOST=0.0.0.0 \
    LOGIC_OPS_HOST=0.0.0.0

# A number, because Kubernetes cannot tell from a name that it is not root. Nothing in the image is writable for it.
USER 10001:10001
WORKDIR /tmp

# Gateway: viewers, links, operations. Logic: push API, operations.
EXPOSE 8000 8001 8002 8100 8102

# Whichever tier runs here answers on its operations port. `loadgen` has none: run it with --no-healthcheck.
HEALTHCHECK --interval=10s --timeout=5s --start-period=20s --retries=3 CMD \
    alive() { python -c "import sys, urllib.request; urllib.request.urlopen(f'http://127.0.0.1:{sys.argv[1]}/livez', timeout=2)" "$1" 2>/dev/null; }; \
    alive "${GATEWAY_OPS_PORT:-8002}" || alive "${LOGIC_OPS_PORT:-8102}"

CMD ["danmaku-gateway"]
