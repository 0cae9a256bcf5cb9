# The context is a folder that `hack/image-context peers FOLDER` fills; Docker builds it as well as buildah.
FROM scratch
COPY . /
USER 65532:65532
ENV PATH=/bin:/usr/local/bin
WORKDIR /peers
