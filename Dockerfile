# syntax=docker/dockerfile:1
# Two images in one file: `build` has the toolchain, the last stage has the binary and what it links to.

FROM rust:1.95-slim-bookworm AS build
# aws-lc (TLS) is C code.
RUN apt-get update \
    && apt-get install -y --no-install-recommends cmake g++ make \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /build

# Dependencies first, from the manifests alone: this layer is rebuilt only when they change.
COPY Cargo.toml Cargo.lock ./
COPY workers/Cargo.toml workers/
COPY tests/Cargo.toml tests/
COPY benches/Cargo.toml benches/
RUN mkdir -p src workers/src tests/src tests/it benches/src \
    && touch src/lib.rs workers/src/lib.rs tests/src/lib.rs \
    && for main in workers/src/main.rs tests/it/main.rs benches/src/throughput.rs; do echo 'fn main() {}' > "$main"; done \
    && cargo build --profile dist --locked -p tripsage-workers --bin tripsage \
    && rm -rf src workers/src

# What the binary is made of, and nothing else: a change elsewhere rebuilds nothing. The placeholders of tests and
# benches stay, for they are members of the workspace.
COPY src src
COPY workers workers
COPY migrations migrations
# Newer than the placeholders, whatever time the files carry.
RUN find src workers/src -name '*.rs' -exec touch {} + \
    && cargo build --profile dist --locked -p tripsage-workers --bin tripsage \
    && cp target/dist/tripsage /tripsage \
    && strip --strip-debug /tripsage

# A folder with an embedding model to build in: `--build-arg MODEL_DIR=.dev/models/wordllama-256`; empty by default.
FROM debian:bookworm-slim AS model
ARG MODEL_DIR=deploy/dev/no-model
COPY ${MODEL_DIR}/ /models/

FROM debian:bookworm-slim
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --system --uid 10001 --user-group --no-create-home --shell /usr/sbin/nologin tripsage
COPY --from=build /tripsage /usr/local/bin/tripsage
COPY --from=model /models /models
USER 10001:10001
WORKDIR /
EXPOSE 9090
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=5s --timeout=3s --start-period=20s CMD ["tripsage", "health", "--port", "9090"]
ENTRYPOINT ["tripsage"]
CMD ["worker", "--port", "9090"]
