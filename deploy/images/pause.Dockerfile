# The context is a folder that `hack/image-context pause FOLDER` fills; Docker builds it as well as buildah.
FROM scratch
COPY . /
USER 65535:65535
ENTRYPOINT ["/pause"]
