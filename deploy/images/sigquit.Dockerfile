# The context is a folder that `hack/image-context sigquit FOLDER` fills; Docker builds it as well as buildah.
FROM scratch
COPY . /
USER 65532:65532
ENV PATH=/bin
# As images of php-fpm and nginx have it, and all that are built on them.
STOPSIGNAL SIGQUIT
CMD ["sh"]
