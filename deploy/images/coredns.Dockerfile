# The context is a folder that `hack/image-context coredns FOLDER` fills; Docker builds it as well as buildah.
FROM scratch
COPY . /
USER 65532:65532
ENTRYPOINT ["/coredns"]
