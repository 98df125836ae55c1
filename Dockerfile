# The service alone, without its tests, on nothing but the libraries that it is linked with:
#   docker build -t bookstore .         (podman and buildah with --format docker, and with
#       unqualified-search-registries in registries.conf: not all know where `rust` is)
# With PostgreSQL's client programs and a shell beside it, for backups and for people who look:
#   docker build -t bookstore-tools --target tools .

FROM rust:1.95-slim-bookworm AS build
SHELL ["/bin/bash", "-o", "pipefail", "-c"]
WORKDIR /build
# The dependencies first, under empty members: this layer is built again only when a manifest
# or the lock changes.
COPY Cargo.toml Cargo.lock ./
COPY .cargo .cargo
COPY entity/Cargo.toml entity/
COPY migration/Cargo.toml migration/
COPY proto/Cargo.toml proto/
COPY server/Cargo.toml server/
COPY server/auth/Cargo.toml server/auth/
COPY server/client/Cargo.toml server/client/
COPY server/query/Cargo.toml server/query/
COPY server/store/Cargo.toml server/store/
COPY tests/Cargo.toml tests/
RUN mkdir -p entity/src migration/src proto/src server/src server/auth/src server/client/src server/query/src server/store/src tests/src tests/suite \
    && touch entity/src/lib.rs migration/src/lib.rs proto/src/lib.rs server/src/lib.rs \
        server/auth/src/lib.rs server/client/src/lib.rs server/query/src/lib.rs server/store/src/lib.rs \
        tests/src/lib.rs tests/suite/main.rs \
    && echo 'fn main() {}' | tee proto/build.rs >server/src/main.rs \
    && cargo build --release --locked --package bookstore-server
COPY entity entity
COPY migration migration
COPY proto proto
COPY server server
# Copied files may be older than the empty ones, and cargo goes by time.
RUN find entity migration proto server -name '*.rs' -exec touch '{}' + \
    && cargo build --release --locked --package bookstore-server

# All that the image holds: the program, its libraries, who it runs as, an empty folder for data.
# The program knows the public authorities itself; the file is for sslrootcert, beside one's own.
RUN mkdir -p /image/data /image/tmp /image/usr/local/bin /image/etc/ssl/certs \
    && chmod 1777 /image/tmp \
    && chown 10001:10001 /image/data \
    && cp target/release/bookstore /image/usr/local/bin/ \
    && ldd target/release/bookstore | grep -o '/[^ ]*' | xargs cp --dereference --parents --target-directory=/image \
    && cp /etc/ssl/certs/ca-certificates.crt /image/etc/ssl/certs/ \
    && echo 'bookstore:x:10001:10001::/data:/usr/sbin/nologin' >/image/etc/passwd \
    && echo 'bookstore:x:10001:' >/image/etc/group

# Debian 13 has version 17, whose programs also read every older server.
FROM debian:trixie-slim AS tools
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates postgresql-client sqlite3 \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --uid 10001 --user-group --home-dir /data --create-home --shell /bin/bash bookstore
COPY --from=build /image/usr/local/bin/bookstore /usr/local/bin/
USER 10001:10001
WORKDIR /data
CMD ["bash"]

FROM scratch
COPY --from=build /image /
USER 10001:10001
# The default database is a SQLite file in the working directory. An empty folder brings its
# owner along, also into a volume that is mounted over it.
WORKDIR /data
VOLUME /data
ENV LISTEN_ADDR=0.0.0.0:50051 ADMIN_ADDR=0.0.0.0:50052
EXPOSE 50051 50052
HEALTHCHECK --interval=5s --timeout=3s --start-period=30s --retries=3 CMD ["/usr/local/bin/bookstore", "health", "--address", "http://127.0.0.1:50052", "live"]
ENTRYPOINT ["/usr/local/bin/bookstore"]
CMD ["serve"]
