# syntax=docker/dockerfile:1
# One image for every part: `slipway api`, `slipway worker`, `slipway migrate` …

FROM rust:1-bookworm AS build
WORKDIR /src
COPY . .
# The target folder is a cache of this machine's, so the binary is copied out in the same step.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    cargo build --release --locked -p slipway --no-default-features && cp target/release/slipway /usr/local/bin/slipway

FROM debian:bookworm-slim
# The Python client that hooks are given as automation_client. Empty leaves it out: `--build-arg DATAIKU_API_CLIENT=`.
ARG DATAIKU_API_CLIENT=15.2.0
RUN apt-get update \
 && apt-get install -y --no-install-recommends ca-certificates python3 python3-venv \
 && rm -rf /var/lib/apt/lists/* \
 && python3 -m venv /opt/envs/hooks \
 && if [ -n "$DATAIKU_API_CLIENT" ]; then \
      /opt/envs/hooks/bin/pip install --no-cache-dir "dataiku-api-client==$DATAIKU_API_CLIENT" six; \
    fi \
 && groupadd --gid 10001 slipway \
 && useradd --uid 10001 --gid slipway --home-dir /var/lib/slipway --no-create-home --shell /usr/sbin/nologin slipway \
 && install -d -o slipway -g slipway -m 0700 /var/lib/slipway /var/lib/slipway/packages /var/lib/slipway/staging /var/lib/slipway/key
COPY --from=build /usr/local/bin/slipway /usr/local/bin/slipway

# An unknown SLIPWAY_ variable is refused by name: these are settings of config.default.toml.
ENV SLIPWAY_API_LISTEN=0.0.0.0:8080 \
    SLIPWAY_WORKER_LISTEN=0.0.0.0:8081 \
    SLIPWAY_WORKER_HOOKS_PYTHON=/opt/envs/hooks/bin/python3 \
    SLIPWAY_PACKAGES_LOCATION=/var/lib/slipway/packages \
    SLIPWAY_PACKAGES_STAGING=/var/lib/slipway/staging \
    SLIPWAY_SECRETS_MASTER_KEY_FILE=/var/lib/slipway/key/master.key \
    HEALTH_PORT=8080

USER slipway
WORKDIR /var/lib/slipway
# The API; a worker sets HEALTH_PORT=8081.
EXPOSE 8080 8081
HEALTHCHECK --interval=10s --timeout=5s --start-period=20s \
  CMD ["python3", "-I", "-c", "import os, urllib.request; urllib.request.urlopen('http://127.0.0.1:' + os.environ['HEALTH_PORT'] + '/healthz', timeout=4)"]
ENTRYPOINT ["slipway"]
CMD ["--help"]
