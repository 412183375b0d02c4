# One image for every service of compose.yaml, the broker included: its binary comes with the lock file.
FROM python:3.11-slim AS build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /source
COPY requirements/runtime.lock requirements/build.lock requirements/
RUN python -m venv /opt/tidemill && /opt/tidemill/bin/pip install --require-hashes -r requirements/runtime.lock \
    && python -m venv /opt/build && /opt/build/bin/pip install --require-hashes -r requirements/build.lock
COPY pyproject.toml README.md LICENSE ./
COPY tidemill tidemill
COPY gateway gateway
COPY consumers consumers
COPY schemas schemas
RUN /opt/build/bin/python -m hatchling build -t wheel -d /dist \
    && /opt/tidemill/bin/pip install --no-deps /dist/*.whl

FROM python:3.11-slim
RUN useradd --uid 10001 --user-group --no-create-home --shell /usr/sbin/nologin tidemill \
    && install --directory --owner tidemill --group tidemill --mode 0700 /app /var/lib/nats /var/lib/tidemill
COPY --from=build /opt/tidemill /opt/tidemill
ENV PATH=/opt/tidemill/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
WORKDIR /app
USER 10001:10001
EXPOSE 8080 8081
ENTRYPOINT ["tidemill"]
CMD ["--help"]
