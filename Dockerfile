# One image for every role of callwatch; docker-compose.yml says which command it runs.

FROM python:3.13.16-slim-trixie AS build
ENV PIP_NO_CACHE_DIR=1 UV_NO_CACHE=1
WORKDIR /src
RUN pip install uv==0.13.8 && python -m venv /opt/callwatch
# The lock also holds the tools of development. As constraints it gives what callwatch needs its
# versions, and uv holds each download to its hashes.
COPY pyproject.toml requirements.lock ./
RUN uv pip install --python /opt/callwatch -r pyproject.toml --extra receiver -c requirements.lock
COPY README.md LICENSE callwatch.py ./
COPY ingest ingest
COPY alerts alerts
COPY models models
COPY detectors detectors
RUN uv pip install --python /opt/callwatch --no-deps .

FROM python:3.13.16-slim-trixie
ENV PATH=/opt/callwatch/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    CALLWATCH_CACHE_DIR=/var/cache/callwatch
# The only folders that a container may write to; docker-compose.yml mounts them.
RUN groupadd --gid 10001 callwatch \
    && useradd --uid 10001 --gid callwatch --no-create-home --shell /usr/sbin/nologin callwatch \
    && install -d -o callwatch -g callwatch -m 0700 /var/cache/callwatch \
    && install -d -o callwatch -g callwatch -m 0750 /out
COPY --from=build /opt/callwatch /opt/callwatch
USER callwatch
WORKDIR /out
ENTRYPOINT ["callwatch"]
CMD ["--help"]
