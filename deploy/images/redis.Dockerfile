# The context is a folder that `hack/image-context redis FOLDER` fills; Docker builds it as well as buildah.
FROM scratch
COPY . /
USER 65532:65532
ENV PATH=/bin
WORKDIR /data
EXPOSE 6379
ENTRYPOINT ["redis-server"]
