# One image with every program of ours; which one runs is the container's command.
FROM rust:1.95-bookworm AS build
RUN apt-get update \
    && apt-get install -y --no-install-recommends build-essential libssl-dev pkg-config python3 \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY . .
# Caches outlive the layer, so that a changed line does not build every dependency again.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    cargo build --release --locked --bins \
        --package order --package inventory --package payment --package notification \
        --package payment-provider --package outbox-relay --package dlq-replayer --package dev-runner \
    && mkdir /out \
    && cd target/release \
    && cp order inventory payment notification payment-provider outbox-relay dlq-replayer dlq relay dev-runner /out/

FROM debian:bookworm-slim
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates curl libssl3 zlib1g \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --system --uid 10001 --no-create-home oncebox \
    && install -d -o oncebox /var/lib/oncebox
COPY --from=build /out/ /usr/local/bin/
USER oncebox
WORKDIR /var/lib/oncebox
# Overridden for each service; alone, the image says what it is.
CMD ["order", "--help"]
