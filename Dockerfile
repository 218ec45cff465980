# Curtail in an image that holds one file: the static binary. Certificate roots are compiled in, so
# the image needs no certificate store; it has no shell, no libc and no /tmp.
#
#   docker build -t curtail .
#
# Nothing here needs BuildKit, so `gcloud run deploy --source .`, Cloud Build and older engines take
# it as it is. Cloud Run runs amd64 only: on an ARM machine add `--platform linux/amd64`.

# ---- dependencies: changes only when Cargo.toml or Cargo.lock does ----------------------------------
FROM rust:1.95.0-slim-bookworm AS dependencies
WORKDIR /build

# cargo-auditable puts the list of the dependencies into the binary, where scanners of images read it; auditable2cdx writes that
# list as an SBOM.
RUN cargo install --quiet --locked --root /opt/audit cargo-auditable@0.7.7 auditable2cdx@0.1.0
ENV PATH=/opt/audit/bin:$PATH

# The binary carries its own glibc. The target is named explicitly, because then the flag stays
# away from build scripts and procedural macros, which must remain dynamic.
# A panic unwinds, so that it costs one request, and the tables for that stay. No panic crosses C, for which no tables
# are generated; nor are the parts of SQLite that no statement uses.
ENV RUSTFLAGS="-C target-feature=+crt-static" \
    CFLAGS="-fno-asynchronous-unwind-tables -fno-unwind-tables" \
    LIBSQLITE3_FLAGS="-USQLITE_ENABLE_FTS3 -USQLITE_ENABLE_FTS3_PARENTHESIS -USQLITE_ENABLE_RTREE -USQLITE_ENABLE_DBSTAT_VTAB -USQLITE_SOUNDEX" \
    CARGO_TERM_COLOR=never \
    CARGO_INCREMENTAL=0

COPY Cargo.toml Cargo.lock ./

# An empty program with the same dependencies. Cargo refuses a manifest whose declared benches and
# examples do not exist, so they get an empty file as well.
RUN mkdir src benches examples \
 && echo 'fn main() {}' > src/main.rs \
 && touch src/lib.rs \
 && for kind in bench example; do \
      sed -n "/^\[\[$kind\]\]/,/^name/ s/^name *= *\"\(.*\)\"/\1/p" Cargo.toml | while read -r name; do \
        case $kind in bench) folder=benches ;; *) folder=examples ;; esac; \
        echo 'fn main() {}' > "$folder/$name.rs"; \
      done; \
    done \
 && cargo build --release --locked --target x86_64-unknown-linux-gnu

# ---- build: the real source ------------------------------------------------------------------------
FROM dependencies AS build
COPY . .

# Declared here and not above: a new commit must not rebuild the dependencies. Left empty, the build
# script says `unknown` for the one and takes the present for the other.
#
# Functions with the same code are kept once where nobody compares their addresses (`--icf=safe`), strings that end alike
# too (`-O2`), and relocations are packed. The linker's notes are removed.
ARG GIT_COMMIT=
ARG BUILD_TIME=

# Cargo compares times, and the copied files can be older than the empty program: touch them.
RUN touch src/main.rs src/lib.rs \
 && CURTAIL_GIT_COMMIT="$GIT_COMMIT" CURTAIL_BUILD_TIME="$BUILD_TIME" \
    cargo auditable rustc --release --locked --bin curtail --target x86_64-unknown-linux-gnu -- -C link-arg=-Wl,-O2,--icf=safe,--pack-dyn-relocs=relr \
 && objcopy --wildcard --remove-section=.comment --remove-section='.gnu.warning.*' \
    target/x86_64-unknown-linux-gnu/release/curtail /curtail \
 && auditable2cdx /curtail >/curtail.cdx.json \
 && mkdir /data

# ---- the SBOM, in CycloneDX: docker build --target=sbom --output=. . ---------------------------------
FROM scratch AS sbom
COPY --from=build /curtail.cdx.json /curtail.cdx.json

# ---- the image -------------------------------------------------------------------------------------
FROM scratch

ARG VERSION=0.1.0
ARG GIT_COMMIT=unknown
ARG BUILD_TIME=unknown
LABEL org.opencontainers.image.title="Curtail" \
      org.opencontainers.image.description="A URL shortener for Google Cloud Run" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="$VERSION" \
      org.opencontainers.image.revision="$GIT_COMMIT" \
      org.opencontainers.image.created="$BUILD_TIME"

COPY --from=build /curtail /curtail

# Where a container without DATABASE_URL keeps its links and its generated admin key: `data` in the working directory, which
# is /. With a database nothing is written here.
COPY --from=build --chown=65532:65532 /data /data
VOLUME ["/data"]

# A container's loopback is reached from nowhere, so this is also the default of a container without a database: it asks for
# its key then. `::` listens on both address families.
ENV LISTEN_ADDRESS=0.0.0.0

# By number: Cloud Run starts an image with an unknown user name as root, and scratch has no
# /etc/passwd that could know one.
USER 65532:65532

EXPOSE 8080

# For Docker and Compose. Cloud Run and Kubernetes ignore it and use their own probes. Swarm restarts what is unhealthy, and
# no restart brings a database back: so it asks whether the process answers, and no more.
HEALTHCHECK --interval=10s --timeout=3s --start-period=30s --retries=3 \
    CMD ["/curtail", "healthcheck", "--live"]

ENTRYPOINT ["/curtail"]
