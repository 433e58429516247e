# One image for every process: api, worker, beat, migrate. Built from the lock file, runs as an ordinary user,
# and writes only below /var/lib/outreach and /tmp, so that its root file system may be read-only.
FROM python:3.13-slim AS packages
COPY requirements.lock /build/requirements.lock
RUN python -m venv /opt/outreach \
    && /opt/outreach/bin/pip install --no-cache-dir --disable-pip-version-check --require-hashes --only-binary :all: \
        -r /build/requirements.lock \
    && /opt/outreach/bin/pip uninstall --yes --quiet pip

FROM python:3.13-slim
# For the proofs of postcards alone (docs/adr/0013-proofs-of-postcards.md).
RUN apt-get update \
    && apt-get install --yes --no-install-recommends libpango-1.0-0 libpangoft2-1.0-0 libharfbuzz-subset0 fonts-dejavu-core \
    && rm -rf /var/lib/apt/lists/*
RUN useradd --system --uid 10001 --home-dir /var/lib/outreach --create-home outreach
COPY --from=packages /opt/outreach /opt/outreach
COPY app /srv/outreach/app
COPY campaigns /srv/outreach/campaigns
COPY outreach /srv/outreach/outreach
COPY sandbox /srv/outreach/sandbox
COPY segments /srv/outreach/segments
COPY webhooks /srv/outreach/webhooks
COPY LICENSE /srv/outreach/
ENV PATH=/opt/outreach/bin:$PATH \
    PYTHONPATH=/srv/outreach \
    PYTHONSAFEPATH=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    OUTREACH_HOME=/var/lib/outreach \
    OUTREACH_API_HOST=0.0.0.0
RUN python -m compileall -q /srv/outreach
WORKDIR /var/lib/outreach
USER outreach
EXPOSE 8321
ENTRYPOINT ["python", "-m", "app.cli"]
CMD ["--help"]
