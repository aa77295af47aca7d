# One small image for each service: `make images`, or `docker build --target gateway .` for one.
# The base is pinned by its exact tag; pin its digest too with --build-arg PYTHON=python:3.11.14-slim-bookworm@sha256:...
ARG PYTHON=python:3.11.14-slim-bookworm

# The environments are made in the folder in which the code will lie, and hold none of it: an editable install, as `make`
# does one. So a change of code installs nothing anew, and no image has an installer in its environment.
FROM ${PYTHON} AS environment
# Another index, such as that of torch's builds for CPUs, which are a tenth of the size.
ARG PIP_INDEX_URL
ARG PIP_EXTRA_INDEX_URL
ENV PIP_CONSTRAINT=/srv/constraints.txt PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /srv
RUN python -m venv --without-pip /opt/framemesh
COPY pyproject.toml constraints.txt README.md LICENSE ./
RUN mkdir framemesh && touch framemesh/__init__.py

FROM environment AS gateway-environment
RUN pip --python /opt/framemesh install -e '.[gateway,tracing]'

FROM environment AS archiver-environment
RUN pip --python /opt/framemesh install -e '.[archiver,tracing]'

FROM environment AS ingest-environment
RUN pip --python /opt/framemesh install -e '.[ingest,tracing]'

FROM environment AS model-server-environment
RUN pip --python /opt/framemesh install -e '.[model-server,tracing]'

FROM environment AS exporter-environment
RUN pip --python /opt/framemesh install -e '.[torch,tracing]'

FROM environment AS trainer-environment
RUN pip --python /opt/framemesh install -e '.[train]'

FROM environment AS deployer-environment
RUN pip --python /opt/framemesh install -e '.[deployer,tracing]'

FROM environment AS console-environment
RUN pip --python /opt/framemesh install -e '.[console]'

# What all have: the shared library, nobody's user, and metrics and health on one port.
FROM ${PYTHON} AS service
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="framemesh" \
      org.opencontainers.image.description="Camera frames in, typed answers out" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
ENV PATH=/opt/framemesh/bin:$PATH HOME=/tmp PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 \
    FRAMEMESH_HTTP_ADDRESS=0.0.0.0:9090
WORKDIR /srv
COPY framemesh framemesh
USER 65532:65532
EXPOSE 9090
# For Docker; Kubernetes asks by its own probes.
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s \
  CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:9090/healthz')"]

FROM service AS gateway
COPY --from=gateway-environment /opt/framemesh /opt/framemesh
COPY gateway gateway
ENV FRAMEMESH_GRPC_ADDRESS=0.0.0.0:50051
EXPOSE 50051
ENTRYPOINT ["python", "-m", "gateway"]

FROM service AS archiver
COPY --from=archiver-environment /opt/framemesh /opt/framemesh
COPY archiver archiver
ENTRYPOINT ["python", "-m", "archiver"]

FROM service AS ingest
COPY --from=ingest-environment /opt/framemesh /opt/framemesh
COPY ingest ingest
ENTRYPOINT ["python", "-m", "ingest"]

# Serves what was exported; it has no torch.
FROM service AS model-server
COPY --from=model-server-environment /opt/framemesh /opt/framemesh
COPY model_server model_server
ENV FRAMEMESH_GRPC_ADDRESS=0.0.0.0:50052
EXPOSE 50052
ENTRYPOINT ["python", "-m", "model_server"]

# Prepares models, and serves those that only torch can run.
FROM service AS exporter
COPY --from=exporter-environment /opt/framemesh /opt/framemesh
COPY model_server model_server
ENV FRAMEMESH_GRPC_ADDRESS=0.0.0.0:50052
EXPOSE 50052
ENTRYPOINT ["python", "-m", "model_server"]

# Fine-tunes models, and prepares what comes of it.
FROM service AS trainer
COPY --from=trainer-environment /opt/framemesh /opt/framemesh
COPY model_server model_server
COPY trainer trainer
ENTRYPOINT ["python", "-m", "trainer"]

FROM service AS deployer
COPY --from=deployer-environment /opt/framemesh /opt/framemesh
COPY deployer deployer
ENTRYPOINT ["python", "-m", "deployer"]

FROM service AS console
COPY --from=console-environment /opt/framemesh /opt/framemesh
COPY console console
ENV FRAMEMESH_CONSOLE_ADDRESS=0.0.0.0:8080
EXPOSE 8080
ENTRYPOINT ["python", "-m", "console"]
