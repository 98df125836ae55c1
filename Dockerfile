# The service alone, without its tests. Builds with BuildKit and with buildah:
#   docker build -t bookstore .

FROM rust:1.95-slim-bookworm AS build
WORKDIR /build
COPY . .
# The workspace names the tests as a member, so their manifest has to have something to build.
RUN mkdir -p tests/src tests/suite /data && touch tests/src/lib.rs tests/suite/main.rs
# The caches outlive the build: only what has changed is fetched and compiled again. A cache
# is no part of the image, so the program has to leave it.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/build/target \
    cargo build --release --locked --package bookstore-server \
    && cp target/release/bookstore /usr/local/bin/

FROM debian:bookworm-slim
COPY --from=build /usr/local/bin/bookstore /usr/local/bin/
# An empty folder brings its owner along, also into a volume that is mounted over it.
COPY --from=build --chown=10001:10001 /data /data
USER 10001:10001
# The default database is a SQLite file in the working directory.
WORKDIR /data
VOLUME /data
ENV LISTEN_ADDR=0.0.0.0:50051
EXPOSE 50051
ENTRYPOINT ["bookstore"]
CMD ["serve"]
