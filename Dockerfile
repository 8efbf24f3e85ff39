# One image per binary, FROM scratch around a static executable: `cargo xtask images --builder buildah`, or by hand
#
#   RUSTFLAGS='-C target-feature=+crt-static' cargo build --release --target x86_64-unknown-linux-gnu --bins
#   buildah bud --build-arg BINARY=portcullis-gateway -f Dockerfile target/x86_64-unknown-linux-gnu/release
#
# `--target` matters: without it the flag would reach procedural macros too, which cannot be static.
FROM scratch
ARG BINARY=portcullis-operator
ARG VERSION=dev
LABEL org.opencontainers.image.title="${BINARY}" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.url="https://portcullis.dev"
COPY --chmod=0755 ${BINARY} /portcullis
USER 65532:65532
ENTRYPOINT ["/portcullis"]
