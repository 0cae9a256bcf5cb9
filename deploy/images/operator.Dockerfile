# The context is a folder that `hack/image-context operator FOLDER` fills; Docker builds it as well as buildah.
FROM scratch
COPY . /
USER 65532:65532
# Without a bound the C library keeps freed memory for each thread apart, and never gives it back.
ENV MALLOC_ARENA_MAX=1
ENTRYPOINT ["/taskqueue-operator"]
